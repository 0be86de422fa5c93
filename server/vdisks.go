package server

import (
	"context"
	"errors"
	"time"

	"tlog"
	"tlog/internal/core/session"
)

// entry is a vdisk that is owned or being taken over.
type entry struct {
	first  *conn // the one it is taken over for
	cancel context.CancelFunc
	loaded chan struct{} // closed when owner or err is set
	owner  *owner
	err    error

	waiters int // of loaded; by Server.mu
}

// attach gives c to its vdisk's owner, taking the log over first if it must.
// The answer comes through c's outbox. The result ends the time limit.
func (s *Server) attach(c *conn) (stop func()) {
	by := time.Now().Add(s.cfg.AttachTimeout)
	ctx, cancel := context.WithDeadlineCause(c.ctx, by, errSlow)
	defer cancel()
	for {
		o, err := s.owner(ctx, c)
		if err != nil {
			s.refuseAttach(c, err)
			return func() {}
		}
		if r := began(o.origin, &c.greeting); r != nil {
			c.refuse(r)
			return func() {}
		}
		if o.attach(c) {
			return o.giveUpAfter(c, time.Until(by))
		}
		select { // it is going: wait until it is gone
		case <-o.gone:
		case <-ctx.Done():
			s.refuseAttach(c, context.Cause(ctx))
			return func() {}
		}
	}
}

var (
	errSlow     = tlog.Unavailablef("server: taking the log over takes long; try again")
	errStopping = tlog.Unavailablef("server: it is shutting down")
)

func (s *Server) refuseAttach(c *conn, err error) {
	var r *refusedError
	if !errors.As(err, &r) {
		f := failure(err)
		r = &refusedError{Status: f.Status, Message: f.Message}
	}
	c.refuse((*session.Refusal)(r))
}

// owner finds or makes the vdisk's owner. One load runs for all who wait, and
// ends when none of them is left.
func (s *Server) owner(ctx context.Context, c *conn) (*owner, error) {
	for {
		e, err := s.entry(c)
		if err != nil {
			return nil, err
		}
		err = s.wait(ctx, e)
		var r *refusedError
		switch {
		case err == nil:
			return e.owner, nil
		case ctx.Err() != nil:
			return nil, err
		case e.first != c && (errors.As(err, &r) || errors.Is(err, context.Canceled)):
			continue // that was about another client
		default:
			return nil, err
		}
	}
}

// entry finds the vdisk's entry, or makes one and starts to load it.
func (s *Server) entry(c *conn) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, errStopping
	}
	e := s.vdisks[c.vdisk]
	if e == nil {
		e = &entry{first: c, loaded: make(chan struct{})}
		var ctx context.Context
		ctx, e.cancel = context.WithCancel(context.Background())
		s.vdisks[c.vdisk] = e
		g := c.greeting
		s.tasks.Go(func() { s.fill(ctx, e, g) })
	}
	e.waiters++
	return e, nil
}

// fill loads e; a failed one makes room for the next attempt.
func (s *Server) fill(ctx context.Context, e *entry, g greeting) {
	defer e.cancel()
	o, err := s.load(ctx, g)
	s.mu.Lock()
	e.owner, e.err = o, err
	if err != nil {
		delete(s.vdisks, g.vdisk)
	}
	s.mu.Unlock()
	close(e.loaded)
}

func (s *Server) wait(ctx context.Context, e *entry) error {
	var err error
	select {
	case <-e.loaded:
		err = e.err
	case <-ctx.Done():
	}
	if gone := context.Cause(ctx); gone != nil {
		err = gone // also if e is loaded: what nobody waits for any more changes no owner
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.waiters--; e.waiters == 0 {
		e.cancel()
	}
	return err
}

// remove makes room for the vdisk's next owner.
func (s *Server) remove(o *owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.vdisks[o.vdisk]; e != nil && e.owner == o {
		delete(s.vdisks, o.vdisk)
	}
}

// dropIdle lets go of vdisks nobody used for rounds calls.
func (s *Server) dropIdle(rounds int) {
	for _, o := range s.owners() {
		if o.idleFor(rounds) {
			o.tell.Debug("idle vdisk is let go of")
			o.letGo()
		}
	}
}

// owners lists what is owned now.
func (s *Server) owners() []*owner {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*owner
	for _, e := range s.vdisks {
		if e.owner != nil {
			all = append(all, e.owner)
		}
	}
	return all
}
