package stor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/failpoint"
)

// ErrFenced says that another owner took the vdisk's log over.
var ErrFenced = errors.New("fenced by another owner")

// ErrClosed says that the log was closed by its own owner.
var ErrClosed = errors.New("log is closed")

// Log is a vdisk's log, owned: the result of a takeover whose barrier is still
// to be appended.
//
// Shards given to Publish are the log's until it calls their Release: it
// does so when no request to any server uses them any more, which for a slow
// server is after the position was acknowledged.
type Log struct {
	pool   *Pool
	vdisk  tlog.UUID
	owner  Owner
	rules  atomic.Pointer[Manifest] // by which servers are addressed
	view   *View
	logger *slog.Logger
	ctx    context.Context // of all requests
	cancel context.CancelFunc
	// deadline of appends; used by whoever does what the machine says.
	deadline deadline

	mu      sync.Mutex
	machine *appending.Machine
	todo    []appending.Action // given by the machine, not done yet
	spare   []appending.Action // a queue of them that was done, empty
	running bool               // somebody does them
	flights map[tlog.Position]*flight
	waits   []*time.Timer // by slot
	refused []error       // by slot: why it is not used now
	dead    error
	// outdated: a server of the pool was replaced. What the old one accepted
	// must not be counted together with what the new one accepts.
	outdated bool
}

// Shards is a sealed aggregation, as crypto.Sealed gives it. The parts stay valid and
// unchanged until done was called AND Release was called by the log.
type Shards interface {
	Shard(i int) (head, body []byte)
	Release()
}

// newLog makes the log of an owner that fenced R servers. last is where it
// goes on.
func (p *Pool) newLog(vdisk tlog.UUID, owner Owner, last tlog.Position, rules *Manifest) *Log {
	m := &p.manifest
	l := &Log{
		pool: p, vdisk: vdisk, owner: owner,
		logger:  p.cfg.Logger.With("vdisk", vdisk, "epoch", owner.Epoch),
		flights: map[tlog.Position]*flight{},
		waits:   make([]*time.Timer, m.P()),
		refused: make([]error, m.P()),
		machine: appending.New(appending.Config{
			P: m.P(), N: m.N(), W: m.W, Epoch: owner.Epoch, Last: last,
			First: firstSlot(vdisk, m.P()),
		}),
	}
	l.ctx, l.cancel = context.WithCancel(p.ctx)
	l.rules.Store(rules)
	p.mu.Lock()
	p.logs[l] = struct{}{}
	changed := !slices.Equal(p.rules.Load().Cookies, rules.Cookies)
	p.mu.Unlock()
	if changed {
		l.abandon()
	}
	return l
}

// firstSlot spreads the vdisks of a pool over its servers.
func firstSlot(vdisk tlog.UUID, p int) int {
	sum := 0
	for _, b := range vdisk {
		sum = sum*31 + int(b)
	}
	return sum & 0xffffffff % p
}

// Epoch is the log's; it fences every lower one.
func (l *Log) Epoch() tlog.Epoch { return l.owner.Epoch }

// View reads what the takeover found.
func (l *Log) View() *View { return l.view }

// Publish appends a position; positions are published in order, one after the
// last, by one caller at a time; several may be in flight. done is called
// once, in order of positions, from any goroutine, perhaps before Publish
// returns: nil when the position and all before it are committed, else
// an error of class tlog.Fatal (fenced, conflict, closed): the log is
// dead, take over again. While too few servers accept, Publish goes on trying;
// Log reports it by Config.Logger and Stalled. ctx is not taken: Close ends it.
func (l *Log) Publish(pos tlog.Position, digest tlog.Hash, s Shards, done func(error)) {
	l.publish(appending.Publish{Position: pos}, digest, s, done)
}

func (l *Log) publish(e appending.Publish, digest tlog.Hash, s Shards, done func(error)) {
	l.mu.Lock()
	f := l.pool.flights.Get()
	f.log, f.position, f.digest, f.shards, f.done = l, e.Position, digest, s, done
	l.flights[e.Position] = f
	l.stepLocked(e)
}

func (l *Log) step(e appending.Event) {
	l.mu.Lock()
	l.stepLocked(e)
}

// stepLocked steps the machine and does what it says, or leaves it to whoever is
// at it: actions are done in the order they were given, without the lock. It
// unlocks l.mu.
func (l *Log) stepLocked(e appending.Event) {
	l.todo = l.machine.StepInto(l.todo, e)
	if l.running {
		l.mu.Unlock()
		return
	}
	l.running = true
	for len(l.todo) > 0 {
		todo := l.todo
		l.todo, l.spare = l.spare, nil
		l.mu.Unlock()
		for _, a := range todo {
			l.do(a)
		}
		clear(todo)
		l.mu.Lock()
		l.spare = todo[:0]
	}
	l.running = false
	l.mu.Unlock()
}

func (l *Log) do(a appending.Action) {
	switch a.Kind {
	case appending.Send:
		l.send(a)
	case appending.Fence:
		l.fence(a.Server)
	case appending.Probe:
		l.probe(a.Server)
	case appending.Wait:
		l.wait(a)
	case appending.StartHedge:
		l.startHedge(a.Position)
	case appending.Committed:
		failpoint.Here("append.quorum")
		l.flight(a.Position).done(nil)
	case appending.Failed:
		l.flight(a.Position).done(l.failure())
	case appending.Release:
		l.release(a.Position)
	case appending.Dead:
		l.die(a)
	}
}

func (l *Log) flight(pos tlog.Position) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flights[pos]
}

func (l *Log) identity(slot int) Identity {
	rules := l.rules.Load()
	return Identity{Cookie: rules.Cookies[slot], ConfigVersion: rules.ConfigVersion}
}

func (l *Log) send(a appending.Action) {
	f := l.flight(a.Position)
	c := l.pool.calls.Get()
	c.log, c.send, c.ctx = l, a, l.deadline.context(l.ctx)
	c.req = AppendRequest{
		Identity: l.identity(a.Server), Owner: l.owner, Vdisk: l.vdisk,
		Position: a.Position, Index: a.Index, Digest: f.digest, Commit: a.Commit, Replace: a.Replace,
	}
	if a.Data {
		c.req.Head, c.req.Body = f.shards.Shard(a.Index)
	}
	agent, _ := l.pool.at(a.Server)
	if agent == nil {
		c.done(Meta{}, fmt.Errorf("stor: %s: not found", l.pool.slotName(a.Server)))
		return
	}
	failpoint.Here("append.send")
	failpoint.If(failpoint.On && a.Server != (firstSlot(l.vdisk, l.pool.manifest.P())+a.Index)%l.pool.manifest.P(), "append.spare")
	agent.append(c)
}

func (l *Log) replied(a appending.Action, meta Meta, err error) {
	failpoint.If(err == nil, "append.stored")
	outcome, refusal := classify(err)
	e := appending.Replied{Server: a.Server, Position: a.Position, Outcome: outcome}
	switch outcome {
	case appending.Stored:
		e.Index = meta.Index
	case appending.HasIndex:
		e.Index = refusal.Index
	case appending.Fenced:
		e.Epoch = refusal.Owner.Epoch
	}
	if refusal != nil && refusal.Code == OldConfig {
		l.pool.reloadSoon()
	}
	l.mu.Lock()
	l.note(a.Server, outcome, err)
	l.stepLocked(e)
}

// note keeps why a server is not used, for Stalled, and forgets it when it is. l.mu is held.
func (l *Log) note(slot int, outcome appending.Outcome, err error) {
	switch outcome {
	case appending.Stored, appending.HasIndex:
		l.refused[slot] = nil
	default:
		l.refused[slot] = err
	}
}

func (l *Log) fence(slot int) {
	run := func() {
		agent, _ := l.pool.at(slot)
		var err error
		if agent != nil {
			ctx, cancel := context.WithTimeout(l.ctx, requestTimeout)
			defer cancel()
			_, err = agent.server.Fence(ctx, &FenceRequest{Identity: l.identity(slot), Owner: l.owner, Vdisk: l.vdisk})
		} else {
			err = fmt.Errorf("stor: %s: not found", l.pool.slotName(slot))
		}
		outcome, refusal := classify(err)
		e := appending.FenceReplied{Server: slot, Outcome: outcome}
		if outcome == appending.Fenced {
			e.Epoch = refusal.Owner.Epoch
		}
		l.mu.Lock()
		l.note(slot, outcome, err)
		l.stepLocked(e)
	}
	if !l.pool.start(run) {
		l.step(appending.FenceReplied{Server: slot, Outcome: appending.Unknown})
	}
}

func (l *Log) probe(slot int) {
	run := func() {
		_, err := l.pool.probe(l.ctx, slot)
		l.mu.Lock()
		if err != nil {
			l.refused[slot] = err
		}
		l.stepLocked(appending.Probed{Server: slot, OK: err == nil})
	}
	if !l.pool.start(run) {
		l.step(appending.Probed{Server: slot})
	}
}

func (l *Log) wait(a appending.Action) {
	low, high, level := retryMin, retryMax, slog.LevelWarn
	if a.Slow {
		low, high, level = slowMin, slowMax, slog.LevelError
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return
	}
	if a.Failures == 1 || a.Failures%16 == 0 {
		l.logger.Log(l.ctx, level, "shard server is not used", "server", l.pool.slotName(a.Server), "failures", a.Failures, "error", l.refused[a.Server])
	}
	l.waits[a.Server] = time.AfterFunc(l.pool.jitter.backoff(a.Failures, low, high), func() {
		l.step(appending.Due{Server: a.Server})
	})
}

func (l *Log) startHedge(pos tlog.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.flights[pos]; f != nil && l.dead == nil {
		f.startHedge()
	}
}

func (l *Log) release(pos tlog.Position) {
	l.mu.Lock()
	f := l.flights[pos]
	delete(l.flights, pos)
	shards := f.shards
	f.free()
	l.mu.Unlock()
	shards.Release()
}

func (l *Log) die(d appending.Action) {
	failpoint.If(d.Reason == appending.ReasonFenced, "append.fenced")
	l.mu.Lock()
	switch d.Reason {
	case appending.ReasonFenced:
		l.dead = tlog.Fatalf("stor: vdisk %v: epoch %d: %w: %s holds epoch %d", l.vdisk, l.owner.Epoch, ErrFenced, l.pool.slotName(d.Server), d.Epoch)
	case appending.ReasonConflict:
		l.dead = tlog.Fatalf("stor: vdisk %v: epoch %d: conflict: %w", l.vdisk, l.owner.Epoch, l.refused[d.Server])
		l.logger.Error("a shard server holds another aggregation of our own epoch; the log is halted", "server", l.pool.slotName(d.Server), "error", l.dead)
	default:
		why := ErrClosed
		if l.outdated {
			why = errReplaced
		}
		l.dead = tlog.Fatalf("stor: vdisk %v: epoch %d: %w", l.vdisk, l.owner.Epoch, why)
	}
	for _, t := range l.waits {
		if t != nil {
			t.Stop()
		}
	}
	for _, f := range l.flights {
		f.stopHedge()
	}
	l.mu.Unlock()
	l.pool.forget(l)
	l.cancel()
}

// failure is why the log is dead.
func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// Err is why the log is dead, of class tlog.Fatal; nil while it is not.
func (l *Log) Err() error { return l.failure() }

// Stalled is the reason why the oldest position in flight is not committed, or
// nil while that is only a matter of time.
func (l *Log) Stalled() error {
	l.mu.Lock()
	pos, missing := l.machine.Missing()
	if missing == 0 {
		l.mu.Unlock()
		return nil
	}
	var errs []error
	for slot, err := range l.refused {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.pool.slotName(slot), err))
		}
	}
	l.mu.Unlock()
	if len(errs) == 0 {
		errs = append(errs, errors.New("shard servers are slow to answer"))
	}
	return tlog.Unavailablef("stor: vdisk %v: position %d: %d of %d shards are not stored yet: %w", l.vdisk, pos, missing, l.pool.manifest.W, because(errs))
}

// Close fails what is in flight with an error of class tlog.Fatal, and cancels
// the requests; shards are released as those end. It does not wait for them.
func (l *Log) Close() { l.step(appending.Close{}) }
