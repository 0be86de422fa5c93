package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/client"
)

func TestCloseHung(t *testing.T) {
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
}

func TestCloseWithoutServer(t *testing.T) {
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
}

func TestCloseWithWriters(t *testing.T) {
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
}

func TestCloseTellsOnFlushed(t *testing.T) {
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
}

func TestCloseWaitsForTheWrite(t *testing.T) {
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
}

func TestCloseOfNothing(t *testing.T) {
	f := newFake(t)
	c := open(t, f, nil)
	f.close()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
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
