package server_test

import (
	"fmt"
	"slices"
	"testing"

	"tlog"
	"tlog/crypto"
	"tlog/player"
	"tlog/schema"
)

// together is what a version-1 client sends in one piece, and what comes of it.
type together struct {
	name     string
	blocks   []int // of the history, by place; their sequences are the same
	then     []int // those of a second piece, sent when the first was taken
	change   map[int]func(*schema.Block)
	received []uint64 // in this order, each once
	last     tlog.Sequence
	refused  bool // at the end
}

var togethers = []together{
	{name: "in order", blocks: []int{0, 1, 2, 3, 4, 5, 6, 7}, received: []uint64{0, 1, 2, 3, 4, 5, 6, 7}, last: 8},
	{name: "longer than a run", blocks: upTo(60), received: numbers(60), last: 60},
	{name: "early ones", blocks: []int{0, 1, 3, 5, 4, 2, 6, 7}, received: []uint64{0, 1, 2, 3, 4, 5, 6, 7}, last: 8},
	{name: "early ones, and their turn later", blocks: []int{3, 4, 0, 1}, then: []int{5, 6, 7, 2},
		received: []uint64{0, 1, 2, 3, 4, 5, 6, 7}, last: 8},
	{name: "again", blocks: []int{0, 1, 2, 1, 2, 3, 4}, received: []uint64{0, 1, 2, 1, 2, 3, 4}, last: 5},
	{name: "a trim", blocks: []int{0, 1, 2, 3}, change: map[int]func(*schema.Block){
		2: func(b *schema.Block) { b.Operation, b.Data, b.Hash = tlog.OpTrim, nil, tlog.Hash{} },
	}, received: []uint64{0, 1, 2, 3}, last: 4},
	{name: "a time that steps back", blocks: []int{0, 1, 2, 3}, change: map[int]func(*schema.Block){
		1: func(b *schema.Block) { b.Timestamp -= 1e12 },
	}, received: []uint64{0, 1, 2, 3}, last: 4},
	{name: "a wrong hash", blocks: []int{0, 1, 2, 3}, change: map[int]func(*schema.Block){
		2: func(b *schema.Block) { b.Hash[5]++ },
	}, received: []uint64{0, 1}, last: 2, refused: true},
	{name: "an index off the disk", blocks: []int{0, 1, 2, 3}, change: map[int]func(*schema.Block){
		2: func(b *schema.Block) { b.Index = -1 },
	}, received: []uint64{0, 1}, last: 2, refused: true},
}

func upTo(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

func numbers(n int) (list []uint64) {
	for i := range n {
		list = append(list, uint64(i))
	}
	return list
}

// Blocks that come in one piece are answered, and logged, as those that come
// one by one.
func TestVersion1BlocksTogether(t *testing.T) {
	for _, c := range togethers {
		t.Run(c.name, func(t *testing.T) {
			h := makeHistory("old", 60, 200)
			one := c.run(t, h, false)
			if all := c.run(t, h, true); all != one {
				t.Errorf("in one piece the log ends with %s, block by block with %s", all, one)
			}
		})
	}
}

// run gives the place and the chain value at which the log ends.
func (c *together) run(t *testing.T, h *history, piece bool) string {
	s := newStore(t)
	r := start(t, s, nil)
	p := dial(t, r.addr)
	p.attach(v1Hello(0, true))
	received := c.received
	for i, blocks := range [][]int{c.blocks, c.then} {
		c.send(p, h, blocks, piece)
		n := len(received)
		if i == 0 && c.then != nil {
			n = 2 // the others are early
		}
		p.received1(received[:n])
		received = received[n:]
	}
	if c.refused {
		p.until(tlog.StatusRecvFailed, 0)
		p.ended()
	} else {
		p.command(schema.MsgForceFlush, uint64(c.last-1))
		p.flushed1(uint64(c.last - 1))
		_ = p.c.Close()
	}
	w := dial(t, r.addr).attach(schema.Hello{Vdisk: "old", Client: alice, Takeover: true})
	if w.LastFlushed != c.last {
		t.Errorf("log at %d, want %d", w.LastFlushed, c.last)
	}
	c.verify(t, s)
	return fmt.Sprintf("%d %v", w.LastFlushed, w.Chain)
}

func (c *together) send(p *peer, h *history, blocks []int, piece bool) {
	p.t.Helper()
	var all []byte
	for _, i := range blocks {
		b := c.block(h, i)
		if all = append(all, b...); !piece {
			p.send(b)
		}
	}
	if piece {
		p.send(all)
	}
}

// received1 reads answers until these blocks were received, in this order.
func (p *peer) received1(want []uint64) {
	p.t.Helper()
	for len(want) > 0 {
		a := p.response()
		if a.Status != tlog.StatusRecvOK {
			continue
		}
		n := len(a.Sequences)
		if !slices.Equal(a.Sequences, want[:min(n, len(want))]) {
			p.t.Fatalf("RecvOK for %d, want %d", a.Sequences, want)
		}
		want = want[n:]
	}
}

// verify reads the log: every record has the data that its hash says.
func (c *together) verify(t *testing.T, s *store) {
	t.Helper()
	l, err := player.Open(t.Context(), s.pool, s.keys, "old", player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	n := tlog.Sequence(0)
	err = l.Replay(t.Context(), 0, tlog.Hash{}, l.Info().Last, func(r *tlog.Record) error {
		n++
		if r.Operation == tlog.OpWrite && crypto.HashRecord(tlog.HashBlake2b, r.Data) != r.Hash {
			t.Errorf("record %d: its data is of another block", r.Sequence)
		}
		return nil
	})
	if err != nil || n != c.last {
		t.Fatalf("%d records in the log, want %d: %v", n, c.last, err)
	}
}

func (c *together) block(h *history, i int) []byte {
	r := &h.records[i]
	b := schema.Block{
		Sequence: uint64(i), Index: int64(i), Hash: r.Hash, Data: r.Data, Timestamp: r.Timestamp, Operation: tlog.OpWrite,
	}
	if change := c.change[i]; change != nil {
		change(&b)
	}
	return schema.AppendBlock(nil, &b)
}
