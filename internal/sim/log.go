package sim

import (
	"errors"
	"time"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/stor"
)

var errFenced = errors.New("fenced by another owner")

// ownedLog is stor.Log around the appending core.
type ownedLog struct {
	p       *process
	scope   *scope
	vdisk   tlog.UUID
	owner   stor.Owner
	rules   *stor.Manifest // by which servers are addressed
	machine *appending.Machine
	todo    []appending.Action
	running bool
	flights map[tlog.Position]*flight
	dead    error
	changed bool // a server of the pool was replaced
}

type flight struct {
	shards *aggregation
	done   func(error)
}

var errConflict = errors.New("conflict")

var errReplaced = errors.New("a shard server was replaced")

func newOwnedLog(p *process, rules *stor.Manifest, owner stor.Owner, last tlog.Position) *ownedLog {
	g := p.w.swarm.pool
	p.w.logf("%s owns the log in epoch %d, behind position %d", p.name, owner.Epoch, last)
	l := &ownedLog{
		p: p, scope: &scope{p: p}, vdisk: p.w.vdisk, owner: owner, rules: rules, flights: map[tlog.Position]*flight{},
		machine: appending.New(appending.Config{P: g.p, N: g.n(), W: g.w, First: p.w.firstSlot(), Epoch: owner.Epoch, Last: last}),
	}
	p.pool.add(l)
	return l
}

func (w *world) firstSlot() int { return int(w.seed) % w.swarm.pool.p }

// abandon ends a log whose servers are not the pool's any more.
func (l *ownedLog) abandon() {
	l.changed = true
	l.close()
}

func (l *ownedLog) publish(e appending.Publish, a *aggregation, done func(error)) {
	l.flights[e.Position] = &flight{a, done}
	l.step(e)
}

// step does actions in the order they were given, also those that doing them
// gives rise to.
func (l *ownedLog) step(e appending.Event) {
	l.todo = append(l.todo, l.machine.Step(e)...)
	if l.running {
		return
	}
	l.running = true
	for len(l.todo) > 0 {
		a := l.todo[0]
		l.todo = l.todo[1:]
		l.do(a)
	}
	l.running = false
}

func (l *ownedLog) do(a appending.Action) {
	w := l.p.w
	switch a.Kind {
	case appending.Send:
		l.send(a)
	case appending.Fence:
		l.scope.ask(a.Server, doFence(identity(l.rules, a.Server), l.owner, l.vdisk), func(r reply) {
			outcome, refusal := classify(r.err)
			e := appending.FenceReplied{Server: a.Server, Outcome: outcome}
			if outcome == appending.Fenced {
				e.Epoch = refusal.Owner.Epoch
			}
			l.step(e)
		})
	case appending.Probe:
		l.p.pool.probe(l.scope, a.Server, func(r reply) { l.step(appending.Probed{Server: a.Server, OK: r.err == nil}) })
	case appending.Wait:
		low, high := 50*time.Millisecond, 5*time.Second
		if a.Slow {
			low, high = 2*time.Second, 30*time.Second
		}
		l.p.at(w.backoff(a.Failures, low, high), func() {
			if l.dead == nil {
				l.step(appending.Due{Server: a.Server})
			}
		})
	case appending.StartHedge:
		l.p.at(250*time.Millisecond, func() {
			if l.dead == nil {
				l.step(appending.Late{Position: a.Position})
			}
		})
	case appending.Committed:
		w.logf("%s epoch %d committed position %d", l.p.name, l.owner.Epoch, a.Position)
		w.committed(l.owner.Epoch, a.Position, l.flights[a.Position].shards)
		l.flights[a.Position].done(nil)
	case appending.Failed:
		l.flights[a.Position].done(l.dead)
	case appending.Release:
		delete(l.flights, a.Position)
	case appending.Dead:
		l.die(a)
	}
}

func (l *ownedLog) send(a appending.Action) {
	f := l.flights[a.Position]
	q := &stor.AppendRequest{
		Identity: identity(l.rules, a.Server), Owner: l.owner, Vdisk: l.vdisk,
		Position: a.Position, Index: a.Index, Digest: f.shards.digest, Commit: a.Commit, Replace: a.Replace,
	}
	if a.Data {
		q.Body = f.shards.shard(a.Index)
	}
	l.scope.ask(a.Server, doAppend(q), func(r reply) {
		outcome, refusal := classify(r.err)
		e := appending.Replied{Server: a.Server, Position: a.Position, Outcome: outcome}
		switch outcome {
		case appending.Stored:
			e.Index = r.meta.Index
		case appending.HasIndex:
			e.Index = refusal.Index
		case appending.Fenced:
			e.Epoch = refusal.Owner.Epoch
		}
		if refusal != nil && refusal.Code == stor.OldConfig {
			l.p.pool.reloadSoon()
		}
		l.step(e)
	})
}

func (l *ownedLog) die(d appending.Action) {
	switch {
	case d.Reason == appending.ReasonFenced:
		l.dead = errFenced
	case d.Reason == appending.ReasonConflict:
		l.dead = errConflict
		l.p.w.violatedf("%s: epoch %d: store %d holds another aggregation of the same epoch", l.p.name, l.owner.Epoch, d.Server)
	case l.changed:
		l.dead = errReplaced
	default:
		l.dead = errors.New("log is closed")
	}
	l.p.pool.forget(l)
	l.p.w.logf("%s epoch %d is dead: %v", l.p.name, l.owner.Epoch, l.dead)
	l.scope.end()
}

func (l *ownedLog) close() { l.step(appending.Close{}) }

// classify is the one of stor.
func classify(err error) (appending.Outcome, *stor.Refusal) {
	if err == nil {
		return appending.Stored, nil
	}
	var r *stor.Refusal
	if !errors.As(err, &r) {
		return appending.Unknown, &stor.Refusal{Err: err}
	}
	switch r.Code {
	case stor.Fenced:
		return appending.Fenced, r
	case stor.HasIndex:
		return appending.HasIndex, r
	case stor.NoData:
		return appending.NoData, r
	case stor.Conflict:
		return appending.Conflict, r
	case stor.Busy:
		return appending.Busy, r
	case stor.Full:
		return appending.Full, r
	case stor.WrongStore, stor.OldConfig, stor.Replica, stor.Denied, stor.Unfit:
		return appending.Unusable, r
	}
	return appending.Unknown, r
}
