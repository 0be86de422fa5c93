package server_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/schema"
	"tlog/server"
)

// captured reads the session that a client and a server of the reference
// system exchanged: what the client sends, and what it must get for that.
func captured(t testing.TB) (sent, want [][]byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/wire-v1-session.txt")
	if err != nil {
		t.Fatal(err)
	}
	client := false
	var part *[]byte
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "C->S"):
			client = true
			sent, want = append(sent, nil), append(want, nil)
			part = &sent[len(sent)-1]
		case strings.HasPrefix(line, "S->C"):
			if client {
				part = &want[len(want)-1]
			}
			client = false
		default:
			digits, _, _ := strings.Cut(line[8:], "|")
			b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
			if err != nil {
				t.Fatal(err)
			}
			*part = append(*part, b...)
		}
	}
	if len(sent) != 3 || len(want[1]) != 160 {
		t.Fatalf("%d parts captured, want 3", len(sent))
	}
	return sent, want
}

// unhurried flushes when it is asked to: the captured session has a flush's answer
// behind the one that it was asked for.
func unhurried(c *server.Config) { c.Aggregate.MaxAge = time.Hour }

func TestVersion1SessionByteForByte(t *testing.T) {
	r := start(t, newStore(t), unhurried)
	sent, want := captured(t)
	for range 2 { // the second one resets the numbering in the same log
		p := dial(t, r.addr)
		for i := range sent {
			p.send(sent[i])
			got := make([]byte, len(want[i]))
			if n, err := io.ReadFull(p.c, got); err != nil {
				t.Fatalf("part %d: %v after %d bytes:\n%s", i, err, n, hex.Dump(got[:n]))
			}
			if !bytes.Equal(got, want[i]) {
				t.Fatalf("part %d: got\n%swant\n%s", i, hex.Dump(got), hex.Dump(want[i]))
			}
		}
		_ = p.c.Close()
	}
	// Both sessions are in the log, one behind the other.
	w := dial(t, r.addr).attach(schema.Hello{Vdisk: "bench", Client: alice, Takeover: true})
	if w.LastFlushed != 4 || w.Generation != 3 {
		t.Errorf("log at %d in generation %d, want 4 and 3", w.LastFlushed, w.Generation)
	}
}

// The same bytes, one at a time, give the same answers.
func TestVersion1SessionInDribbles(t *testing.T) {
	r := start(t, newStore(t), unhurried)
	sent, want := captured(t)
	p := dial(t, r.addr)
	for i := range sent {
		for j := range sent[i] {
			p.send(sent[i][j : j+1])
		}
		got := make([]byte, len(want[i]))
		if _, err := io.ReadFull(p.c, got); err != nil || !bytes.Equal(got, want[i]) {
			t.Fatalf("part %d: %v, got\n%swant\n%s", i, err, hex.Dump(got), hex.Dump(want[i]))
		}
	}
}

func v1Hello(first uint64, reset bool) schema.Hello {
	return schema.Hello{Version: schema.Version1, Vdisk: "old", FirstSequence: first, ResetFirst: reset}
}

func v1Block(h *history, i int, seq uint64) []byte {
	r := &h.records[i]
	return schema.AppendBlock(nil, &schema.Block{
		Sequence: seq, Index: int64(i), Hash: r.Hash, Data: r.Data, Timestamp: r.Timestamp, Operation: tlog.OpWrite,
	})
}

// flushed1 reads until the sequences told durable reach want.
func (p *peer) flushed1(want uint64) {
	p.t.Helper()
	for {
		r := p.response()
		if r.Status < 0 {
			p.t.Fatalf("answer %d", r.Status)
		}
		if r.Status == tlog.StatusFlushOK && r.Sequences[len(r.Sequences)-1] == want {
			return
		}
	}
}

func TestVersion1NumbersAcrossReconnectAndRestart(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := start(t, s, nil)
	h := makeHistory("old", 10, 100)
	p := dial(t, r.addr)
	p.attach(v1Hello(7, true))
	for i := range 4 {
		p.send(v1Block(h, i, uint64(7+i)))
	}
	p.command(schema.MsgForceFlush, 10)
	p.flushed1(10)
	// It sends again what it did not see acknowledged; a newer connection ends the older.
	q := dial(t, r.addr)
	q.attach(v1Hello(9, false))
	p.closed()
	q.send(v1Block(h, 2, 9))
	q.send(v1Block(h, 3, 10))
	q.send(v1Block(h, 4, 11))
	q.command(schema.MsgForceFlush, 11)
	q.flushed1(11)
	_ = q.c.Close()
	// Another server, from storage alone.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, s, nil)
	q = dial(t, r.addr)
	q.attach(v1Hello(12, false))
	q.send(v1Block(h, 5, 12))
	q.command(schema.MsgForceFlush, 12)
	q.flushed1(12)
	_ = q.c.Close()
	w := dial(t, r.addr).attach(schema.Hello{Vdisk: "old", Client: alice, Takeover: true})
	if w.LastFlushed != 6 {
		t.Errorf("log at %d, want 6", w.LastFlushed)
	}
}

func TestVersion1Refusals(t *testing.T) {
	r := start(t, newStore(t), nil)
	h := makeHistory("old", 3, 100)
	wrong := v1Block(h, 0, 0)
	wrong[len(wrong)-30]++ // in the data
	other := makeHistory("old", 3, 200)
	for _, c := range []struct {
		name string
		send [][]byte
		last tlog.BlockStatus // 0: closed without a word
	}{
		{"hash", [][]byte{wrong}, tlog.StatusRecvFailed},
		{"gap", [][]byte{v1Block(h, 0, 0), v1Block(h, 1, 1000)}, tlog.StatusRecvFailed},
		{"other content", [][]byte{v1Block(h, 0, 0), v1Block(other, 0, 0)}, 0},
		{"batch", [][]byte{schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: h.records[:1], Chain: h.chains[1]})}, tlog.StatusRecvFailed},
		{"unknown message", [][]byte{{77}}, tlog.StatusRecvFailed},
		{"bye", [][]byte{schema.AppendCommand(nil, schema.MsgBye, 0)}, tlog.StatusRecvFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dial(t, r.addr)
			p.attach(v1Hello(0, true))
			for _, b := range c.send {
				p.send(b)
			}
			if c.last == 0 {
				p.until(tlog.StatusRecvOK, 0)
				p.closed()
				return
			}
			p.until(c.last, 0)
			p.ended()
		})
	}
}
