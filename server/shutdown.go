package server

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tlog/internal/failpoint"
)

// Shutdown ends the server:
//
//  1. nothing new is accepted: connections, handshakes, records;
//  2. what was received is flushed, and its clients are told, then said goodbye;
//  3. when ctx ends first, what is left fails, and its clients are told that;
//  4. connections that did not end by themselves are closed.
//
// It returns an error wrapping ErrNotFlushed if a record that was received is
// not known to be durable. A second call waits for nothing and returns nil.
func (s *Server) Shutdown(ctx context.Context) error {
	entries := s.stop()
	if entries == nil {
		return nil
	}
	failpoint.Here("shutdown.begun")
	var lost atomic.Int64
	var closing sync.WaitGroup
	for _, e := range entries {
		closing.Go(func() {
			<-e.loaded
			if e.owner != nil && !e.owner.close(ctx) {
				lost.Add(1)
			}
		})
	}
	closing.Wait()
	failpoint.Here("shutdown.flushed")
	s.endConnections()
	s.tasks.Wait()
	if n := lost.Load(); n > 0 {
		return fmt.Errorf("server: shutdown: %d vdisks: %w", n, ErrNotFlushed)
	}
	return nil
}

// stop closes the doors. The result is nil if that was done before.
func (s *Server) stop() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil
	}
	s.stopping = true
	close(s.stopped)
	for ln := range s.listeners {
		_ = ln.Close()
	}
	entries := make([]*entry, 0, len(s.vdisks))
	for _, e := range s.vdisks {
		if e.owner == nil {
			e.cancel()
		}
		entries = append(entries, e)
	}
	return entries
}

// endConnections waits until each peer has got its last answer, for a bounded
// time: a peer that does not read must not hold the server.
func (s *Server) endConnections() {
	late := time.AfterFunc(2*lingerTime, func() { s.eachConn(func(c *conn) { _ = c.nc.Close() }) })
	defer late.Stop()
	s.eachConn((*conn).hurry)
	s.serving.Wait()
}

func (s *Server) eachConn(f func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		f(c)
	}
}
