package server_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/schema"
	"tlog/server"
)

// waitFor polls cond, which is about another goroutine's progress.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// With stores that hang the server stops reading, inside its budget, and
// acknowledges nothing; when they return it goes on by itself.
func TestStalledStore(t *testing.T) {
	s := newStore(t)
	r := start(t, s, func(c *server.Config) {
		// Waiting for memory is not the peer's fault; that it is not scheduled in the
		// middle of a message, on a busy machine, would be.
		c.MemoryBudget, c.MessageTimeout = 32<<20, 2*time.Second
	})
	h := makeHistory("v", 48, 1<<20) // more than the budget and the sockets hold
	p := dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	resume := s.hang()
	defer resume()
	sent := make(chan error, 1)
	go func() {
		for i := range h.records {
			b := schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: h.records[i : i+1], Chain: h.chains[i+1]})
			if _, err := p.c.Write(b); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	waitFor(t, "the budget is used up", func() bool {
		used, size := r.BudgetInUse()
		if used > size {
			t.Fatalf("%d bytes in use of %d", used, size)
		}
		return size-used < 2<<20
	})
	select {
	case err := <-sent:
		t.Fatalf("everything was read, or the connection broke: %v", err)
	case <-time.NewTimer(2500 * time.Millisecond).C:
	}
	resume()
	for {
		f := p.response()
		if f.Status == tlog.StatusFlushOK && f.UpTo == 48 {
			break
		}
		if f.Status < 0 {
			t.Fatalf("answer %d: %s", f.Status, f.Message)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	waitFor(t, "the budget is given back", func() bool { used, _ := r.BudgetInUse(); return used == 0 })
}

// Answers that were given before the store stalled are no reason to give more.
func TestStalledStoreAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := start(t, s, nil)
	h := makeHistory("v", 4, 512)
	p := dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	resume := s.hang()
	p.batch(h, 1, 2)
	p.command(schema.MsgForceFlush, 2)
	p.until(tlog.StatusForceFlushReceived, 2)
	_ = p.c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := p.r.Frame(schema.MaxResponse, nil); !isTimeout(err) {
		t.Fatalf("something was answered while the store hangs: %v", err)
	}
	_ = p.c.SetReadDeadline(time.Now().Add(time.Minute))
	resume()
	p.until(tlog.StatusFlushOK, 2)
}

func TestUnavailableWhileLoading(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := start(t, s, func(c *server.Config) { c.AttachTimeout = 5 * time.Second })
	resume := s.hang()
	if w := dial(t, r.addr).hello(schema.Hello{Vdisk: "v", Client: alice}); w.Status != tlog.HandshakeUnavailable || w.Message == "" {
		t.Fatalf("got %v (%s), want unavailable", w.Status, w.Message)
	}
	resume()
	if w := dial(t, r.addr).attach(schema.Hello{Vdisk: "v", Client: alice}); w.LastFlushed != 0 || w.Generation != 1 {
		t.Errorf("at %d in generation %d, want 0 and 1", w.LastFlushed, w.Generation)
	}
}

func TestUnavailableWhileTheBarrierStalls(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := start(t, s, func(c *server.Config) { c.AttachTimeout = 5 * time.Second })
	h := makeHistory("v", 2, 512)
	p := dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	resume := s.hang()
	p.batch(h, 1, 2)
	p.until(tlog.StatusRecvOK, 2)
	w := dial(t, r.addr).hello(schema.Hello{Vdisk: "v", Client: alice, Generation: 1})
	if w.Status != tlog.HandshakeUnavailable {
		t.Fatalf("got %v (%s), want unavailable", w.Status, w.Message)
	}
	resume()
	w = dial(t, r.addr).attach(schema.Hello{Vdisk: "v", Client: alice, Generation: 1})
	if w.LastFlushed != 2 || w.Chain != h.chains[2] || w.Generation != 3 {
		t.Errorf("at %d in generation %d, want 2 and 3", w.LastFlushed, w.Generation)
	}
}

// A server does not go on fencing for a client that is gone.
func TestLoadEndsWithItsClient(t *testing.T) {
	s := newStore(t)
	r := start(t, s, func(c *server.Config) { c.AttachTimeout = time.Minute })
	resume := s.hang()
	defer resume()
	p := dial(t, r.addr)
	p.send(schema.AppendHello(nil, &schema.Hello{Version: schema.Version2, Vdisk: "v", Client: alice}))
	waitFor(t, "the takeover fences", func() bool {
		ids, err := s.pool.Vdisks(t.Context())
		return err == nil && len(ids) == 1
	})
	_ = p.c.Close()
	waitFor(t, "the connection ends", func() bool { return r.Metrics.Connections.Load() == 0 })
	resume()
	if w := dial(t, r.addr).attach(schema.Hello{Vdisk: "v", Client: alice}); w.Epoch < 2 {
		t.Errorf("epoch %d: the takeover went on for nobody", w.Epoch)
	}
}

// Two servers of one pool: the one that is fenced says so, lets go, and may
// take over again.
func TestFencedByAnotherServer(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first, second := start(t, s, nil), start(t, s, nil)
	h := makeHistory("v", 4, 512)
	a := dial(t, first.addr)
	a.attach(schema.Hello{Vdisk: "v", Client: alice})
	a.batch(h, 1, 2)
	a.command(schema.MsgForceFlush, 2)
	old := a.until(tlog.StatusFlushOK, 2)
	b := dial(t, second.addr)
	w := b.attach(schema.Hello{Vdisk: "v", Client: alice, Generation: 1, LastFlushed: 2, Chain: h.chains[2]})
	if w.Epoch <= old.Epoch || w.LastFlushed != 2 {
		t.Fatalf("second server at %d in epoch %d, want 2 in one above %d", w.LastFlushed, w.Epoch, old.Epoch)
	}
	a.batch(h, 3, 3)
	a.command(schema.MsgForceFlush, 3)
	a.until(tlog.StatusFlushFailed, 0)
	a.ended()
	a = dial(t, first.addr)
	w = a.attach(schema.Hello{Vdisk: "v", Client: alice, Generation: 2, LastFlushed: 2, Chain: h.chains[2]})
	if w.LastFlushed != 2 {
		t.Fatalf("an unacknowledged record of a fenced server is in the log: %d", w.LastFlushed)
	}
	a.batch(h, 3, 4)
	a.command(schema.MsgForceFlush, 4)
	a.until(tlog.StatusFlushOK, 4)
	// The second server does not know that it was fenced. What it would refuse for
	// good, by its own log, it must find out about first.
	again := schema.Hello{Vdisk: "v", Client: alice, Generation: 3, LastFlushed: 4, Chain: h.chains[4]}
	if w := dial(t, second.addr).hello(again); w.Status != tlog.HandshakeMoved {
		t.Errorf("a handshake that knows more than the fenced server: %v (%s), want moved", w.Status, w.Message)
	}
	w = dial(t, second.addr).attach(again)
	if w.Generation != 4 || w.LastFlushed != 4 {
		t.Errorf("at %d in generation %d, want 4 and 4", w.LastFlushed, w.Generation)
	}
	// One that it would accept fails on the barrier.
	if w := dial(t, first.addr).hello(again); w.Status != tlog.HandshakeMoved {
		t.Errorf("a handshake at the fenced server: %v (%s), want moved", w.Status, w.Message)
	}
	dial(t, first.addr).attach(again)
}

// An owner that nobody writes to finds out that it was fenced when it repairs:
// it lets go, and its client learns of it.
func TestIdleOwnerFindsOutThatItWasFenced(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first := start(t, s, func(c *server.Config) { c.ScrubEvery = 70 * time.Millisecond })
	h := makeHistory("v", 4, 512)
	a := dial(t, first.addr)
	a.attach(schema.Hello{Vdisk: "v", Client: alice})
	a.batch(h, 1, 2)
	a.command(schema.MsgForceFlush, 2)
	a.until(tlog.StatusFlushOK, 2)
	b := dial(t, start(t, s, func(c *server.Config) { c.ScrubEvery = time.Hour }).addr)
	b.attach(schema.Hello{Vdisk: "v", Client: alice, Generation: 1, LastFlushed: 2, Chain: h.chains[2]})
	g := s.holder(t, "v", 4)
	g.mu.Lock()
	g.rotten = true
	g.mu.Unlock()
	a.until(tlog.StatusFlushFailed, 0)
	a.ended()
}

func TestIdleVdisksAreLetGoOf(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), func(c *server.Config) { c.IdleTimeout = 40 * time.Millisecond })
	h := makeHistory("v", 4, 512)
	p := dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	p.batch(h, 1, 4)
	p.until(tlog.StatusRecvOK, 4)
	_ = p.c.Close() // what it sent is flushed without it
	waitFor(t, "the vdisk is let go of", func() bool { return r.Vdisks() == 0 })
	if n := r.Metrics.OwnersFailed.Load(); n != 0 {
		t.Errorf("letting go of an idle vdisk counts as %d failures", n)
	}
	if w := dial(t, r.addr).attach(schema.Hello{Vdisk: "v", Client: alice, Generation: 1}); w.LastFlushed != 4 {
		t.Errorf("log at %d, want 4", w.LastFlushed)
	}
}

// A peer that reads nothing, and one in the middle of its handshake, do not
// hold the server for long.
func TestShutdownWithPeersThatDoNotGo(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), func(c *server.Config) { c.HandshakeTimeout, c.WriteTimeout = time.Minute, time.Minute })
	dial(t, r.addr).attach(schema.Hello{Vdisk: "v", Client: alice})
	dial(t, r.addr).send([]byte{0, 0, 0, 0})
	deaf := dial(t, r.addr) // asks for ever, and reads nothing
	deaf.attach(schema.Hello{Vdisk: "w", Client: alice})
	flood := bytes.Repeat(schema.AppendCommand(nil, schema.MsgForceFlush, 1), 1000)
	for err := error(nil); err == nil; {
		_ = deaf.c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		_, err = deaf.c.Write(flood)
	}
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		break_  func(*store) (repair func())
		flushed bool
		within  time.Duration
	}{
		{"healthy", func(*store) func() { return func() {} }, true, time.Minute},
		{"slow", func(s *store) func() { resume := s.hang(); time.AfterFunc(300*time.Millisecond, resume); return resume }, true, time.Minute},
		{"hung", func(s *store) func() { return s.hang() }, false, 600 * time.Millisecond},
		{"failing", func(s *store) func() { s.fail(errors.New("broken")); return func() { s.fail(nil) } }, false, 600 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			r := start(t, s, nil)
			h := makeHistory("v", 8, 512)
			p := dial(t, r.addr)
			p.attach(schema.Hello{Vdisk: "v", Client: alice})
			idle := dial(t, r.addr)
			idle.send([]byte{0, 0, 0, 0}) // in the middle of its handshake
			repair := c.break_(s)
			p.batch(h, 1, 8)
			p.until(tlog.StatusRecvOK, 8)
			ctx, cancel := context.WithTimeout(t.Context(), c.within)
			defer cancel()
			down := make(chan error, 1)
			go func() { down <- r.Shutdown(ctx) }()
			if c.flushed {
				p.until(tlog.StatusFlushOK, 8)
				p.until(tlog.StatusByeOK, 8)
			} else {
				p.until(tlog.StatusFlushFailed, 0)
			}
			p.ended()
			idle.ended()
			err := <-down
			if c.flushed && err != nil {
				t.Fatalf("shutdown: %v", err)
			}
			if !c.flushed && (!errors.Is(err, server.ErrNotFlushed) || !strings.Contains(err.Error(), "1 vdisks")) {
				t.Fatalf("shutdown: %v, want that one vdisk is not flushed", err)
			}
			repair()
			r = start(t, s, nil)
			w := dial(t, r.addr).attach(schema.Hello{Vdisk: "v", Client: alice, Generation: 1})
			if c.flushed && w.LastFlushed != 8 || w.LastFlushed != 0 && w.LastFlushed != 8 {
				t.Errorf("log at %d", w.LastFlushed)
			}
		})
	}
}
