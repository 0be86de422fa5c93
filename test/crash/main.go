// Command crash kills real processes, and cuts the power of real stores, at
// random moments and at named points of the code, and checks from outside that
// every promise of docs/durability.md was kept. docs/crash.md says how; the last
// line is for machines.
//
// It runs rounds: shard servers, tlogservers, and clients that write, all of
// them processes. Between clients and servers stands a link that notes every
// message before it goes on. A round ends with calm, when everything must become
// durable, and with a comparison of all logs with what was noted.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tlog"
)

// config is the command line.
type config struct {
	kills   int
	seed    uint64
	least   int
	first   int // round
	bins    string
	shim    string
	keep    bool
	verbose bool
	control bool
	began   time.Time
}

func (c *config) bin(name string) string { return filepath.Join(c.bins, name) }

// self is this program, which is the clients' too.
func (c *config) self(string) string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

func (c *config) say(format string, a ...any) {
	if c.verbose {
		fmt.Printf("%7.2f %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, a...))
	}
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "driver" {
		os.Exit(drive(os.Args[2]))
	}
	if len(os.Args) > 1 && os.Args[1] == "soak" {
		os.Exit(soakCommand(os.Args[2:]))
	}
	c := &config{began: time.Now()}
	flag.IntVar(&c.kills, "n", 60, "how many kills at least")
	flag.Uint64Var(&c.seed, "seed", 0, "of the faults; 0: from the clock")
	flag.IntVar(&c.least, "points", 0, "go on until each failpoint has killed so often")
	flag.IntVar(&c.first, "round", 0, "begin with this round of the seed")
	flag.StringVar(&c.bins, "bin", "bin/failpoint", "directory of the programs, built with the tag failpoint")
	flag.StringVar(&c.shim, "shim", "bin/failpoint/sync.so", "the library that notes what is durable")
	flag.BoolVar(&c.keep, "keep", false, "keep the files of a round that fails")
	flag.BoolVar(&c.verbose, "v", false, "say what is done")
	flag.BoolVar(&c.control, "control", true, "also lose the power of servers that do not sync, which must be noticed")
	flag.Parse()
	var err error
	if c.shim, err = filepath.Abs(c.shim); err == nil {
		c.bins, err = filepath.Abs(c.bins)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(2)
	}
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano()) / 1e6 % 1e9
	}
	os.Exit(c.run())
}

// killsARound is how many kills a round has.
const killsARound = 14

func (c *config) run() int {
	fmt.Printf("crash: seed %d\n", c.seed)
	s := &stats{kills: map[string]int{}, points: newTally()}
	violations := 0
	enough := make(chan os.Signal, 1) // ^C ends the run behind the round
	signal.Notify(enough, os.Interrupt)
	for round := c.first; violations == 0 && len(enough) == 0 && (s.total() < c.kills || c.unfinished(s, round)); round++ {
		errs, err := c.round(round, s, func(w *world) error { return w.play(round, killsARound) })
		if err != nil { // something that must work does not: no better than a violation
			errs = append(errs, fmt.Errorf("it cannot go on: %w", err))
		}
		for _, e := range errs {
			fmt.Printf("crash: round %d of seed %d: %v\n", round, c.seed, e)
		}
		violations += len(errs)
	}
	caught := "off"
	if c.control && violations == 0 {
		caught = c.controlRound()
	}
	c.report(s)
	fmt.Printf("crash: kills=%d violations=%d control=%s\n", s.total(), violations, caught)
	if violations > 0 || caught == "missed" {
		return 1
	}
	return 0
}

// unfinished: some point did not kill often enough, and there is hope.
func (c *config) unfinished(s *stats, round int) bool {
	least, _ := s.points.least()
	return least < c.least && round < c.first+10*c.kills/killsARound+10
}

// round plays one, and gives the violations.
func (c *config) round(round int, s *stats, play func(*world) error) (errs []error, err error) {
	w, err := newWorld(c, c.seed<<16+uint64(round), s)
	if err != nil {
		return nil, err
	}
	defer func() { w.end(c.keep && (len(errs) > 0 || err != nil)) }()
	err = play(w)
	c.say("round %d: %v: %d kills so far", round, w.shape, s.total())
	return w.violations(), err
}

// mostControl is how many power losses the control may take.
const mostControl = 20

// controlRound loses the power of Redis servers that sync once a second, and
// holds them to what those promise that always do: it must be caught, as an
// acknowledged record that is gone.
func (c *config) controlRound() string {
	s := &stats{kills: map[string]int{}, points: newTally()}
	c.keep = false // it is to fail
	var caught []error
	_, err := c.round(0xffff, s, func(w *world) error {
		err := w.playControl()
		caught = w.lost()
		return err
	})
	if len(caught) == 0 {
		fmt.Printf("crash: control: appendfsync everysec, %d power losses, and nothing was missed: %v\n", s.total(), err)
		return "missed"
	}
	fmt.Printf("crash: control: appendfsync everysec, caught at power loss %d: %v\n", s.total(), caught[0])
	return "caught"
}

// playControl cuts the power of everything until somebody notices.
func (w *world) playControl() error {
	w.shape = shape{redis: 7, fsync: "everysec", servers: 2, writers: 2, flush: 64}
	if err := w.begin(nil); err != nil {
		return err
	}
	for w.stats.total() < mostControl {
		if !w.progress(patience) {
			return errors.New("nothing is acknowledged")
		}
		if err := w.cutAll(); err != nil || len(w.lost()) > 0 {
			return err
		}
		if err := w.revive(); err != nil {
			return err
		}
	}
	return nil
}

// lost are the violations that say that something acknowledged is not there:
// the ledgers', and logs that all servers together cannot give any more.
func (w *world) lost() []error {
	var all []error
	for _, err := range w.errs {
		if u := (unreadable{}); errors.As(err, &u) && tlog.ClassOf(err) == tlog.Corrupt {
			all = append(all, err)
		}
	}
	for _, l := range w.ledgers {
		all = append(all, l.violations()...)
	}
	return all
}

// report prints the table.
func (c *config) report(s *stats) {
	fmt.Printf("\n%-28s %8s\n", "killed", "times")
	var kinds []string
	for k := range s.kills {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		fmt.Printf("%-28s %8d\n", k, s.kills[k])
	}
	fmt.Printf("%-28s %8d\n\n", "together", s.total())
	fmt.Printf("%-28s %8s %8s\n", "failpoint", "kills", "tries")
	for _, p := range points {
		fmt.Printf("%-28s %8d %8d\n", p.name, s.points.hits[p.name], s.points.tries[p.name])
	}
	least, names := s.points.least()
	fmt.Printf("\n%d failpoints, the least often reached %d times (%s)\n", len(points), least, strings.Join(names[:min(3, len(names))], ", "))
	fmt.Printf("%d rounds, %d records, %d FlushOK, %d rounds of fio, %d restores compared; %d bytes lost with the power, garbage behind %d logs; %d times %d bytes of a base image; %d zombies woke in a takeover\n",
		s.rounds, s.records, s.flushes, s.fio, s.restores, s.cutBytes, s.littered, s.baseCuts, s.baseBytes, s.zombies)
	fmt.Printf("after the last fault: everything flushed within %v; a server kept at most %d goroutines, %d descriptors, %d KiB of heap more than it began with; %v\n",
		s.slowest.Round(time.Millisecond), s.kept.goroutines, s.kept.descriptors, s.kept.heap>>10, time.Since(c.began).Round(time.Second))
}
