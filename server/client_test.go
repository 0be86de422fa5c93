package server_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"tlog"
	"tlog/client"
	"tlog/schema"
)

// The client library against two servers of one pool, which go and come while
// it writes: everything it was told durable is in the log, once.
func TestClientLibrary(t *testing.T) {
	s := newStore(t)
	first, second := start(t, s, nil), start(t, s, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := client.Open(ctx, client.Config{
		Servers: []string{first.addr, second.addr}, Vdisk: "v", DiskSize: 64 << 20, ID: alice,
	})
	if err != nil {
		t.Fatal(err)
	}
	write := func(n int) {
		t.Helper()
		for i := range n {
			if _, err := c.Append(ctx, tlog.OpWrite, uint64(i)*4096, 4096, bytes.Repeat([]byte{byte(i)}, 4096)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	write(1000)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	write(500)
	resume := s.hang()
	time.AfterFunc(200*time.Millisecond, resume)
	write(3000) // more than its window holds
	flushed, generation := c.Flushed(), c.Session().Generation
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if flushed.Sequence != 4503 || generation != 2 {
		t.Errorf("flushed up to %d in generation %d, want 4503 (three are flush marks) and 2", flushed.Sequence, generation)
	}
	w := dial(t, second.addr).attach(schema.Hello{Vdisk: "v", Client: alice, Generation: generation, LastFlushed: flushed.Sequence, Chain: flushed.Chain})
	if w.LastFlushed != flushed.Sequence || w.Chain != flushed.Chain {
		t.Errorf("log at %d, want %d with the same chain value", w.LastFlushed, flushed.Sequence)
	}
}
