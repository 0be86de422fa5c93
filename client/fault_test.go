package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/client"
	"tlog/internal/alloctest"
	"tlog/schema"
)

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
				if d := time.Since(begin); d < 9*time.Second || d > 11*time.Second {
					t.Errorf("flushed after %v, want 10 s", d)
				}
				if n := c.Stats().Attaches; n != 2 {
					t.Errorf("%d attaches", n)
				}
				f.check(2)
			})
		})
	}
}

// TestSilentWhileWriting has a server that falls silent: what is sent on
// meanwhile gives it no more time.
func TestSilentWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := open(t, f, nil)
		f.set(func() { f.mute = true })
		for range 12 {
			write(t, c, 1, 10)
			<-time.After(time.Second)
		}
		f.set(func() { f.mute = false })
		synctest.Wait()
		if n := c.Stats().Attaches; n != 2 {
			t.Errorf("%d attaches after 12 s", n)
		}
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// TestStalledServer has one that is alive and makes nothing durable: another
// one, which may reach more of the store, gets its turn.
func TestStalledServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := open(t, f, func(cfg *client.Config) {
			cfg.Servers = []string{"a", "b"}
			cfg.Dial = func(ctx context.Context, server string) (net.Conn, error) {
				f.set(func() { f.holdFlush = server == "a" })
				return f.dial(ctx, server)
			}
		})
		begin := time.Now()
		write(t, c, 1, 10)
		if err := c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if d, s := time.Since(begin), c.Session().Server; d < 9*time.Second || d > 11*time.Second || s != "b" {
			t.Errorf("flushed after %v by %s, want 10 s and b", d, s)
		}
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
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
		alloctest.Bound(t, len(raw), func() { hear(t, raw) })
	})
}

func hear(t *testing.T, raw []byte) {
	srv := newFake(t)
	srv.raw, srv.mute = raw, true
	c, err := client.Open(ctx, client.Config{Servers: []string{"fake"}, Vdisk: vdisk, Dial: srv.dial})
	if errors.Is(err, client.ErrRefused) { // the bytes refuse a record, and were quicker
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Append(ctx, tlog.OpWrite, 0, 5, []byte("hello")); err != nil && !errors.Is(err, client.ErrRefused) {
		t.Fatal(err)
	}
	abandon(c)
	if got := c.Flushed().Sequence; got != 0 {
		t.Errorf("flushed %d", got)
	}
}
