package server_test

import (
	"testing"

	"tlog"
	"tlog/schema"
)

func TestVersion2Session(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := start(t, s, nil)
	h := makeHistory("v", 600, 512)
	p := dial(t, r.addr)
	w := p.attach(schema.Hello{Vdisk: "v", Client: alice, DiskSize: 1 << 20, Hashes: []tlog.HashAlgorithm{77, tlog.HashBlake2b}})
	if w.Generation != 1 || w.LastFlushed != 0 || w.Chain != h.chains[0] || w.Epoch == 0 || w.DiskSize != 1<<20 || w.BlockSize != 4096 {
		t.Fatalf("welcome %+v", w)
	}
	if w.CreditBytes < tlog.MaxRecordData || w.CreditRecords == 0 {
		t.Errorf("credit of %d records, %d bytes", w.CreditRecords, w.CreditBytes)
	}
	for i := 1; i <= 600; i += 50 {
		p.batch(h, i, i+49)
	}
	p.command(schema.MsgForceFlush, 600)
	f := p.until(tlog.StatusFlushOK, 600)
	if f.Chain != h.chains[600] || f.Epoch != w.Epoch {
		t.Errorf("flushed at chain %v in epoch %d, want %v in %d", f.Chain, f.Epoch, h.chains[600], w.Epoch)
	}
	p.command(schema.MsgBye, 0)
	p.until(tlog.StatusByeOK, 600)
	p.ended()

	// The same server, then another one, find it where it was.
	for gen := tlog.Generation(2); gen <= 3; gen++ {
		p = dial(t, r.addr)
		w = p.attach(schema.Hello{Vdisk: "v", Client: alice, Generation: gen - 1, LastFlushed: 600, Chain: h.chains[600]})
		if w.LastFlushed != 600 || w.Chain != h.chains[600] || w.Generation != gen || w.LastTimestamp != h.records[599].Timestamp {
			t.Fatalf("welcome %+v", w)
		}
		_ = p.c.Close()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, s, nil)
	}
}

func TestRecvFailed(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), nil)
	h := makeHistory("v", 9, 512)
	corrupt := schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: h.records[2:3], Chain: h.chains[3]})
	corrupt[200]++
	chain := schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: h.records[2:3], Chain: h.chains[4]})
	for name, send := range map[string][]byte{
		"gap":       schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: h.records[4:5], Chain: h.chains[5]}),
		"hash":      corrupt,
		"chain":     chain,
		"block":     v1Block(h, 0, 3),
		"type":      {0},
		"malformed": {byte(schema.MsgBatch), 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8},
		"command":   append([]byte{byte(schema.MsgForceFlush)}, schema.AppendCommand(nil, schema.MsgBye, 0)[1:]...),
		"huge":      {byte(schema.MsgBatch), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, r.addr)
			w := p.attach(schema.Hello{Vdisk: "v", Client: alice})
			if w.LastFlushed == 0 {
				p.batch(h, 1, 2)
			}
			p.send(send)
			if f := p.until(tlog.StatusRecvFailed, 0); f.Expected != 3 || f.Message == "" {
				t.Errorf("expected %d, %q; want 3 and a reason", f.Expected, f.Message)
			}
			p.ended()
		})
	}
}

// What a client still sends must not cost it the last answer.
func TestLastAnswerIsNotLost(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), nil)
	h := makeHistory("v", 4, 1<<20)
	p := dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	gap := schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: h.records[1:], Chain: h.chains[4]})
	p.send(append(gap, gap...)) // more than sockets hold on their way
	p.until(tlog.StatusRecvFailed, 0)
	p.ended()
}

func TestHandshakesRefused(t *testing.T) {
	s := newStore(t)
	r := start(t, s, nil)
	for _, c := range []struct {
		name  string
		hello schema.Hello
		want  tlog.HandshakeStatus
	}{
		{"name", schema.Hello{Vdisk: "a/b", Client: alice}, tlog.HandshakeInvalidVdisk},
		{"no name", schema.Hello{Client: alice}, tlog.HandshakeInvalidVdisk},
		{"no client", schema.Hello{Vdisk: "v"}, tlog.HandshakeInvalidRequest},
		{"hash", schema.Hello{Vdisk: "v", Client: alice, Hashes: []tlog.HashAlgorithm{99}}, tlog.HandshakeInvalidRequest},
		{"size", schema.Hello{Vdisk: "v", Client: alice, DiskSize: 1 << 63}, tlog.HandshakeInvalidRequest},
		{"block size", schema.Hello{Vdisk: "v", Client: alice, BlockSize: 1000}, tlog.HandshakeInvalidRequest},
		{"too new", schema.Hello{Vdisk: "v", Client: alice, Version: schema.Version2 + 1<<8, MinVersion: schema.Version2 + 1<<8}, tlog.HandshakeInvalidVersion},
		{"too old", schema.Hello{Vdisk: "v", Version: schema.VersionLowest - 1}, tlog.HandshakeInvalidVersion},
		{"log behind", schema.Hello{Vdisk: "v", Client: alice, LastFlushed: 5}, tlog.HandshakeLogBehind},
		{"log behind by generation", schema.Hello{Vdisk: "v", Client: alice, Generation: 5}, tlog.HandshakeLogBehind},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dial(t, r.addr)
			if w := p.hello(c.hello); w.Status != c.want {
				t.Errorf("got %v (%s), want %v", w.Status, w.Message, c.want)
			}
			p.ended()
		})
	}
	ids, err := s.pool.Vdisks(t.Context())
	if err != nil || len(ids) != 0 || r.Vdisks() != 0 {
		t.Errorf("%d logs exist (%v), %d are owned, after refused handshakes only", len(ids), err, r.Vdisks())
	}
}

func TestTwoClients(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), nil)
	h := makeHistory("v", 4, 512)
	a := dial(t, r.addr)
	a.attach(schema.Hello{Vdisk: "v", Client: alice, DiskSize: 1 << 20})
	a.batch(h, 1, 2)
	a.until(tlog.StatusRecvOK, 2)
	if w := dial(t, r.addr).hello(schema.Hello{Vdisk: "v", Client: bob}); w.Status != tlog.HandshakeDenied {
		t.Fatalf("second client: %v, want denied", w.Status)
	}
	if w := dial(t, r.addr).hello(v1HelloOf("v")); w.Status != tlog.HandshakeInternal {
		t.Fatalf("version-1 client: %v, want internal error", w.Status)
	}
	if w := dial(t, r.addr).hello(schema.Hello{Vdisk: "v", Client: bob, Takeover: true, DiskSize: 2 << 20}); w.Status != tlog.HandshakeInvalidRequest {
		t.Fatalf("other size: %v, want invalid request", w.Status)
	}
	b := dial(t, r.addr)
	w := b.attach(schema.Hello{Vdisk: "v", Client: bob, Takeover: true})
	if w.LastFlushed != 2 || w.Chain != h.chains[2] || w.Generation != 2 {
		t.Fatalf("welcome at %d, generation %d; want all that the first client sent, generation 2", w.LastFlushed, w.Generation)
	}
	a.until(tlog.StatusFlushFailed, 0)
	a.ended()
	if w := dial(t, r.addr).hello(schema.Hello{Vdisk: "v", Client: alice, Generation: 1, LastFlushed: 2, Chain: h.chains[2]}); w.Status != tlog.HandshakeFenced {
		t.Fatalf("first client again: %v, want fenced", w.Status)
	}
	if w := dial(t, r.addr).hello(schema.Hello{Vdisk: "v", Client: bob, Generation: 2, LastFlushed: 2, Chain: h.chains[1]}); w.Status != tlog.HandshakeDiverged {
		t.Fatalf("other history: %v, want diverged", w.Status)
	}
	b = dial(t, r.addr) // that one, being refused, did not end the session; this one does
	b.attach(schema.Hello{Vdisk: "v", Client: bob, Generation: 2, LastFlushed: 2, Chain: h.chains[2]})
	b.batch(h, 1, 4)
	b.command(schema.MsgForceFlush, 4)
	b.until(tlog.StatusFlushOK, 4)
}

func v1HelloOf(vdisk string) schema.Hello {
	return schema.Hello{Version: schema.Version1, Vdisk: vdisk}
}
