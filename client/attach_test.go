package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/client"
	"tlog/schema"
)

func TestUnixSocketAndNextServer(t *testing.T) {
	f := newFake(t)
	path := f.listen("unix", tempSocket(t))
	gone := newFake(t).listen("unix", tempSocket(t)+"x")
	c, err := client.Open(ctx, client.Config{Servers: []string{"unix:" + gone + "-not", "unix:" + path}, Vdisk: vdisk})
	if err != nil {
		t.Fatal(err)
	}
	write(t, c, 10, 4096)
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	f.check(10)
	if got := c.Session().Server; got != "unix:"+path {
		t.Errorf("session with %s", got)
	}
}

func TestGenerationIsToldBeforeRecords(t *testing.T) {
	f := newFake(t)
	var told []tlog.Generation
	c := open(t, f, func(cfg *client.Config) {
		cfg.Takeover = true
		cfg.OnAttach = func(s client.Session) {
			f.set(func() {
				if s.Generation != f.generation {
					t.Errorf("told generation %d, the server gave %d", s.Generation, f.generation)
				}
				if n := len(told); n > 0 && len(f.log) != n {
					t.Errorf("attach %d: the server has %d records already", n+1, len(f.log))
				}
				told = append(told, s.Generation)
			})
		}
	})
	for i := range 3 {
		if i > 0 {
			f.cut()
		}
		write(t, c, 1, 10)
		if err := c.FlushTo(ctx, tlog.Sequence(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(told) != "[1 2 3]" {
		t.Errorf("generations %v", told)
	}
	for i, h := range f.hellos {
		if h.Takeover != (i == 0) || h.Generation != tlog.Generation(i) || h.MinVersion != schema.Version2 {
			t.Errorf("hello %d: %+v", i+1, h)
		}
	}
	if s := c.Session(); s.Generation != 3 || s.Epoch != 1 || s.Durability != "memory" || s.VdiskUUID != (tlog.UUID{7}) {
		t.Errorf("session %+v", s)
	}
}

func TestAdopt(t *testing.T) {
	f := newFake(t)
	first := open(t, f, nil)
	write(t, first, 5, 10)
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Open(ctx, client.Config{Servers: []string{"x"}, Vdisk: vdisk, Dial: f.dial}); !errors.Is(err, client.ErrDiverged) {
		t.Errorf("a log where a new one is expected: %v", err)
	}
	c := open(t, f, func(cfg *client.Config) { cfg.Adopt = true })
	if got := c.Start(); got != first.Flushed() || got.Sequence != 5 {
		t.Errorf("starts at %v, want %v", got, first.Flushed())
	}
	write(t, c, 1, 10)
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	f.check(6)
}

// TestPermanentErrors has the answers that end a client, when it is opened and
// when it attaches again: everything that waits, and everything later, fails.
func TestPermanentErrors(t *testing.T) {
	for _, c := range []struct {
		edit func(*schema.Welcome)
		want error
	}{
		{func(w *schema.Welcome) { w.Status = tlog.HandshakeFenced }, client.ErrFenced},
		{func(w *schema.Welcome) { w.Status = tlog.HandshakeDenied }, client.ErrDenied},
		{func(w *schema.Welcome) { w.Status = tlog.HandshakeLogBehind }, client.ErrLogBehind},
		{func(w *schema.Welcome) { w.Status = tlog.HandshakeDiverged }, client.ErrDiverged},
		{func(w *schema.Welcome) { w.Status = tlog.HandshakeInvalidVdisk }, client.ErrRefused},
		{func(w *schema.Welcome) { w.Version = schema.Version1 }, client.ErrRefused},
		{func(w *schema.Welcome) { w.LastFlushed, w.Chain = 99, tlog.Hash{} }, client.ErrDiverged},
	} {
		t.Run(c.want.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.inWelcome = c.edit
				_, err := client.Open(ctx, client.Config{Servers: []string{"x"}, Vdisk: vdisk, Dial: f.dial})
				if !errors.Is(err, c.want) {
					t.Errorf("open: %v", err)
				}
				f.inWelcome, f.holdFlush = nil, true
				testEnds(t, f, open(t, f, func(cfg *client.Config) { cfg.WindowRecords = 2 }), c.edit, c.want)
			})
		})
	}
}

func testEnds(t *testing.T, f *fake, c *client.Client, edit func(*schema.Welcome), want error) {
	write(t, c, 2, 10)
	calls := []func() error{
		func() error { return c.FlushTo(ctx, 1) },
		func() error { return c.Flush(ctx) },
		func() error { _, err := c.Append(ctx, tlog.OpTrim, 0, 1, nil); return err },
	}
	var wg sync.WaitGroup
	check := func(call func() error) {
		if err := call(); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	for _, call := range calls {
		wg.Go(func() { check(call) })
	}
	synctest.Wait()
	f.set(func() { f.inWelcome = edit })
	f.cut()
	wg.Wait()
	for _, call := range append(calls, c.Err, func() error { return c.WaitSlaveSync(ctx) }) {
		check(call)
	}
	<-c.Ended()
	for range 2 {
		err := c.Close(ctx)
		if !errors.Is(err, client.ErrNotFlushed) || !errors.Is(err, want) || !strings.Contains(err.Error(), "sequence 0 of 2") {
			t.Errorf("close: %v", err)
		}
	}
}

func TestOpenGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		refused := errors.New("connection refused")
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, err := client.Open(short, client.Config{Servers: []string{"a", "b"}, Vdisk: vdisk,
			Dial: func(context.Context, string) (net.Conn, error) { dials++; return nil, refused }})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, refused) {
			t.Errorf("open: %v", err)
		}
		if dials < 30 || dials > 80 { // two seconds and a jitter of half of it between them
			t.Errorf("%d attempts in a minute", dials)
		}
	})
	for _, cfg := range []client.Config{
		{Vdisk: vdisk},
		{Servers: []string{"x"}, Vdisk: "a/b"},
		{Servers: []string{"x"}, Vdisk: vdisk, WindowBytes: -1},
		{Servers: []string{"x"}, Vdisk: vdisk, Hashes: []tlog.HashAlgorithm{77}},
	} {
		if _, err := client.Open(ctx, cfg); err == nil {
			t.Errorf("opened with %+v", cfg)
		}
	}
}

// A server that accepts and then says nothing is given up, though not as soon
// as one that does not accept.
func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		n := 0
		begin := time.Now()
		open(t, f, func(cfg *client.Config) {
			cfg.Dial = func(ctx context.Context, s string) (net.Conn, error) {
				if n++; n > 1 {
					return f.dial(ctx, s)
				}
				here, there := net.Pipe()
				t.Cleanup(func() { there.Close() })
				return here, nil
			}
		})
		if d := time.Since(begin); d < 12*time.Second || d > 13*time.Second {
			t.Errorf("attached after %v", d)
		}
	})
}
