package takeover_test

import (
	"flag"
	"strings"
	"testing"

	"tlog"
	"tlog/internal/core/takeover"
)

var seeds = flag.Uint64("seeds", 600, "schedules to try per kind of pool")

// Whatever is lost, late, repeated, reordered or crashes: an acknowledged
// position is found by every later owner and reader, and never changed.
func TestNothingAcknowledgedIsLostOrChanged(t *testing.T) {
	for _, c := range []struct {
		name       string
		k, m, w, p int
	}{
		{"1+1, no spare", 1, 1, 2, 2},
		{"2+1, no spare", 2, 1, 3, 3},
		{"2+1, one spare", 2, 1, 3, 4},
		{"1+2, one spare", 1, 2, 3, 4},
		{"2+2, min-shards 3, one spare", 2, 2, 3, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			var acked, takeovers, readers int
			for seed := range *seeds {
				w := newWorld(t, seed, c.k, c.m, c.w, c.p)
				w.loss = []int{12, 40}[seed%2]
				lost := map[int]bool{}
				for range 50 + w.rng.IntN(700) {
					w.turn(int(seed%3), lost)
				}
				w.epilogue(lost)
				acked += len(w.acked)
				takeovers += w.ended(true)
				readers += w.ended(false)
			}
			t.Logf("%d positions acknowledged, %d takeovers, %d readers", acked, takeovers, readers)
			if n := int(*seeds) / 2; acked < n || takeovers < n || readers < n {
				t.Error("too little happens for this test to mean anything")
			}
		})
	}
}

// ended counts the owners, or readers, that found a log.
func (w *world) ended(fence bool) int {
	n := 0
	for _, a := range w.actors {
		if a.done && a.fence == fence {
			n++
		}
	}
	return n
}

// turn is one thing that happens.
func (w *world) turn(lossy int, lost map[int]bool) {
	switch action := w.rng.IntN(100); {
	case action < 2:
		if len(w.actors) < 7 {
			w.start(action < 1 || len(w.actors) == 0)
		}
	case action < 15:
		a := w.owner()
		if a != nil && a.next <= a.head+4 && a.next < a.log.Committed()+4 {
			a.publish()
		}
	case action < 16 && lossy > 0:
		if a := w.owner(); a != nil && w.rng.IntN(3) == 0 {
			a.crashed = true
			w.logf("actor %d crashes", a.id)
		}
	case action < 20 && lossy > 0:
		s := w.rng.IntN(w.p)
		w.servers[s].down = !w.servers[s].down && w.rng.IntN(4) == 0
		w.logf("server %d down: %v", s, w.servers[s].down)
	case action < 21 && lossy > 1:
		w.damage(lost)
	default:
		if len(w.pending) > 0 {
			how := 3
			if lossy > 0 {
				how = w.rng.IntN(w.loss)
			}
			next := w.rng.IntN(len(w.pending))
			if w.rng.IntN(3) == 0 {
				next = 0
			}
			w.deliver(next, how)
		}
	}
}

// owner picks one that has taken over and lives.
func (w *world) owner() *actor {
	var list []*actor
	for _, a := range w.actors {
		if a.fence && a.done && !a.crashed && !a.dead {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[w.rng.IntN(len(list))]
}

// damage wipes a server or rots a shard, on no more servers than an
// acknowledgement covers.
func (w *world) damage(lost map[int]bool) {
	s := w.rng.IntN(w.p)
	if !lost[s] && len(lost) >= w.w-w.k {
		return
	}
	lost[s] = true
	if w.rng.IntN(2) == 0 {
		w.servers[s] = &model{wiped: true, stored: map[tlog.Position]*shard{}}
		w.logf("server %d is wiped", s)
		return
	}
	for pos, sh := range w.servers[s].stored {
		sh.rotten = true
		w.logf("server %d: shard of %d rots", s, pos)
	}
}

// epilogue: with all servers back but those that were lost, a reader finds
// everything that was acknowledged.
func (w *world) epilogue(lost map[int]bool) {
	for _, s := range w.servers {
		s.down = false
	}
	for _, a := range w.actors {
		a.crashed = true
	}
	w.pending = nil
	a := w.start(false)
	for len(w.pending) > 0 {
		w.deliver(0, 3)
	}
	switch {
	case a.done:
	case a.halt == nil:
		w.fatal("the last reader neither ends nor halts")
	default: // only what nobody was told may be undecidable
		for _, x := range w.acked {
			if x.pos >= a.halt.Position || a.halt.Reason == takeover.ReasonTooFew {
				w.fatal("the last reader halts (%+v) with servers %v lost; position %d was acknowledged", a.halt, lost, x.pos)
			}
		}
	}
}

// expect delivers the first message that begins so.
func (w *world) expect(what string, how int) {
	w.t.Helper()
	for i, m := range w.pending {
		if strings.HasPrefix(m.what, what) {
			w.deliver(i, how)
			return
		}
	}
	w.fatal("no message %q", what)
}

// A request that timed out may still arrive, when its index is on another
// server and another index on this one. A server keeps the index it has, or an
// acknowledged index would vanish.
func TestARequestThatArrivesLateTakesNoIndexAway(t *testing.T) {
	const lost, arrives, late = 1, 3, 2
	w := newWorld(t, 1, 2, 1, 3, 4)
	a := w.start(true)
	for !a.done {
		w.deliver(0, arrives)
	}
	w.pending = nil
	a.publish() // 1.0 to server 1, 1.1 to 2, 1.2 to 3; 0 is the spare
	w.expect("1: append 1.0 to 1", late)
	w.expect("answer to 1: append 1.0 to 1", arrives)
	w.expect("1: append 1.0 to 0", arrives)
	w.expect("answer to 1: append 1.0 to 0", arrives)
	w.expect("due", arrives)
	w.expect("1: probe 1", arrives)
	w.expect("answer to 1: probe 1", arrives)
	w.expect("1: append 1.1 to 2", lost)
	w.servers[2] = &model{stored: map[tlog.Position]*shard{}}
	w.expect("answer to 1: append 1.1 to 2", arrives)
	w.expect("1: append 1.1 to 1", arrives)
	w.expect("answer to 1: append 1.1 to 1", arrives)
	w.expect("1: append 1.2 to 3", arrives)
	w.expect("answer to 1: append 1.2 to 3", arrives)
	if len(w.acked) != 1 {
		w.fatal("position 1 is not acknowledged")
	}
	w.expect("1: append 1.0 to 1", arrives)
	w.servers[3] = &model{wiped: true}
	w.epilogue(nil)
}
