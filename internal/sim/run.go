package sim

import (
	"io"
	"time"
)

// Result is what one seed gave.
type Result struct {
	Seed    uint64
	Err     error         // the first promise found broken; nil: none
	Hash    uint64        // of the trace: equal for equal seeds and code
	Virtual time.Duration // simulated
	Steps   int           // events
	Records int           // durable in the end

	Repaired int // shards that owners wrote again
	Replaced int // shard servers that took the place of a wiped one
	Regained int // losses that a repair made good, so that others could follow
}

// settleTime is how long it may take after the last fault until everything
// is durable: the longest waits of client, server and store, one after the other.
const settleTime = 4 * time.Minute

// Run simulates one seed. The trace, if it is not nil, is one line an event.
func Run(seed uint64, trace io.Writer) Result {
	return simulate(newWorld(seed, drawExtra(seed), trace))
}

// RunPlain simulates a seed without what was added since the simulation was
// first written (extra): the run, byte for byte, that the seed gave then.
func RunPlain(seed uint64, trace io.Writer) Result {
	return simulate(newWorld(seed, extra{}, trace))
}

func simulate(w *world) Result {
	seed := w.seed
	w.newClient(false)
	for phase := range w.swarm.phases {
		w.logf("phase %d", phase)
		for _, c := range w.clients {
			c.guest(true)
		}
		w.inject()
		w.run(w.swarm.phaseLength, func() bool { return false })
		w.heal()
		w.settle()
		w.mend()
	}
	w.lastLosses()
	if w.broken == nil {
		w.inspect()
		w.tooMany()
	}
	return Result{
		Seed: seed, Err: w.broken, Hash: w.hash.Sum64(), Virtual: w.now, Steps: w.steps, Records: int(w.rec.Durable().Sequence),
		Repaired: w.repaired, Replaced: w.replaced, Regained: w.regained,
	}
}

// guest starts or stops the guest's writes.
func (c *client) guest(on bool) {
	if c.busy == on || !c.alive || c.done {
		return
	}
	c.busy = on
	if on {
		c.write()
		c.flushNow()
	}
}

// writable: enough shard servers are left to commit.
func (w *world) writable() bool {
	return w.members() >= w.swarm.pool.w
}

// settle: after the last fault everything becomes durable, if enough is left.
func (w *world) settle() {
	for _, c := range w.clients {
		c.guest(false)
	}
	fixable := w.replaceable()
	w.operateUntil(func() bool { return w.broken != nil || w.faulty || w.unfinished() < 0 || !fixable })
	if !w.writable() && !fixable {
		w.inspect()
		return
	}
	if w.idle() == nil {
		w.newestClient()
	}
	for _, c := range w.clients {
		w.finalFlush(c)
	}
	if !w.run(settleTime, func() bool { return w.idle() == nil || w.quiet() }) && w.broken == nil && !w.split() {
		w.violatedf("%v after the last fault not everything is durable: %s", settleTime, w.unsettled())
	}
	for range 3 {
		if w.broken == nil {
			w.inspect()
		}
	}
}

// finalFlush has a client flush, as soon as there is room.
func (w *world) finalFlush(c *client) {
	c.at(0, func() {
		if c.done {
			return
		}
		if !c.everAttached() || c.core.Flushed() != c.core.Last() && !c.flush() {
			c.at(100*time.Millisecond, func() { w.finalFlush(c) })
		}
	})
}

// idle is a client that has not ended; nil if there is none.
func (w *world) idle() *client {
	for _, c := range w.clients {
		if c.alive && !c.done {
			return c
		}
	}
	return nil
}

// quiet: every client that has not ended has everything durable.
func (w *world) quiet() bool {
	for _, c := range w.clients {
		if c.alive && !c.done && (!c.attached || !c.everAttached() || c.core.Flushed() != c.core.Last()) {
			return false
		}
	}
	return true
}

func (w *world) unsettled() string {
	for _, c := range w.clients {
		if c.alive && !c.done && c.core.Flushed() != c.core.Last() {
			return c.name
		}
	}
	return "no client is attached"
}

// newestClient takes the vdisk over, when every other client has ended.
func (w *world) newestClient() {
	c := w.newClient(true)
	c.busy = false
}

// lastLosses: with the network whole, shard servers are rolled back to old
// copies, or wiped, as many as an acknowledgement covers; a takeover finds
// everything nevertheless.
func (w *world) lastLosses() {
	sw := &w.swarm
	if w.broken != nil || !sw.rollBack && !sw.amnesiac {
		return
	}
	for _, s := range w.stores {
		if s.bad || w.bad >= sw.pool.losses() || w.chance(0.3) {
			continue
		}
		s.bad = true
		w.bad++
		s.crash()
		switch {
		case sw.rollBack && s.old != nil && s.old.Cookie() == s.store.Cookie():
			w.logf("%s is rolled back", s.name)
			s.store.Restore(s.old)
			s.back = true
			w.harm++
		case sw.amnesiac:
			s.wipe()
		}
		s.restart()
	}
	w.inspectAll()
	for _, s := range w.servers {
		s.crash()
		s.restart()
	}
	w.newestClient()
	w.settle()
	w.mend()
}

// inspectAll restores from all shard servers that are there.
func (w *world) inspectAll() {
	records, err := w.restore(make([]bool, len(w.stores)))
	if err != nil {
		w.violatedf("restore from all: %w", err)
		return
	}
	w.violated(w.rec.Restored(records))
}
