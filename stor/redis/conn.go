package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"tlog/stor"
)

// conn is an admitted connection. It belongs to one goroutine at a time, but
// for close.
type conn struct {
	redis.Conn
	raw      net.Conn // what the guard reads from; written to by appends and Fill
	guard    *guard
	admitted time.Time
}

// close ends the connection, and with it every read and write on it. It may be
// called at any time.
func (c *conn) close() { _ = c.raw.Close() }

// gate bounds how often connections are tried: what the last failure was, and
// until when it is the answer.
type gate struct {
	mu    sync.Mutex
	fails int
	until time.Time
	err   error
}

// shut gives the reason why no connection may be made now, or nil.
func (g *gate) shut() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil && time.Now().Before(g.until) {
		return g.err
	}
	return nil
}

func (g *gate) opened() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fails, g.err = 0, nil
}

// failed doubles the pause from least to most. A refusal that only a person can
// lift waits for the longest at once, lest we hammer.
func (g *gate) failed(err error, least, most time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	pause := most
	var r *stor.Refusal
	if !errors.As(err, &r) || r.Code == stor.Busy {
		if g.fails < 30 {
			pause = min(most, least<<g.fails)
		}
	}
	g.fails++
	g.err, g.until = err, time.Now().Add(pause)
}

// connect makes an admitted connection.
func (s *Server) connect(ctx context.Context) (*conn, error) {
	if err := s.life.Err(); err != nil {
		return nil, s.errClosed()
	}
	if err := s.gate.shut(); err != nil {
		return nil, err
	}
	c, err := s.dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			// The caller gave up, which says nothing about the server.
			return nil, fmt.Errorf("connect: %w", context.Cause(ctx))
		}
		err = s.judge("connect", err)
		s.gate.failed(err, minBackoff, s.opt.MaxBackoff)
		return nil, err
	}
	s.gate.opened()
	return c, nil
}

func (s *Server) dial(ctx context.Context) (*conn, error) {
	patience := min(s.opt.Timeout, maxDial)
	limit, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %v", patience))
	defer cancel()
	raw, err := new(net.Dialer).DialContext(limit, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	// The context ends whatever the connection is doing; so does Close.
	defer context.AfterFunc(limit, func() { _ = raw.Close() })()
	c, err := s.hello(limit, raw)
	if err == nil {
		err = context.Cause(limit)
	}
	if err != nil {
		_ = raw.Close()
		if limit.Err() != nil && ctx.Err() == nil {
			err = context.Cause(limit)
		}
		return nil, err
	}
	return c, nil
}

// hello makes a connection of a socket: who we are, which database, whether
// the server may be used, and the scripts.
func (s *Server) hello(ctx context.Context, raw net.Conn) (*conn, error) {
	if s.opt.TLS != nil {
		t := tls.Client(raw, s.tlsConfig())
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		raw = t
	}
	g := newGuard(raw)
	c := &conn{Conn: redis.NewConn(g, 0, 0), raw: raw, guard: g}
	err := s.present(c)
	if g.err != nil {
		return nil, s.unfit("connect: %w", g.err) // whatever redigo made of it
	}
	return c, err
}

func (s *Server) present(c *conn) error {
	if err := s.login(c); err != nil {
		return err
	}
	if err := s.admit(c); err != nil {
		return err
	}
	for _, x := range []script{s.scripts.fence, s.scripts.append, s.scripts.init} {
		if s.opt.ReadOnly {
			break
		}
		if _, err := c.Do("SCRIPT", "LOAD", x.text); err != nil {
			return fmt.Errorf("script load: %w", err)
		}
	}
	return nil
}

func (s *Server) login(c *conn) error {
	if s.opt.Password != "" {
		args := []any{s.opt.Password}
		if s.opt.Username != "" {
			args = []any{s.opt.Username, s.opt.Password}
		}
		if _, err := c.Do("AUTH", args...); err != nil {
			return err
		}
	}
	if s.db != 0 {
		if _, err := c.Do("SELECT", s.db); err != nil {
			return fmt.Errorf("select database %d: %w", s.db, err)
		}
	}
	return nil
}

func (s *Server) tlsConfig() *tls.Config {
	cfg := s.opt.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(s.addr)
	}
	return cfg
}
