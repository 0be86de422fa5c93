package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"tlog"
	"tlog/internal/core/session"
	"tlog/schema"
)

// ErrNotFlushed is in the tree of Shutdown's error when records that were
// received could not be made durable. Their clients were not told they are.
var ErrNotFlushed = errors.New("not everything received is durable")

// Server serves vdisks to clients. Safe for concurrent use.
type Server struct {
	// Metrics are counted while the server runs.
	Metrics Metrics

	cfg         Config
	budget      *budget
	payloads    payloads
	creditBytes uint64
	handshakes  chan struct{}  // a token for each that is incomplete
	tasks       sync.WaitGroup // loads, barriers, closings
	serving     sync.WaitGroup // connections

	mu        sync.Mutex
	vdisks    map[tlog.VdiskID]*entry
	conns     map[session.Conn]*conn
	last      session.Conn
	listeners map[net.Listener]struct{}
	stopping  bool
	stopped   chan struct{} // closed with stopping
}

// New checks cfg. The server owns nothing until Serve is called.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	size := int64(cfg.MemoryBudget / 2)
	s := &Server{
		cfg: cfg, budget: newBudget(size),
		creditBytes: uint64(min(max(size/8, tlog.MaxRecordData), 64<<20)),
		handshakes:  make(chan struct{}, cfg.MaxHandshakes),
		vdisks:      map[tlog.VdiskID]*entry{}, conns: map[session.Conn]*conn{},
		listeners: map[net.Listener]struct{}{}, stopped: make(chan struct{}),
	}
	s.payloads.spare.New = func() *payload {
		p := new(payload)
		p.release = func() { s.discard(p) }
		return p
	}
	return s, nil
}

// Serve accepts connections of ln until ctx ends or Shutdown is called, then
// returns nil; connections go on until Shutdown. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer func() { _ = ln.Close() }()
	janitor, stop := context.WithCancel(ctx)
	defer stop()
	if !s.listen(janitor, ln) {
		return nil
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		select {
		case s.handshakes <- struct{}{}:
		case <-ctx.Done():
			return nil
		case <-s.stopped:
			return nil
		}
		nc, err := ln.Accept()
		if err == nil {
			s.start(nc)
			continue
		}
		<-s.handshakes
		if ctx.Err() != nil || s.isStopping() {
			return nil
		}
		if !s.acceptAgain(ctx, err) {
			return fmt.Errorf("server: accept: %w", err)
		}
	}
}

// acceptAgain waits a moment after an error that may pass, such as too many
// open files.
func (s *Server) acceptAgain(ctx context.Context, err error) bool {
	var t interface{ Temporary() bool }
	if !errors.As(err, &t) || !t.Temporary() {
		return false
	}
	s.cfg.Logger.Warn("connection not accepted", "err", err)
	pause := time.NewTimer(100 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	case <-s.stopped:
	}
	return true
}

// listen begins what Serve needs, unless the server is stopping.
func (s *Server) listen(janitor context.Context, ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.listeners[ln] = struct{}{}
	// Begun here, a Shutdown at the same time waits for them, or they do not begin.
	s.tasks.Go(func() { s.tidy(janitor) })
	s.tasks.Go(func() { s.careFor(janitor, false) })
	s.tasks.Go(func() { s.careFor(janitor, true) })
	return true
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// start serves a connection, or closes it if there are too many.
func (s *Server) start(nc net.Conn) {
	c := &conn{
		srv: s, nc: nc, out: newOutbox(), reader: schema.NewReader(nc), ready: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if !s.register(c) {
		s.Metrics.ConnectionsRefused.Add(1)
		c.cancel()
		_ = nc.Close()
		<-s.handshakes
		return
	}
	go func() {
		defer s.serving.Done()
		defer s.unregister(c)
		c.serve(func() { <-s.handshakes })
	}()
}

func (s *Server) register(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || len(s.conns) >= s.cfg.MaxConnections {
		return false
	}
	s.last++
	c.id = s.last
	c.log = s.cfg.Logger.With("conn", uint64(c.id), "peer", c.nc.RemoteAddr().String())
	s.conns[c.id] = c
	s.Metrics.Connections.Add(1)
	s.serving.Add(1)
	return true
}

func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.id)
	s.Metrics.Connections.Add(-1)
}

// tidy lets go of idle vdisks.
func (s *Server) tidy(ctx context.Context) {
	const rounds = 4
	tick := time.NewTicker(s.cfg.IdleTimeout / rounds)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.dropIdle(rounds)
		case <-ctx.Done():
			return
		case <-s.stopped:
			return
		}
	}
}

// discard gives back a payload that nobody took.
func (s *Server) discard(p *payload) {
	s.budget.release(p.charge)
	s.payloads.put(p)
}

// BudgetInUse is how many bytes of the memory budget are taken, and its size.
func (s *Server) BudgetInUse() (used, size int64) { return s.budget.inUse(), s.budget.size }

// Vdisks is how many vdisks are owned.
func (s *Server) Vdisks() int { return len(s.owners()) }
