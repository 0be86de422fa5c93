package main

import (
	"errors"
	"fmt"
	"time"

	"tlog"
)

// draw chooses what a round consists of. The rounds of a run take turns in what
// they store in, so that short runs see both.
func (w *world) draw(round int) {
	w.shape = shape{redis: []int{7, 0, 6}[round%3], fsync: "always", segment: 256 << 10,
		servers: 2, writers: 1 + w.rng.IntN(2), disk: round%2 == 0, flush: []int{8, 64, 256}[w.rng.IntN(3)]}
	if w.shape.redis == dataShards+parityShards && round/3%2 == 0 {
		w.shape.least = w.shape.redis - 1 // one server may be absent, and only one more lost
	}
	if w.shape.redis == 0 {
		w.shape.servers = 1 // its directories are locked
	}
}

const driverDisk = 4 << 20 // bytes

// begin starts everything; the first server at a point, if there is one.
func (w *world) begin(at *point) error {
	if err := w.newPool(); err != nil {
		return err
	}
	for i := range w.shape.servers {
		s, err := w.newServer(i)
		if err != nil {
			return err
		}
		w.servers = append(w.servers, s)
		if i > 0 && at != nil {
			continue // nobody is to take the clients from the first
		}
		if err := s.start(at); err != nil {
			return err
		}
	}
	for i := range w.shape.writers {
		c := w.newWriter(w.newLedger(tlog.VdiskID(fmt.Sprintf("disk-%d", i)), driverDisk))
		w.writers = append(w.writers, c)
		if err := c.start(nil, false); err != nil {
			return err
		}
	}
	if w.shape.disk {
		var err error
		if w.disk, err = w.newDisk(); err != nil {
			return err
		}
	}
	if at != nil {
		w.servers[0].dieOf(armedTime)
		return w.revive()
	}
	return nil
}

// armedTime is how long a process has to come to its point.
const armedTime = 4 * time.Second

// revive starts what is dead, without points.
func (w *world) revive() error {
	if err := w.pool.startAll(); err != nil {
		return err
	}
	for _, s := range w.servers {
		if s.p != nil && s.p.alive() {
			continue
		}
		if err := s.start(nil); err != nil {
			return err
		}
	}
	for _, c := range w.writers {
		if c.p.alive() {
			continue
		}
		c.gone()
		if err := c.wrong(false); err != nil {
			w.violated(err)
		}
		if err := c.start(nil, c.takeover); err != nil {
			return err
		}
	}
	if w.disk != nil && !w.disk.p.alive() {
		return w.disk.start(nil)
	}
	return nil
}

// watch finds processes that ended by themselves.
func (w *world) watch() {
	for _, s := range w.servers {
		if err := s.p.died(); err != nil {
			w.violated(err)
		}
	}
	for _, c := range w.writers {
		if err := c.wrong(false); err != nil {
			w.violated(err)
		}
	}
	if w.disk != nil && !w.disk.refused() {
		if err := w.disk.p.died(); err != nil {
			w.violated(err)
		}
	}
}

// play is one round: so many kills, then calm, then the judgement. An error is
// the machine's or this program's fault; violations are in w.
func (w *world) play(round, kills int) error {
	w.draw(round)
	w.stats.rounds++
	before := w.stats.total()
	if err := w.begin(w.stats.points.next(w.startKinds()...)); err != nil {
		return err
	}
	if !w.progress(patience) {
		w.violated(errors.New("nothing was acknowledged at all"))
		return nil
	}
	for w.stats.total()-before < kills && len(w.violations()) == 0 {
		if w.rng.IntN(3) > 0 {
			w.progress(3 * time.Second)
		}
		if err := w.strike(); err != nil {
			return err
		}
		w.watch()
		if err := w.revive(); err != nil {
			return err
		}
	}
	if len(w.violations()) > 0 {
		return nil
	}
	w.cfg.say("settle")
	if err := w.settle(); err != nil || len(w.violations()) > 0 {
		return err
	}
	w.cfg.say("judge")
	return w.judge()
}

func (w *world) startKinds() []string {
	if w.shape.redis == 0 {
		return []string{byNewLog, byFiles, byServer}
	}
	return []string{byNewLog, byServer}
}

// settle ends the faults: everything must become durable, and the servers must
// give back what they hold.
func (w *world) settle() error {
	if err := w.revive(); err != nil {
		return err
	}
	w.cfg.say("  finish")
	begin := time.Now()
	for _, c := range w.writers {
		if err := c.finish(); err != nil {
			w.violated(err)
			return nil
		}
	}
	if w.disk != nil {
		if err := w.disk.finish(); err != nil {
			w.violated(err)
			return nil
		}
	}
	w.cfg.say("  calm")
	w.stats.slowest = max(w.stats.slowest, time.Since(begin))
	for _, s := range w.servers {
		if err := s.calm(); err != nil {
			w.violated(err)
		}
	}
	return nil
}
