package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tlog"
	"tlog/internal/check"
	"tlog/player"
)

// soakConfig is the command line of a soak: the same processes, links and
// checker as in a crash round, for longer, with fewer faults, and with a look
// at what the server that is never killed keeps, and at how fast it is.
type soakConfig struct {
	*config
	length time.Duration // of the soak; 0: none
	stall  time.Duration // of all shard servers under overload; 0: no overload
}

func soakCommand(args []string) int {
	c := &soakConfig{config: &config{began: time.Now()}}
	f := flag.NewFlagSet("soak", flag.ExitOnError)
	f.DurationVar(&c.length, "d", 5*time.Minute, "how long; 0: only the overload")
	f.DurationVar(&c.stall, "stall", 25*time.Second, "how long all shard servers stand still under overload; 0: no overload")
	f.Uint64Var(&c.seed, "seed", 0, "of the faults; 0: from the clock")
	f.StringVar(&c.bins, "bin", "bin/failpoint", "directory of the programs, built with the tag failpoint")
	f.StringVar(&c.shim, "shim", "bin/failpoint/sync.so", "the library that notes what is durable")
	f.BoolVar(&c.keep, "keep", false, "keep the files, if it fails")
	f.BoolVar(&c.verbose, "v", false, "say what is done")
	_ = f.Parse(args) // it exits
	var err error
	if c.shim, err = filepath.Abs(c.shim); err == nil {
		c.bins, err = filepath.Abs(c.bins)
	}
	if c.length != 0 && c.length < leastLength {
		err = fmt.Errorf("-d %v: at least %v are needed to judge anything, or 0 for the overload alone", c.length, leastLength)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 2
	}
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano()) / 1e6 % 1e9
	}
	return c.run()
}

// run is the soak, the overload, and the table.
func (c *soakConfig) run() int {
	fmt.Printf("soak: seed %d\n", c.seed)
	out := &soakReport{}
	violations := 0
	for i, stage := range []struct {
		wanted bool
		play   func(*world) error
	}{
		{c.length > 0, func(w *world) error { return c.soak(w, out) }},
		{c.stall > 0, func(w *world) error { return c.overload(w, out) }},
	} {
		if !stage.wanted || violations > 0 {
			continue
		}
		errs, err := c.round(i, &stats{kills: map[string]int{}, points: newTally()}, stage.play)
		if err != nil { // something that must work does not: no better than a violation
			errs = append(errs, fmt.Errorf("it cannot go on: %w", err))
		}
		for _, e := range errs {
			fmt.Printf("soak: seed %d: %v\n", c.seed, e)
		}
		violations += len(errs)
	}
	out.print(c, violations)
	if violations > 0 {
		return 1
	}
	return 0
}

// Times of a soak. Short ones have more faults in the same time.
const (
	faultEvery  = time.Minute
	verifyEvery = 10 * time.Minute
	leastLength = 5 * time.Minute
	mostRecords = 30_000 // of a vdisk: then another one is written
	loadShare   = 0.7    // of what the calibration finds
)

// soaking is one soak.
type soaking struct {
	*world
	out     *soakReport
	deck    []soakFault
	speed   *speed
	probe   *probe
	vdisks  int           // that were written so far
	between time.Duration // two faults
}

func (c *soakConfig) soak(w *world, out *soakReport) error {
	k := &soaking{world: w, out: out, speed: &speed{}, between: min(faultEvery, c.length/10)}
	w.shape = shape{redis: 7, fsync: "always", servers: 2, writers: 3, flush: 64, load: load{Blocks: 2, Burst: 4}}
	k.vdisks = w.shape.writers
	w.took = k.speed.took
	if err := w.begin(nil); err != nil {
		return err
	}
	var err error
	if k.probe, err = w.newProbe(k.speed); err != nil {
		return err
	}
	defer k.probe.end()
	if err := k.calibrate(); err != nil || len(w.violations()) > 0 {
		return err
	}
	begin := time.Now()
	const least = 5 // verifications, the first and the last included
	every := min(verifyEvery, c.length/least)
	for n := 1; time.Since(begin) < c.length && len(w.violations()) == 0; n++ {
		if err := k.segment(begin.Add(time.Duration(n) * every)); err != nil {
			return err
		}
		if len(w.violations()) > 0 {
			break
		}
		if err := k.rest(time.Since(begin) >= c.length); err != nil {
			return err
		}
	}
	out.length = time.Since(begin)
	if len(w.violations()) == 0 {
		out.judge(k.speed, w.violated)
	}
	return nil
}

// calibrate finds how many records a second these clients get durable, and has
// them ask for a share of that from now on.
func (k *soaking) calibrate() error {
	if !k.progress(patience) {
		k.violated(errors.New("nothing was acknowledged at all"))
		return nil
	}
	k.out.most = k.rate(5 * time.Second)
	k.shape.load.Rate = loadShare * k.out.most / float64(len(k.writers))
	k.cfg.say("calibrated: %.0f records/s", k.out.most)
	return k.rest(false)
}

// segment is load and faults, until its end.
func (k *soaking) segment(end time.Time) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	next := time.Now().Add(k.between / 3)
	settled := time.Now().Add(settleTime)
	for now := range tick.C {
		k.watch()
		if !now.Before(end) || len(k.violations()) > 0 {
			k.speed.pause()
			return nil
		}
		if now.After(next) {
			next = next.Add(k.between)
			k.speed.pause()
			if err := k.fault(); err != nil {
				return err
			}
			settled = time.Now().Add(settleTime)
			continue
		}
		if now.After(settled) {
			k.speed.quiet(now)
		}
	}
	return nil
}

// settleTime is how long after a fault figures are not yet taken for those of
// a healthy system.
const settleTime = 3 * time.Second

// rest stops the clients, which must get everything flushed; looks at what the
// server that is never killed has kept; compares the logs with what was seen;
// and goes on.
func (k *soaking) rest(last bool) error {
	k.cfg.say("rest")
	k.stats.records, k.stats.flushes, k.stats.slowest = 0, 0, 0
	if err := k.settle(); err != nil || len(k.violations()) > 0 {
		return err
	}
	k.out.slowest = max(k.out.slowest, k.stats.slowest)
	u, _, err := k.servers[survivor].usage()
	if err != nil {
		return err
	}
	k.out.kept = append(k.out.kept, sample{time.Now(), u})
	k.cfg.say("  kept %+v", u)
	look := func() error { return k.read(k.glance) }
	if last {
		look = k.judge
	}
	if err := look(); err != nil || len(k.violations()) > 0 {
		return err
	}
	k.out.verified++
	k.out.restores = k.stats.restores
	if last {
		k.count()
		return nil
	}
	for _, c := range k.writers {
		if records, _ := c.ledger.counts(); records > mostRecords {
			k.forget(c)
		}
		if err := c.start(nil, false); err != nil {
			return err
		}
	}
	return nil
}

// glance restores two moments of a log's past.
func (k *soaking) glance(ctx context.Context, l *ledger, log *player.Log, end check.Point) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end.Sequence == 0 {
		return nil
	}
	return k.past(ctx, log, l.rec.Path(end), 1)
}

// count adds what was seen of the vdisks that there are.
func (k *soaking) count() {
	for _, c := range k.writers {
		k.add(c)
	}
}

func (k *soaking) add(c *writer) {
	records, flushes := c.ledger.counts()
	k.out.records += records
	k.out.flushes += flushes
}

// forget has a writer go on with another vdisk: what is known of the old one is
// judged, and would fill the memory.
func (k *soaking) forget(c *writer) {
	k.add(c)
	k.mu.Lock()
	delete(k.ledgers, c.ledger.vdisk)
	k.mu.Unlock()
	c.ledger = k.newLedger(tlog.VdiskID(fmt.Sprintf("disk-%d", k.vdisks)), driverDisk)
	c.mu.Lock()
	c.generation = 0
	c.mu.Unlock()
	c.id = k.uuid()
	k.vdisks++
}
