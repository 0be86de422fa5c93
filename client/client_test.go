package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/client"
	"tlog/schema"
)

var ctx = context.Background()

// write appends n writes of size bytes.
func write(t testing.TB, c *client.Client, n, size int) {
	t.Helper()
	data := bytes.Repeat([]byte{1}, size)
	for i := range n {
		if _, err := c.Append(ctx, tlog.OpWrite, uint64(i*size), uint32(size), data); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManyWriters has writers and flushers at once, over TCP, while the
// connection breaks again and again, with acknowledgements lost.
func TestManyWriters(t *testing.T) {
	f := newFake(t)
	f.cutAfter = 40
	addr := f.listen("tcp", "127.0.0.1:0")
	var told []tlog.Sequence
	c, err := client.Open(ctx, client.Config{
		Servers: []string{addr}, Vdisk: vdisk, WindowBytes: 1 << 20,
		OnFlushed: func(s tlog.Sequence) { told = append(told, s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 500
	var mu sync.Mutex
	wrote := map[tlog.Sequence]byte{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range each {
				data := bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(100<<rng.IntN(11)))
				s, err := c.Append(ctx, tlog.OpWrite, uint64(i), uint32(len(data)), data)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				wrote[s] = data[0]
				mu.Unlock()
				clear(data) // the client has its own copy
				if rng.IntN(20) == 0 {
					if err := c.Flush(ctx); err != nil {
						t.Error(err)
					}
					f.mu.Lock()
					if f.durable < int(s) {
						t.Errorf("flush behind record %d returned with %d durable", s, f.durable)
					}
					f.mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	f.set(func() { f.cutAfter = 0 })
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	f.check(int(c.Last()))
	if n := len(wrote); n != writers*each {
		t.Errorf("%d sequences for %d records", n, writers*each)
	}
	for s, b := range wrote {
		if r := f.log[s-1]; r.Data[0] != b || r.Data[len(r.Data)-1] != b {
			t.Errorf("record %d has other data", s)
		}
	}
	if !slices.IsSorted(told) || len(told) == 0 || told[len(told)-1] != c.Last() {
		t.Errorf("OnFlushed was told %d prefixes, the last of %v; want ascending up to %d", len(told), told[max(0, len(told)-1):], c.Last())
	}
	if st := c.Stats(); st.Attaches < 3 || st.WindowRecords != 0 || st.WindowBytes != 0 {
		t.Errorf("at the end %+v", st)
	}
}

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

func TestOperations(t *testing.T) {
	f := newFake(t)
	c := open(t, f, func(cfg *client.Config) { cfg.DiskSize = 1 << 20 })
	big := make([]byte, 1<<20)
	for _, a := range []struct {
		op     tlog.Operation
		offset uint64
		size   uint32
		data   []byte
		ok     bool
	}{
		{tlog.OpWrite, 0, 1, big[:1], true},
		{tlog.OpWrite, 0, 1 << 20, big, true},
		{tlog.OpTrim, 4096, 4096, nil, true},
		{tlog.OpZero, 1<<20 - 1, 1, nil, true},
		{tlog.OpFlush, 0, 0, nil, true},
		{tlog.OpWrite, 1, 1 << 20, big, false}, // beyond the disk
		{tlog.OpTrim, 1 << 20, 1, nil, false},
		{tlog.OpWrite, 0, 2, big[:1], false},
		{tlog.OpWrite, 0, 0, nil, false},
		{tlog.OpZero, 0, 0, nil, false},
		{tlog.OpTrim, 0, 1, big[:1], false},
		{9, 0, 1, nil, false},
	} {
		_, err := c.Append(ctx, a.op, a.offset, a.size, a.data)
		if (err == nil) != a.ok || err != nil && tlog.ClassOf(err) != tlog.Protocol {
			t.Errorf("%v of %d bytes at %d: %v", a.op, a.size, a.offset, err)
		}
	}
	if err := c.WaitSlaveSync(ctx); err != nil {
		t.Error(err)
	}
	if err := c.FlushTo(ctx, 3); err != nil {
		t.Error(err)
	}
	if err := c.FlushTo(ctx, 99); err == nil {
		t.Error("flush to a sequence that was not given")
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	f.check(5)
}

func TestAppendShared(t *testing.T) {
	f := newFake(t)
	f.holdFlush = true
	flushed := make(chan tlog.Sequence, 9)
	c := open(t, f, func(cfg *client.Config) { cfg.OnFlushed = func(s tlog.Sequence) { flushed <- s } })
	data := bytes.Repeat([]byte{5}, 300<<10)
	s, err := c.AppendShared(ctx, tlog.OpWrite, 0, uint32(len(data)), data)
	if err != nil {
		t.Fatal(err)
	}
	f.set(func() { f.holdFlush = false })
	if err := c.FlushTo(ctx, s); err != nil {
		t.Fatal(err)
	}
	if got := <-flushed; got != s {
		t.Errorf("OnFlushed of %d, want %d", got, s)
	}
	clear(data) // ours again
	f.cut()
	write(t, c, 1, 10)
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	f.check(2)
}

// TestSplitFrames has answers that come byte by byte, and a reader that is slow.
func TestSplitFrames(t *testing.T) {
	f := newFake(t)
	c := open(t, f, func(cfg *client.Config) {
		cfg.Dial = func(context.Context, string) (net.Conn, error) {
			here, there := net.Pipe()
			f.serve(byteConn{there})
			return here, nil
		}
	})
	for range 5 {
		write(t, c, 20, 700)
		if err := c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	f.check(105)
}

// byteConn writes byte by byte, and reads at most seven.
type byteConn struct{ net.Conn }

func (c byteConn) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(7, len(p))]) }

func (c byteConn) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestFlushDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.holdFlush = true
		c := open(t, f, nil)
		write(t, c, 3, 10)
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := c.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush of a stalled server: %v", err)
		}
		if got := c.Flushed().Sequence; got != 0 {
			t.Errorf("flushed %d", got)
		}
		f.set(func() { f.holdFlush = false })
		write(t, c, 1, 10)
		if err := c.Flush(ctx); err != nil { // a new mark behind the old one
			t.Fatal(err)
		}
		f.check(6)
		if f.log[3].Operation != tlog.OpFlush || f.log[5].Operation != tlog.OpFlush {
			t.Error("flush marks are not where they belong")
		}
	})
}

func TestWindowIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.holdFlush = true
		c := open(t, f, func(cfg *client.Config) { cfg.WindowBytes = 100 << 10 })
		write(t, c, 25, 4096) // the window's worth
		short, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		if _, err := c.Append(short, tlog.OpWrite, 0, 4096, make([]byte, 4096)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("append to a full window: %v", err)
		}
		if st := c.Stats(); st.WindowRecords != 25 || st.WindowBytes != 25*4096 {
			t.Errorf("window: %+v", st)
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { write(t, c, 20, 4096) })
		}
		synctest.Wait()
		if got := c.Last(); got != 25 {
			t.Errorf("last is %d with a full window", got)
		}
		f.set(func() { f.holdFlush = false })
		f.cut() // the next welcome says that all is durable
		wg.Wait()
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
		f.check(225)
	})
}

// TestDeadServers has servers that stop without closing the connection.
func TestDeadServers(t *testing.T) {
	for _, mute := range []bool{false, true} {
		t.Run(fmt.Sprintf("mute=%v", mute), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				until, cancel := context.WithCancel(ctx)
				f := newFake(t)
				t.Cleanup(cancel)
				if f.mute = mute; !mute {
					f.deaf = until
				}
				c := open(t, f, nil)
				begin := time.Now()
				write(t, c, 1, 10)
				synctest.Wait() // it has been read and not answered, or not even read
				f.set(func() { f.deaf = nil })
				time.AfterFunc(time.Second, func() { f.set(func() { f.mute = false }) }) // the flush is sent before
				if err := c.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(begin); d < 29*time.Second || d > 31*time.Second {
					t.Errorf("flushed after %v, want 30 s", d)
				}
				if n := c.Stats().Attaches; n != 2 {
					t.Errorf("%d attaches", n)
				}
				f.check(2)
			})
		})
	}
}

// An idle connection stays: no answer is owed on it.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := open(t, f, nil)
		<-time.After(time.Hour)
		write(t, c, 1, 10)
		if err := c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		<-time.After(24 * time.Hour)
		if n := c.Stats().Attaches; n != 1 {
			t.Errorf("%d attaches", n)
		}
		// Nor does a slow store end it: everything was received.
		f.set(func() { f.holdFlush = true })
		write(t, c, 1, 10)
		<-time.After(time.Hour)
		if n := c.Stats().Attaches; n != 1 {
			t.Errorf("%d attaches while the store is slow", n)
		}
		f.set(func() { f.holdFlush = false })
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
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
		if d := time.Since(begin); d < 30*time.Second || d > 31*time.Second {
			t.Errorf("attached after %v", d)
		}
	})
}

func TestClose(t *testing.T) {
	t.Run("hung", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			c := open(t, f, nil)
			write(t, c, 2, 10)
			if err := c.FlushTo(ctx, 2); err != nil {
				t.Fatal(err)
			}
			f.set(func() { f.holdFlush = true })
			write(t, c, 3, 10)
			short, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			begin := time.Now()
			err := c.Close(short)
			if !errors.Is(err, client.ErrNotFlushed) || !strings.Contains(err.Error(), "sequence 2 of 5") {
				t.Errorf("close: %v", err)
			}
			if d := time.Since(begin); d != 5*time.Second {
				t.Errorf("closed after %v", d)
			}
		})
	})
	t.Run("no server any more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			f.holdFlush = true
			var gone sync.Once
			down := errors.New("down")
			c := open(t, f, func(cfg *client.Config) {
				cfg.Dial = func(ctx context.Context, s string) (conn net.Conn, err error) {
					err = down
					gone.Do(func() { conn, err = f.dial(ctx, s) })
					return conn, err
				}
			})
			write(t, c, 3, 10)
			f.cut()
			short, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := c.Close(short); !errors.Is(err, client.ErrNotFlushed) || !errors.Is(err, down) {
				t.Errorf("close: %v", err)
			}
			if err := c.Flush(ctx); !errors.Is(err, client.ErrClosed) {
				t.Errorf("flush after close: %v", err)
			}
		})
	})
	t.Run("with writers", func(t *testing.T) {
		f := newFake(t)
		c := open(t, f, nil)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					if _, err := c.Append(ctx, tlog.OpTrim, 0, 1, nil); err != nil {
						if !errors.Is(err, client.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		write(t, c, 1, 1)
		for range 2 {
			wg.Go(func() {
				if err := c.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		f.check(int(c.Last()))
	})
	t.Run("tells OnFlushed everything", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			var told tlog.Sequence
			c := open(t, f, func(cfg *client.Config) {
				cfg.OnFlushed = func(s tlog.Sequence) { <-time.After(time.Minute); told = s }
			})
			write(t, c, 3, 10)
			if err := c.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if told != 3 {
				t.Errorf("OnFlushed was told %d of 3", told)
			}
		})
	})
	t.Run("waits for the write in progress", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			stuck := &stuckConn{release: make(chan struct{})}
			c := open(t, f, func(cfg *client.Config) {
				cfg.Dial = func(ctx context.Context, s string) (conn net.Conn, err error) {
					stuck.Conn, err = f.dial(ctx, s)
					return stuck, err
				}
			})
			write(t, c, 1, 10)
			synctest.Wait()
			time.AfterFunc(time.Minute, func() { close(stuck.release) })
			begin := time.Now()
			abandon(c)
			if d := time.Since(begin); d != time.Minute {
				t.Errorf("closed after %v, while a write used the data", d)
			}
		})
	})
	t.Run("nothing written, server gone", func(t *testing.T) {
		f := newFake(t)
		c := open(t, f, nil)
		f.close()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// stuckConn has a second write that does not notice the connection's end.
type stuckConn struct {
	net.Conn
	writes  int
	release chan struct{}
}

func (c *stuckConn) Write(p []byte) (int, error) {
	if c.writes++; c.writes > 1 {
		<-c.release
	}
	return c.Conn.Write(p)
}

// TestWrongAnswers has a server that lies: nothing counts, and the client goes
// on with one that does not.
func TestWrongAnswers(t *testing.T) {
	for name, lie := range map[string]func(*schema.Response){
		"chain":  func(r *schema.Response) { r.Chain[3]++ },
		"beyond": func(r *schema.Response) { r.UpTo += 7 },
		"epoch":  func(r *schema.Response) { r.Epoch = 0 },
		"status": func(r *schema.Response) { r.Status = 100 },
		"failed": func(r *schema.Response) { r.Status = tlog.StatusFlushFailed },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			lied := 0
			f.inAnswer = func(r *schema.Response) {
				if r.Status == tlog.StatusFlushOK && lied < 3 {
					lied++
					lie(r)
				}
			}
			c := open(t, f, nil)
			for range 5 {
				write(t, c, 1, 10)
				if err := c.Flush(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if lied != 3 || c.Stats().Attaches != 4 {
				t.Errorf("%d lies, %d attaches", lied, c.Stats().Attaches)
			}
			f.check(10)
		})
	}
}

// TestGarbage has bytes that are no answer, after a right welcome.
func TestGarbage(t *testing.T) {
	for name, raw := range map[string][]byte{
		"text":     []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"huge":     {0, 0, 0, 0, 0xff, 0xff, 0xff, 0x1f},
		"segments": {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0},
		"large":    append([]byte{0, 0, 0, 0, 0, 0x40, 0, 0}, make([]byte, 128<<10)...), // above what an answer may be
		"empty":    {0, 0, 0, 0, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.raw = raw
			n := 0
			c := open(t, f, func(cfg *client.Config) {
				cfg.OnAttach = func(client.Session) {
					if n++; n == 3 {
						f.set(func() { f.raw = nil })
					}
				}
			})
			write(t, c, 1, 10)
			if err := c.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			f.check(2)
		})
	}
}

// FuzzAnswers sends a client anything behind a right welcome. It must not panic
// or hang, and nothing may count as durable: the bytes cannot hold the chain value.
func FuzzAnswers(f *testing.F) {
	ok := schema.Response{Status: tlog.StatusRecvOK, UpTo: 1, Epoch: 1}
	f.Add(schema.AppendResponse(nil, schema.Version2, &ok))
	ok.Status = tlog.StatusFlushOK
	f.Add(schema.AppendResponse(nil, schema.Version2, &ok))
	ok = schema.Response{Status: tlog.StatusRecvFailed, Expected: 5, Message: "no"}
	f.Add(schema.AppendResponse(nil, schema.Version2, &ok))
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		srv := newFake(t)
		srv.raw, srv.mute = raw, true
		c := open(t, srv, nil)
		if _, err := c.Append(ctx, tlog.OpWrite, 0, 5, []byte("hello")); err != nil && !errors.Is(err, client.ErrRefused) {
			t.Fatal(err)
		}
		abandon(c)
		if got := c.Flushed().Sequence; got != 0 {
			t.Errorf("flushed %d", got)
		}
	})
}
