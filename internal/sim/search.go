package sim

import (
	"errors"
	"fmt"
	"time"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
	"tlog/stor"
)

const graceTime = 300 * time.Millisecond

// view is what a search found, for reading.
type view struct {
	base, head tlog.Position
	found      []tlog.Hash // from base on
}

func (v *view) decided(pos tlog.Position) (tlog.Hash, bool) {
	if len(v.found) == 0 || pos < v.base || pos-v.base >= tlog.Position(len(v.found)) {
		return tlog.Hash{}, false
	}
	return v.found[pos-v.base], true
}

// search is stor's shell of the takeover core.
type search struct {
	scope   *scope
	w       *world
	rules   *stor.Manifest // of all of it
	fence   bool
	owner   stor.Owner
	machine *takeover.Machine
	verify  func(*view, *aggregation, func(error))
	view    view
	reading tlog.Position
	good    map[tlog.Hash]map[int]bool // of reading: indices of each digest
	log     *ownedLog
	refusal error
	done    func(error)
	over    bool
	torn    bool
}

func newSearch(sc *scope, fence bool, done func(error)) *search {
	w, rules := sc.p.w, sc.p.pool.rules
	return &search{scope: sc, w: w, rules: rules, fence: fence, machine: takeover.New(w.takeoverConfig(rules, fence)), done: done}
}

func (s *search) start() { s.step(takeover.Start{}) }

// step takes an event unless the search is over.
func (s *search) step(e takeover.Event) {
	if s.over {
		return
	}
	if s.scope.p.pool.rules != s.rules {
		s.end(errChanged)
		return
	}
	for _, a := range s.machine.Step(e) {
		switch a := a.(type) {
		case takeover.Done:
			s.finished(a)
			return
		case takeover.Halt:
			s.torn = a.Reason == takeover.ReasonDamaged || a.Reason == takeover.ReasonLost
			s.end(fmt.Errorf("halt: reason %d at position %d, have %d of %d: %w", a.Reason, a.Position, a.Have, a.Need, errors.Join(s.refusal)))
			return
		}
		s.do(a)
	}
}

func (s *search) end(err error) {
	if s.over {
		return
	}
	s.over = true
	if err != nil && s.log != nil {
		s.log.close()
	}
	s.w.logf("%s search (fence %v) ends: head %d, %v", s.scope.p.name, s.fence, s.view.head, err)
	s.done(err)
}

func (s *search) finished(d takeover.Done) {
	s.view.head = d.Head
	if s.fence {
		if s.log == nil {
			s.log = newOwnedLog(s.scope.p, s.rules, s.owner, d.Head)
		}
		s.w.tookOver(s.owner.Epoch, &s.view)
	}
	s.end(nil)
}

func (s *search) do(a takeover.Action) {
	p := s.scope.p
	switch a := a.(type) {
	case takeover.ReadControl:
		p.pool.probe(s.scope, a.Server, s.answer(a.Server, a.Round, func(r reply) takeover.Event {
			return takeover.ControlRead{Server: a.Server, Round: a.Round, Epoch: r.control.Epoch, Head: r.control.Head, Commit: r.control.Commit}
		}))
	case takeover.Fence:
		s.owner.Epoch = a.Epoch
		s.ask(a.Server, a.Round, doFence(identity(s.rules, a.Server), s.owner, s.w.vdisk), func(r reply) takeover.Event {
			return takeover.Fenced{Server: a.Server, Round: a.Round, Head: r.control.Head, Commit: r.control.Commit}
		})
	case takeover.ReadMetas:
		s.ask(a.Server, a.Round, doMetas(s.rules.Cookies[a.Server], a.From, a.To), func(r reply) takeover.Event {
			return takeover.MetasRead{Server: a.Server, Round: a.Round, Metas: coreMetas(r.metas)}
		})
	case takeover.ReadShard:
		if s.reading != a.Position {
			s.reading, s.good = a.Position, map[tlog.Hash]map[int]bool{}
		}
		s.readShard(a)
	case takeover.StartGrace:
		p.at(graceTime, func() { s.step(takeover.GraceOver(a)) })
	case takeover.BackOff:
		p.at(s.w.backoff(a.Attempt, 50*time.Millisecond, 5*time.Second), func() { s.step(takeover.BackedOff{}) })
	case takeover.Found:
		if len(s.view.found) == 0 {
			s.view.base = a.Position
		}
		s.view.found = append(s.view.found, a.Digest)
	case takeover.Verify:
		s.decode(a)
	case takeover.Append:
		s.reappend(a)
	}
}

// ask makes an event of a good answer; of others it is Refused or Failed.
func (s *search) ask(slot, round int, q request, good func(reply) takeover.Event) {
	s.scope.ask(slot, q, s.answer(slot, round, good))
}

func (s *search) answer(slot, round int, good func(reply) takeover.Event) func(reply) {
	return func(r reply) {
		var refusal *stor.Refusal
		switch {
		case r.err == nil:
			s.step(good(r))
		case errors.As(r.err, &refusal) && refusal.Code == stor.Fenced:
			s.step(takeover.Refused{Server: slot, Round: round, Epoch: refusal.Owner.Epoch})
		default:
			s.step(takeover.Failed{Server: slot, Round: round})
		}
	}
}

func (s *search) readShard(a takeover.ReadShard) {
	s.scope.ask(a.Server, doShard(a.Position), func(r reply) {
		if r.err != nil && !errors.Is(r.err, errAbsent) {
			s.step(takeover.Failed{Server: a.Server, Round: a.Round})
			return
		}
		e := takeover.ShardRead{Server: a.Server, Round: a.Round}
		if agg, i := s.w.checkShard(r.data, a.Position); agg != nil {
			e.Good, e.Digest, e.Prev, e.Index = true, agg.digest, agg.prev, i
			if a.Position == s.reading {
				hold(s.good, agg.digest, i)
			}
		}
		s.step(e)
	})
}

func hold(m map[tlog.Hash]map[int]bool, d tlog.Hash, i int) {
	if m[d] == nil {
		m[d] = map[int]bool{}
	}
	m[d][i] = true
}

func coreMetas(metas []stor.Meta) []takeover.Meta {
	list := make([]takeover.Meta, len(metas))
	for i, m := range metas {
		list[i] = takeover.Meta(m)
	}
	return list
}

// decode puts a position together, which takes k good shards, and has the
// caller look at it.
func (s *search) decode(a takeover.Verify) {
	s.view.head = a.Position
	finish := func(err error) {
		s.refusal = err
		s.scope.p.at(0, func() { s.step(takeover.Verified{OK: err == nil}) })
	}
	agg := s.w.sealed[a.Digest]
	if len(s.good[a.Digest]) < s.w.swarm.pool.k || !agg.verify() {
		finish(fmt.Errorf("position %d cannot be put together", a.Position))
		return
	}
	s.verify(&s.view, agg, finish)
}

func (s *search) reappend(a takeover.Append) {
	if s.log == nil {
		s.log = newOwnedLog(s.scope.p, s.rules, s.owner, a.Position-1)
	}
	held := make([]appending.Holding, len(a.Held))
	for i, h := range a.Held {
		held[i] = appending.Holding{Index: h.Index, Valid: h.Good}
	}
	s.log.publish(appending.Publish{Position: a.Position, Held: held}, s.w.sealed[a.Digest], func(err error) {
		s.scope.p.at(0, func() {
			if err != nil {
				s.end(err)
				return
			}
			s.step(takeover.Committed{Position: a.Position})
		})
	})
}

// survey finds the log without fencing; what looks torn is looked at twice.
func survey(sc *scope, done func(*view, error)) {
	again := 0
	var s *search
	var start func()
	start = func() {
		s = newSearch(sc, false, func(err error) {
			if (s.torn && again == 0 || errors.Is(err, errChanged) && again < searches) && !sc.ended {
				again++
				start()
				return
			}
			done(&s.view, err)
		})
		s.start()
	}
	start()
}

// searches is how often a search begins again because the manifest changed.
const searches = 3

// read is stor.View.Read: metas of R servers say who holds what, and any k
// good shards are enough. A nil aggregation: it cannot be read now.
func (v *view) read(sc *scope, pos tlog.Position, done func(*aggregation)) {
	w := sc.p.w
	g, rules := w.swarm.pool, sc.p.pool.rules
	page, open, good, over := make([][]takeover.Meta, g.p), g.p, 0, false
	joins := joining(rules)
	settle := func() {
		switch {
		case over:
		case good >= g.r():
			over = true
			v.gather(sc, pos, page, done)
		case open == 0:
			over = true
			done(nil)
		}
	}
	for slot := range g.p {
		sc.ask(slot, doMetas(rules.Cookies[slot], pos, pos), func(r reply) {
			open--
			if r.err == nil {
				page[slot] = coreMetas(r.metas)
				if joins == nil || !joins[slot] { // what it lacks says nothing
					good++
				}
			}
			if open == 0 {
				settle()
			} else if r.err == nil && good == g.r() {
				sc.p.at(graceTime, settle)
			}
		})
	}
}

// pick is the digest of a position: the one that was decided, or the one of
// the highest epoch that k indices claim.
func (v *view) pick(page [][]takeover.Meta, pos tlog.Position, k int) *takeover.Claim {
	digest, fixed := v.decided(pos)
	for _, c := range takeover.Claims(page, pos, k) {
		if !fixed || c.Digest == digest {
			return &c
		}
	}
	return nil
}

func (v *view) gather(sc *scope, pos tlog.Position, page [][]takeover.Meta, done func(*aggregation)) {
	w := sc.p.w
	c := v.pick(page, pos, w.swarm.pool.k)
	if c == nil {
		done(nil)
		return
	}
	indices, open, over := map[int]bool{}, 0, false
	for slot, i := range c.Index {
		if i < 0 {
			continue
		}
		open++
		sc.ask(slot, doShard(pos), func(r reply) {
			open--
			if a, i := w.checkShard(r.data, pos); a != nil && a.digest == c.Digest {
				indices[i] = true
			}
			switch {
			case over:
			case len(indices) >= w.swarm.pool.k:
				over = true
				done(w.sealed[c.Digest])
			case open == 0:
				over = true
				done(nil)
			}
		})
	}
}
