package server_test

import (
	"context"
	"testing"
	"time"

	"tlog"
	"tlog/schema"
	"tlog/server"
	"tlog/stor"
)

// Shard reads a shard, which may have rotted.
func (g *gate) Shard(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, limit int) ([]byte, error) {
	b, err := g.Server.Shard(ctx, vdisk, pos, limit)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.rotten && !g.whole[pos] && len(b) > 0 {
		b[len(b)-1] ^= 1
	}
	return b, err
}

// A server finds by itself, on its schedule, what has rotted, writes it again,
// and has figures of it.
func TestServerScrubsAndRepairs(t *testing.T) {
	s := newStore(t)
	r := start(t, s, func(c *server.Config) { c.ScrubEvery = 70 * time.Millisecond })
	p := dial(t, r.addr)
	h := makeHistory("v", 8, 4096)
	p.attach(schema.Hello{Vdisk: "v", Client: alice})
	for seq := 1; seq <= 8; seq++ {
		p.batch(h, seq, seq)
		p.command(schema.MsgForceFlush, uint64(seq))
		p.until(tlog.StatusFlushOK, tlog.Sequence(seq))
	}
	g := s.holder(t, "v", 8)
	held, err := g.Metas(t.Context(), tlog.VdiskID("v").UUID(s.pool.Manifest().Pool, 0), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.rotten = true
	g.mu.Unlock()
	age := r.Care().ScrubAge
	// The pass that runs at this moment may have read some of it before.
	eventually(t, "what rotted is written again", func() bool {
		written, checked := r.Metrics.RepairedShards.Load(), r.Metrics.CheckedPositions.Load()
		return int(written) >= len(held) && checked >= 9 && r.Care().Short == 0
	})
	if got := r.Metrics.CheckedPositions.Load(); got < 9 {
		t.Errorf("%d positions were checked", got)
	}
	g.mu.Lock()
	replaced := len(g.whole)
	g.mu.Unlock()
	if written := r.Metrics.RepairedShards.Load(); int(written) < replaced || replaced == 0 {
		t.Errorf("%d shards written, %d of them in place of rotten ones", written, replaced)
	}
	if c := r.Care(); c.Lost != 0 || age < 0 || c.ScrubAge > time.Minute {
		t.Errorf("figures: %+v", c)
	}
	view, err := s.pool.Survey(t.Context(), tlog.VdiskID("v").UUID(s.pool.Manifest().Pool, 0))
	if err != nil {
		t.Fatal(err)
	}
	if at, err := view.Scrub(t.Context(), stor.RepairConfig{Deep: true, PositionsPerSecond: -1}); err != nil || at.Written != 0 {
		t.Errorf("after it: %+v, %v", at, err)
	}
}

// holder is a server that has shards of all positions of a vdisk; one of them is the spare.
func (s *store) holder(t *testing.T, vdisk tlog.VdiskID, positions int) *gate {
	t.Helper()
	for _, g := range s.gates {
		metas, err := g.Metas(t.Context(), vdisk.UUID(s.pool.Manifest().Pool, 0), 1, tlog.Position(positions))
		if err != nil {
			t.Fatal(err)
		}
		if len(metas) == positions {
			return g
		}
	}
	t.Fatal("no server has all positions")
	return nil
}

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
