package sim

import (
	"errors"
	"time"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/repair"
	"tlog/internal/core/takeover"
	"tlog/stor"
)

// care is server's: when the next passes over an owned log are due.
type care struct {
	due, scrubDue time.Duration
	busy          bool
}

func newCare(w *world) care {
	x := &w.extra
	if w.faulty && x.lazy {
		return care{due: w.now + 20*time.Second, scrubDue: w.now + 20*time.Second + x.scrubEvery}
	}
	return care{due: w.now, scrubDue: w.now + x.scrubEvery/7}
}

// care looks every second which logs are due.
func (s *server) care() {
	if !s.w.extra.repair {
		return
	}
	s.at(time.Second, func() {
		if e := s.entry; e != nil && e.owner != nil && !e.owner.isGone && !e.owner.care.busy {
			c, now := &e.owner.care, s.w.now
			switch {
			case now >= c.scrubDue:
				e.owner.pass(true)
			case now >= c.due:
				e.owner.pass(false)
			}
		}
		s.care()
	})
}

// pass is one pass over a log: stor's shell of the repair core.
type pass struct {
	o       *owner
	log     *ownedLog
	machine *repair.Machine
	view    view
	deep    bool
	began   time.Duration
	high    tlog.Position // what was committed then, by any owner
	harm    int
	places  map[tlog.Position]place // of the page
	looks   map[tlog.Position]*look
	short   int
	lost    int
	over    bool
}

// look is a position whose shards were read.
type look struct {
	digest tlog.Hash
	good   map[int]bool // indices
}

func (o *owner) pass(deep bool) {
	l, w := o.log, o.srv.w
	g := w.swarm.pool
	ps := &pass{o: o, log: l, deep: deep, began: w.now, high: w.high, harm: w.harm, view: o.view, looks: map[tlog.Position]*look{}}
	ps.view.head = l.machine.Committed()
	ps.machine = repair.New(repair.Config{
		P: g.p, N: g.n(), K: g.k, First: w.firstSlot(), Head: ps.view.head, Deep: deep, Page: w.extra.repairPage,
	})
	o.care.busy = true
	w.logf("%s epoch %d looks at all positions up to %d, deep %v", o.srv.name, l.owner.Epoch, ps.view.head, deep)
	ps.step(repair.Start{})
}

func (ps *pass) step(e repair.Event) {
	switch {
	case ps.over:
		return
	case ps.log.dead != nil:
		ps.end(ps.log.dead)
		return
	}
	for _, a := range ps.machine.Step(e) {
		switch a := a.(type) {
		case repair.List:
			ps.list(a)
		case repair.Look:
			ps.log.p.at(ps.log.p.w.between(0, 4*time.Millisecond), func() { ps.look(a.Position) })
		case repair.Write:
			ps.write(a)
		case repair.Finished:
			delete(ps.looks, a.Position)
			if a.Short > 0 {
				ps.short++
			}
			if a.Lost {
				ps.lost++
			}
		case repair.End:
			ps.end(passErrors[a.Reason])
		}
	}
}

var errUnlisted = errors.New("too few servers answer")

var passErrors = [...]error{nil, repair.ReasonOutbid: errFenced, repair.ReasonConflict: errConflict, repair.ReasonUnlisted: errUnlisted}

// end plans the next passes as server does.
func (ps *pass) end(err error) {
	w, c := ps.log.p.w, &ps.o.care
	ps.over, c.busy = true, false
	w.logf("%s epoch %d has looked: short %d, lost %d, %v", ps.log.p.name, ps.log.owner.Epoch, ps.short, ps.lost, err)
	every := w.extra.repairEvery
	if err == nil && ps.short == 0 {
		every *= 10
	}
	c.due = w.now + every
	if ps.deep {
		c.scrubDue = w.now + w.extra.repairEvery
		if err == nil {
			c.scrubDue = w.now + w.extra.scrubEvery
		}
	}
	if err == nil {
		w.passed(ps)
	}
	dead := ps.log.dead
	if dead == nil && (err == errFenced || err == errConflict) {
		dead = err
	}
	if dead != nil && !ps.o.closing {
		ps.o.step(failure(dead)) // it died while nobody wrote, or is another owner's
	}
	ps.log.p.pool.settle()
}

// list looks for every server, as reads do not, and reads a page of claims.
func (ps *pass) list(a repair.List) {
	open := len(ps.log.p.w.stores)
	for slot := range open {
		ps.log.p.pool.probe(ps.log.scope, slot, func(reply) {
			if open--; open > 0 {
				return
			}
			ps.view.claims(ps.log.scope, a.From, a.To, func(places []place, _ int, ok bool) {
				e := repair.Listed{From: a.From, Failed: !ok}
				ps.places = map[tlog.Position]place{}
				for i, pl := range places {
					ps.places[a.From+tlog.Position(i)] = pl
					e.Places = append(e.Places, repair.Place{Known: !pl.digest.IsZero(), Index: pl.index})
				}
				ps.step(e)
			})
		})
	}
}

// claims is stor's View.load: what all servers claim of some positions, as
// soon as R that vote have answered and the others have had a little longer.
func (v *view) claims(sc *scope, from, to tlog.Position, done func(places []place, asked int, ok bool)) {
	rules := sc.p.pool.rules
	metas, sure := make([][]takeover.Meta, rules.P()), make([]bool, rules.P())
	open, over := rules.P(), false
	settle := func() {
		if over {
			return
		}
		over = true
		asked, votes, joins := 0, 0, joining(rules)
		for slot, ok := range sure {
			if ok {
				asked++
				if joins == nil || !joins[slot] {
					votes++
				}
			}
		}
		if votes < rules.R() || sc.p.pool.rules != rules {
			done(nil, asked, false)
			return
		}
		var places []place
		for pos := from; pos <= to; pos++ {
			places = append(places, v.locate(metas, sure, pos, rules.K))
		}
		done(places, asked, true)
	}
	good := 0
	for slot := range open {
		sc.ask(slot, doMetas(rules.Cookies[slot], from, to), func(r reply) {
			open--
			if r.err == nil && !over {
				metas[slot], sure[slot] = coreMetas(r.metas), true
				if good++; good == rules.R() {
					sc.p.at(graceTime, settle)
				}
			}
			if open == 0 {
				settle()
			}
		})
	}
}

// locate picks the digest of a position, and says who claims it.
func (v *view) locate(metas [][]takeover.Meta, sure []bool, pos tlog.Position, k int) place {
	c := v.pick(metas, pos, k)
	if c == nil {
		return place{}
	}
	pl := place{digest: c.Digest, index: make([]int, len(sure))}
	for slot, i := range c.Index {
		pl.index[slot] = i
		if i < 0 && !sure[slot] {
			pl.index[slot] = repair.Unsure
		}
	}
	return pl
}

// look reads the shards of a position on all servers.
func (ps *pass) look(pos tlog.Position) {
	w := ps.log.p.w
	pl := ps.places[pos]
	k := &look{digest: pl.digest, good: map[int]bool{}}
	e := repair.Looked{Position: pos, Shards: make([]repair.Shard, len(w.stores))}
	open := len(w.stores)
	for slot := range open {
		ps.log.scope.ask(slot, doShard(pos), func(r reply) {
			if !ps.log.p.pool.bound[slot] {
				r.err = errLost
			}
			e.Shards[slot] = w.shardState(&pl, slot, pos, r)
			if sh := e.Shards[slot]; sh.State == repair.Good {
				k.good[sh.Index] = true
			}
			if open--; open == 0 {
				ps.looks[pos] = k
				ps.step(e)
			}
		})
	}
}

// shardState is what an answer says of a server: a good shard that is not the
// one it claims is damaged.
func (w *world) shardState(pl *place, slot int, pos tlog.Position, r reply) repair.Shard {
	claimed := pl.index[slot]
	a, i := w.checkShard(r.data, pos)
	ours := a != nil && a.digest == pl.digest
	switch {
	case r.err != nil && !errors.Is(r.err, errAbsent):
		return repair.Shard{State: repair.Silent}
	case ours && (claimed == i || claimed == repair.Unsure):
		return repair.Shard{State: repair.Good, Index: i}
	case claimed >= 0:
		return repair.Shard{State: repair.Damaged, Index: claimed}
	case claimed == repair.None:
		return repair.Shard{State: repair.Absent}
	}
	return repair.Shard{State: repair.Silent}
}

// write writes one shard in the owner's epoch, fencing the server first if it
// missed the takeover.
func (ps *pass) write(a repair.Write) {
	l, k := ps.log, ps.looks[a.Position]
	w := l.p.w
	if len(k.good) < w.swarm.pool.k {
		w.violatedf("%s: position %d is written from %d good shards", l.p.name, a.Position, len(k.good))
		return
	}
	w.repairs(l, a, k)
	put := func() {
		q := &stor.AppendRequest{
			Identity: identity(l.rules, a.Server), Owner: l.owner, Vdisk: l.vdisk, Position: a.Position, Index: a.Index,
			Digest: k.digest, Commit: a.Position - 1, Replace: a.Replace, Body: w.sealed[k.digest].shard(a.Index),
		}
		l.scope.ask(a.Server, doRepair(q, ps.harm), func(r reply) { ps.stored(a, r.err) })
	}
	if !a.Fence {
		put()
		return
	}
	l.scope.ask(a.Server, doFence(identity(l.rules, a.Server), l.owner, l.vdisk), func(r reply) {
		if r.err != nil {
			ps.stored(a, r.err)
			return
		}
		put()
	})
}

func (ps *pass) stored(a repair.Write, err error) {
	e := repair.Stored{Position: a.Position, Server: a.Server, Outcome: repair.Done}
	outcome, refusal := classify(err)
	switch {
	case err == nil:
		ps.log.p.w.repaired++
	case outcome == appending.Fenced && refusal.Owner.Epoch < ps.log.owner.Epoch:
		e.Outcome = repair.Behind
	case outcome == appending.Fenced:
		e.Outcome = repair.Outbid
	case outcome == appending.Conflict:
		e.Outcome = repair.Conflict
	default:
		e.Outcome = repair.Refused
	}
	ps.step(e)
}
