package stor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tlog"
	"tlog/internal/core/takeover"
	"tlog/internal/failpoint"
)

// search runs the takeover core: for an owner, with fencing, or for a reader.
// One goroutine steps it; each request has its own, and all have ended when
// run returns.
type search struct {
	pool    *Pool
	rules   *Manifest // of all of it
	vdisk   tlog.UUID
	owner   Owner // of a takeover; its epoch is the core's choice
	fence   bool
	verify  func(context.Context, *View, *Fetched) error
	machine *takeover.Machine
	ctx     context.Context
	wg      sync.WaitGroup
	mu      sync.Mutex
	inbox   []searchAnswer
	arrived chan struct{} // capacity 1

	view    *View
	reading tlog.Position    // whose shards are being read
	good    map[int]*Checked // of reading, by slot
	damaged []Damage         // of reading
	adopted *Fetched
	log     *Log
	errs    []error // by slot: the last
	refusal error   // of verify
	torn    bool    // halted for damage or loss, which a writer may have feigned
}

// searchAnswer is an event, with what the core does not need to know.
type searchAnswer struct {
	event  takeover.Event
	slot   int
	pos    tlog.Position
	shard  *Checked
	damage *Damage
	err    error
	fatal  error // ends the search
}

func (p *Pool) newSearch(vdisk tlog.UUID, fence bool) *search {
	m := p.rules.Load()
	return &search{
		pool: p, rules: m, vdisk: vdisk, fence: fence,
		machine: takeover.New(takeover.Config{P: m.P(), K: m.K, N: m.N(), W: m.W, R: m.R(), Fence: fence, Joining: m.joining()}),
		arrived: make(chan struct{}, 1),
		view:    newView(p, vdisk),
		errs:    make([]error, m.P()),
	}
}

// run steps the core until it is done; a failed takeover leaves no log behind.
func (s *search) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	s.ctx = ctx
	err := s.loop()
	cancel()
	s.wg.Wait()
	if err != nil && s.log != nil {
		s.log.Close()
	}
	return err
}

func (s *search) loop() error {
	if over, err := s.perform(s.machine.Step(takeover.Start{})); over {
		return err
	}
	for {
		select {
		case <-s.arrived:
		case <-s.ctx.Done():
			return s.interrupted()
		case <-s.pool.ctx.Done():
			return errClosed
		}
		for _, a := range s.collect() {
			if a.fatal != nil {
				return a.fatal
			}
			if s.pool.rules.Load() != s.rules {
				return errChanged
			}
			s.book(a)
			if over, err := s.perform(s.machine.Step(a.event)); over {
				return err
			}
		}
	}
}

// perform does actions and reports whether the last one ended the search.
func (s *search) perform(actions []takeover.Action) (over bool, err error) {
	for _, a := range actions {
		switch a := a.(type) {
		case takeover.Done:
			s.done(a)
			return true, nil
		case takeover.Halt:
			return true, s.halted(a)
		}
		s.do(a)
	}
	return false, nil
}

// post puts an answer in the inbox, from any goroutine; it does not block.
func (s *search) post(a searchAnswer) {
	s.mu.Lock()
	s.inbox = append(s.inbox, a)
	s.mu.Unlock()
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

func (s *search) collect() []searchAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.inbox
	s.inbox = nil
	return list
}

// book keeps what comes with an answer. Shards of a position that is decided
// already are let go.
func (s *search) book(a searchAnswer) {
	if a.err != nil {
		s.errs[a.slot] = a.err
	}
	if a.pos != 0 && a.pos == s.reading {
		if a.shard != nil {
			s.good[a.slot] = a.shard
		}
		if a.damage != nil {
			s.damaged = append(s.damaged, *a.damage)
		}
	}
}

func (s *search) do(a takeover.Action) {
	switch a := a.(type) {
	case takeover.ReadControl:
		s.ask(a.Server, a.Round, func(ctx context.Context) searchAnswer { return s.readControl(ctx, a) })
	case takeover.Fence:
		s.owner.Epoch = a.Epoch
		owner := s.owner
		s.ask(a.Server, a.Round, func(ctx context.Context) searchAnswer { return s.fenceServer(ctx, a, owner) })
	case takeover.ReadMetas:
		failpoint.If(s.fence, "takeover.quorum")
		s.ask(a.Server, a.Round, func(ctx context.Context) searchAnswer { return s.readMetas(ctx, a) })
	case takeover.ReadShard:
		if s.reading != a.Position {
			s.reading, s.good, s.damaged = a.Position, map[int]*Checked{}, nil
		}
		s.ask(a.Server, a.Round, func(ctx context.Context) searchAnswer { return s.readShard(ctx, a) })
	case takeover.StartGrace:
		s.after(graceTime, takeover.GraceOver(a))
	case takeover.BackOff:
		s.after(s.pool.jitter.backoff(a.Attempt, fenceMin, fenceMax), takeover.BackedOff{})
	case takeover.Found:
		s.view.add(a.Position, a.Digest)
	case takeover.Verify:
		s.decode(a)
	case takeover.Append:
		s.reappend(a)
	}
}

// ask runs a request; one that has no answer of its own has Failed.
func (s *search) ask(slot, round int, f func(context.Context) searchAnswer) {
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, requestTimeout)
		a := f(ctx)
		cancel()
		a.slot = slot
		if a.event == nil {
			a.event = takeover.Failed{Server: slot, Round: round}
		}
		s.post(a)
	})
}

func (s *search) after(d time.Duration, e takeover.Event) {
	s.wg.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			s.post(searchAnswer{event: e})
		case <-s.ctx.Done():
		}
	})
}

// readControl also makes sure that it is the right server: reads carry no
// cookie, and a server that was wiped would vote for an empty log.
func (s *search) readControl(ctx context.Context, a takeover.ReadControl) searchAnswer {
	agent, err := s.pool.probe(ctx, a.Server)
	if err != nil {
		return searchAnswer{err: err}
	}
	c, err := agent.server.Control(ctx, s.vdisk)
	if err != nil {
		return searchAnswer{err: err}
	}
	return searchAnswer{event: takeover.ControlRead{Server: a.Server, Round: a.Round, Epoch: c.Epoch, Head: c.Head, Commit: c.Commit}}
}

func (s *search) server(slot int) (Server, error) {
	agent, _ := s.pool.at(slot)
	if agent == nil {
		return nil, fmt.Errorf("stor: %s: not found", s.pool.slotName(slot))
	}
	return agent.server, nil
}

func (s *search) fenceServer(ctx context.Context, a takeover.Fence, owner Owner) searchAnswer {
	server, err := s.server(a.Server)
	if err != nil {
		return searchAnswer{err: err}
	}
	c, err := server.Fence(ctx, &FenceRequest{
		Identity: Identity{Cookie: s.rules.Cookies[a.Server], ConfigVersion: s.rules.ConfigVersion}, Owner: owner, Vdisk: s.vdisk,
	})
	var r *Refusal
	switch {
	case err == nil:
		failpoint.Here("takeover.fenced")
		return searchAnswer{event: takeover.Fenced{Server: a.Server, Round: a.Round, Head: c.Head, Commit: c.Commit}}
	case errors.As(err, &r) && r.Code == Fenced:
		return searchAnswer{err: err, event: takeover.Refused{Server: a.Server, Round: a.Round, Epoch: r.Owner.Epoch}}
	}
	return searchAnswer{err: err}
}

func (s *search) readMetas(ctx context.Context, a takeover.ReadMetas) searchAnswer {
	server, err := s.server(a.Server)
	if err != nil {
		return searchAnswer{err: err}
	}
	metas, err := server.Metas(ctx, s.vdisk, a.From, a.To)
	partial := err != nil && tlog.ClassOf(err) == tlog.Corrupt
	if err != nil && !partial {
		return searchAnswer{err: err}
	}
	// Reads carry no cookie. A server that was wiped after its vote would answer
	// truly that it holds nothing; that it is still who it was is asked after
	// the metas, so that what they lack was lacking before.
	if changed := s.stillThere(ctx, server, a.Server); changed != nil {
		return searchAnswer{err: changed}
	}
	return searchAnswer{err: err, event: takeover.MetasRead{Server: a.Server, Round: a.Round, Metas: coreMetas(metas), Partial: partial}}
}

// stillThere checks that a server has the cookie of its slot.
func (s *search) stillThere(ctx context.Context, server Server, slot int) error {
	cookie, _, err := server.Identify(ctx)
	switch want := s.pool.Manifest().Cookies[slot]; {
	case err != nil:
		return err
	case cookie != want:
		return fmt.Errorf("stor: %s: it was wiped or exchanged meanwhile", server.Name())
	}
	return nil
}

func coreMetas(metas []Meta) []takeover.Meta {
	list := make([]takeover.Meta, len(metas))
	for i, m := range metas {
		list[i] = takeover.Meta(m)
	}
	return list
}

// readShard reads and checks one shard. One that is gone although its meta is
// there is damaged too.
func (s *search) readShard(ctx context.Context, a takeover.ReadShard) searchAnswer {
	server, err := s.server(a.Server)
	if err != nil {
		return searchAnswer{err: err}
	}
	c, err := s.pool.readShard(ctx, server, s.vdisk, a.Position)
	e := takeover.ShardRead{Server: a.Server, Round: a.Round}
	switch {
	case err == nil:
		e.Good, e.Digest, e.Prev, e.Index = true, c.Digest, c.Prev, c.Index
		return searchAnswer{event: e, pos: a.Position, shard: c}
	case isDamage(err):
		return searchAnswer{event: e, pos: a.Position, err: err, damage: &Damage{s.vdisk, a.Position, server.Name(), -1, err}}
	}
	return searchAnswer{err: err}
}

// done: the log's head is known. An owner that had nothing to adopt gets its
// log here.
func (s *search) done(a takeover.Done) {
	s.view.finish(a.Base, a.Head)
	for slot, votes := range a.Voters {
		if !votes {
			s.view.lost(slot, s.errs[slot])
		}
	}
	if !s.fence {
		return
	}
	failpoint.Here("takeover.done")
	if s.log == nil {
		s.log = s.pool.newLog(s.vdisk, s.owner, a.Head, s.rules)
	}
	s.log.view = s.view
}

// interrupted: the caller's context ended, perhaps because too few servers
// would take the adopted positions again.
func (s *search) interrupted() error {
	err := s.ctx.Err()
	if s.log != nil {
		if stalled := s.log.Stalled(); stalled != nil {
			return fmt.Errorf("stor: takeover of %v: %w: %w", s.vdisk, stalled, err)
		}
	}
	return fmt.Errorf("stor: vdisk %v: %w", s.vdisk, err)
}

func (s *search) halted(h takeover.Halt) error {
	var errs []error
	for slot, err := range s.errs {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.pool.slotName(slot), err))
		}
	}
	why := because(errs)
	s.torn = h.Reason == takeover.ReasonDamaged || h.Reason == takeover.ReasonLost
	class := tlog.Unavailable
	if h.Everyone {
		class = tlog.Corrupt
	}
	m := &s.pool.manifest
	switch h.Reason {
	case takeover.ReasonTooFew:
		return tlog.Unavailablef("stor: vdisk %v: %d of %d shard servers answer, %d are needed: %w", s.vdisk, h.Have, m.P(), h.Need, why)
	case takeover.ReasonDamaged:
		return tlog.WithClass(class, fmt.Errorf("stor: vdisk %v: position %d: %d good shards, %d are needed; what is damaged or out of reach may have been acknowledged, so nothing is decided without more servers: %w", s.vdisk, h.Position, h.Have, h.Need, why))
	case takeover.ReasonLost:
		return tlog.WithClass(class, fmt.Errorf("stor: vdisk %v: position %d was acknowledged, and too few shard servers hold it: %w", s.vdisk, h.Position, why))
	case takeover.ReasonRefused:
		return fmt.Errorf("stor: vdisk %v: position %d: %w", s.vdisk, h.Position, s.refusal)
	}
	return tlog.Fatalf("stor: vdisk %v: no higher epoch is left", s.vdisk)
}
