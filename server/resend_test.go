package server_test

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"tlog"
	"tlog/player"
	"tlog/schema"
)

// TestAnyResends: whatever is sent again, in whatever batches, over however
// many connections, the log is the one history.
func TestAnyResends(t *testing.T) {
	s := newStore(t)
	r := start(t, s, nil)
	disks := 0
	rapid.Check(t, func(rt *rapid.T) {
		disks++
		vdisk := tlog.VdiskID(fmt.Sprint("resent-", disks))
		n := rapid.IntRange(1, 25).Draw(rt, "records")
		h := makeHistory(vdisk, n, 700)
		hello := schema.Hello{Vdisk: string(vdisk), Client: alice}
		rounds := rapid.IntRange(1, 4).Draw(rt, "connections")
		for round := 1; round <= rounds; round++ {
			p := dial(t, r.addr)
			w := p.attach(hello)
			hello.Generation = w.Generation
			floor := int(w.LastFlushed) // what is below it is not sent again
			top := floor
			// How far the server is depends on its speed, what is drawn must not.
			for range rapid.IntRange(1, 5).Draw(rt, "batches") {
				a, b := rapid.IntRange(0, 99).Draw(rt, "from"), rapid.IntRange(0, 99).Draw(rt, "to")
				if floor == n {
					continue
				}
				from := floor + 1 + a%(min(top+1, n)-floor)
				to := from + b%(n-from+1)
				p.batch(h, from, to)
				top = max(top, to)
			}
			if round == rounds && top < n {
				p.batch(h, top+1, n)
				top = n
			}
			if rapid.Bool().Draw(rt, "waits") || round == rounds {
				p.command(schema.MsgForceFlush, uint64(top))
				if top > floor {
					p.until(tlog.StatusFlushOK, tlog.Sequence(top))
				}
				hello.LastFlushed, hello.Chain = tlog.Sequence(top), h.chains[top]
			}
			_ = p.c.Close()
		}
		if err := sameHistory(s, vdisk, h); err != nil {
			rt.Fatal(err)
		}
	})
}

func sameHistory(s *store, vdisk tlog.VdiskID, h *history) error {
	ctx := context.Background()
	l, err := player.Open(ctx, s.pool, s.keys, vdisk, player.Config{})
	if err != nil {
		return err
	}
	next := 0
	err = l.Replay(ctx, 0, tlog.Hash{}, l.Info().Last, func(r *tlog.Record) error {
		if next == len(h.records) || r.Sequence != h.records[next].Sequence || r.Hash != h.records[next].Hash || r.Timestamp != h.records[next].Timestamp {
			return fmt.Errorf("record %d of the log: %d, %v", next+1, r.Sequence, r.Hash)
		}
		next++
		return nil
	})
	if err == nil && (next != len(h.records) || l.Info().Chain != h.chains[next]) {
		err = fmt.Errorf("%d records of %d, chain %v", next, len(h.records), l.Info().Chain)
	}
	return err
}
