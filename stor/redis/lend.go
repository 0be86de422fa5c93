package redis

import (
	"context"
	"fmt"
	"time"
)

// with lends f a connection that is not the appends', and answers what f or
// the connection failed with. f must be harmless to repeat: a connection that
// died while it was unused is replaced and f run once more. When f returns nil
// or an error answer of Redis it has received all it asked for.
func (s *Server) with(ctx context.Context, limit int, f func(*conn) error) error {
	caller := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(s.errClosed()) })()
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
	}
	if s.life.Err() != nil {
		return s.errClosed()
	}
	err := s.try(ctx, limit, f)
	if err != nil && caller.Err() != nil && !refused(err) {
		return ended{context.Cause(caller)}
	}
	return err
}

// ended is the error of a request whose context ended. It is the caller's own
// making, so it has no class.
type ended struct{ error }

func (e ended) Unwrap() error { return e.error }

func (s *Server) try(ctx context.Context, limit int, f func(*conn) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c := s.unused(); c != nil {
		again, err := s.lend(ctx, c, limit, f)
		if !again {
			return err
		}
		s.forget()
	}
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	_, err = s.lend(ctx, c, limit, f)
	return err
}

// lend runs f on c, and reports whether it failed because c was dead.
func (s *Server) lend(ctx context.Context, c *conn, limit int, f func(*conn) error) (again bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opt.Timeout, fmt.Errorf("no answer within %v", s.opt.Timeout))
	defer cancel()
	stop := context.AfterFunc(ctx, c.close)
	if time.Since(c.admitted) >= s.opt.Readmit {
		c.guard.limit = smallReply
		err = s.admit(c)
	}
	if err == nil {
		c.guard.limit = limit
		err = f(c)
	}
	dead := !stop()
	switch {
	case err == nil, answered(err):
	case refused(err):
		dead = true // by admit: no connection to this server is good
	default:
		again, dead = !dead, true
	}
	if dead {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		c.close()
		return again, err
	}
	s.mu.Lock()
	s.idle = append(s.idle, c)
	s.mu.Unlock()
	return false, err
}

func (s *Server) unused() *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.idle)
	if n == 0 {
		return nil
	}
	c := s.idle[n-1]
	s.idle = s.idle[:n-1]
	return c
}

// forget closes the unused connections: one of them was dead, so all may be.
func (s *Server) forget() {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}
