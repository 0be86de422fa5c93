package client_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/client"
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
	f.cutAfter = 15
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
