package server_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"tlog"
	"tlog/internal/alloctest"
	"tlog/schema"
	"tlog/server"
)

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Eight bytes that announce a frame of gigabytes must not be believed.
func TestAnnouncedLengthsAllocateNothing(t *testing.T) {
	r := start(t, newStore(t), func(c *server.Config) { c.HandshakeTimeout = time.Hour })
	before := liveHeap()
	bombs := [][]byte{
		{0, 0, 0, 0, 0xff, 0xff, 0xff, 0x1f},
		{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0, 0, 0, 0, 0, 0x10, 0, 0}, // 32 KiB: within a handshake's limit on paper
	}
	var peers []*peer
	for i := range 16 {
		p := dial(t, r.addr)
		p.send(bombs[i%len(bombs)])
		peers = append(peers, p)
	}
	for _, p := range peers {
		p.ended()
	}
	if grown := liveHeap() - before; grown > 1<<20 {
		t.Errorf("16 idle connections hold %d bytes", grown)
	}
	if n := r.Metrics.HandshakesFailed.Load(); n != 16 {
		t.Errorf("%d handshakes failed, want 16", n)
	}
}

// Unfinished handshakes wait for their deadline in a bounded number.
func TestHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), func(c *server.Config) {
		c.HandshakeTimeout, c.MaxHandshakes = 300*time.Millisecond, 4
	})
	begun := time.Now()
	for range 12 {
		dial(t, r.addr).send([]byte{0, 0, 0, 0})
	}
	dial(t, r.addr).attach(schema.Hello{Vdisk: "v", Client: alice}) // gets its turn after them
	if d := time.Since(begun); d < 900*time.Millisecond {
		t.Errorf("attached after %v, before three rounds of unfinished handshakes ended", d)
	}
}

func TestTooManyConnections(t *testing.T) {
	r := start(t, newStore(t), func(c *server.Config) { c.MaxConnections = 2 })
	a, b := dial(t, r.addr), dial(t, r.addr)
	a.attach(schema.Hello{Vdisk: "a", Client: alice})
	b.attach(schema.Hello{Vdisk: "b", Client: alice})
	dial(t, r.addr).ended()
	if n := r.Metrics.ConnectionsRefused.Load(); n != 1 {
		t.Errorf("%d connections refused, want 1", n)
	}
}

// A client that never reads is cut off, and what waits for it stays small.
func TestClientThatNeverReads(t *testing.T) {
	r := start(t, newStore(t), func(c *server.Config) { c.WriteTimeout = 300 * time.Millisecond })
	p := dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	before := liveHeap()
	var flood []byte
	for range 1000 {
		flood = schema.AppendCommand(flood, schema.MsgForceFlush, 1)
	}
	var err error
	for err == nil {
		_, err = p.c.Write(flood)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the server neither reads nor closes")
	}
	if grown := liveHeap() - before; grown > 2<<20 {
		t.Errorf("%d bytes held for a client that does not read", grown)
	}
}

func TestDribbler(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), func(c *server.Config) { c.MessageTimeout = 2 * time.Second })
	h := makeHistory("v", 1, 10000)
	p := dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	whole := schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: h.records, Chain: h.chains[1]})
	p.send(whole[:5000])
	p.until(tlog.StatusRecvFailed, 0)
	p.ended()
	if used, _ := r.BudgetInUse(); used != 0 {
		t.Errorf("%d bytes of the budget are lost", used)
	}
	// Silence between messages is fine.
	p = dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	waited := time.NewTimer(3 * time.Second)
	<-waited.C
	p.send(whole)
	p.until(tlog.StatusRecvOK, 1)
}

func TestGapThatStaysOpen(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), func(c *server.Config) { c.MessageTimeout = 2 * time.Second })
	h := makeHistory("old", 3, 100)
	p := dial(t, r.addr)
	p.attach(v1Hello(0, true))
	p.send(v1Block(h, 1, 1))
	if f := p.until(tlog.StatusRecvFailed, 0); len(f.Sequences) != 1 || f.Sequences[0] != 0 {
		t.Errorf("failed %v, want 0", f.Sequences)
	}
	p.ended()
	if used, _ := r.BudgetInUse(); used != 0 {
		t.Errorf("%d bytes of the budget are lost", used)
	}
}

// A session cut anywhere leaves a server that serves the next one.
func TestEveryTruncation(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), nil)
	sent, _ := captured(t)
	whole := bytes.Join(sent, nil)
	for n := 0; n < len(whole); n += 7 {
		p := dial(t, r.addr)
		p.send(whole[:n])
		if err := p.c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, p.c)
		_ = p.c.Close()
	}
	dial(t, r.addr).attach(v1HelloOf("bench"))
}

// FuzzSession feeds a server arbitrary bytes after (or instead of) a handshake.
// Each connection must end, and nothing of the budget be lost.
func FuzzSession(f *testing.F) {
	sent, _ := captured(f)
	f.Add(bytes.Join(sent, nil))
	h := makeHistory("v", 4, 64)
	hello := schema.Hello{Version: schema.Version2, Vdisk: "v", Client: alice, Takeover: true}
	s2 := schema.AppendHello(nil, &hello)
	s2 = schema.AppendBatch(append(s2, byte(schema.MsgBatch)), &schema.Batch{Records: h.records[:2], Chain: h.chains[2]})
	s2 = schema.AppendCommand(s2, schema.MsgForceFlush, 2)
	s2 = schema.AppendBatch(append(s2, byte(schema.MsgBatch)), &schema.Batch{Records: h.records[2:], Chain: h.chains[4]})
	s2 = schema.AppendCommand(s2, schema.MsgWaitSlaveSync, 0)
	f.Add(schema.AppendCommand(s2, schema.MsgBye, 0))
	r := start(f, newStore(f), func(c *server.Config) { c.Logger = nil })
	f.Fuzz(func(t *testing.T, b []byte) {
		alloctest.Bound(t, len(b), func() {
			p := dial(t, r.addr)
			_, _ = p.c.Write(b) // the server may close in the middle of it
			_ = p.c.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, p.c); isTimeout(err) {
				t.Fatal("the connection does not end")
			}
			_ = p.c.Close()
		})
	})
}
