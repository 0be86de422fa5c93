package repair_test

import (
	"testing"

	"pgregory.net/rapid"

	"tlog"
	"tlog/internal/core/repair"
)

// world is servers as they are, for a property test: an index each, or none.
type world struct {
	cfg    repair.Config
	shards [][]repair.Shard // by position − 1, by server
}

func drawWorld(t *rapid.T) *world {
	k, m := rapid.IntRange(1, 3).Draw(t, "k"), rapid.IntRange(0, 2).Draw(t, "m")
	w := &world{cfg: repair.Config{K: k, N: k + m, Page: 3, Window: 2, Deep: rapid.Bool().Draw(t, "deep")}}
	w.cfg.P = w.cfg.N + rapid.IntRange(0, 2).Draw(t, "spares")
	w.cfg.First = rapid.IntRange(0, w.cfg.P-1).Draw(t, "first")
	for range rapid.IntRange(0, 8).Draw(t, "positions") {
		var at []repair.Shard
		for range w.cfg.P {
			s := repair.Shard{
				State: rapid.SampledFrom([]repair.State{repair.Good, repair.Good, repair.Good, repair.Damaged, repair.Absent, repair.Silent}).Draw(t, "state"),
				Index: rapid.IntRange(0, w.cfg.N-1).Draw(t, "index"),
			}
			if s.State == repair.Damaged && rapid.Bool().Draw(t, "no claim") {
				s.Index = repair.None
			}
			at = append(at, s)
		}
		w.shards = append(w.shards, at)
	}
	w.cfg.Head = w.head()
	return w
}

func (w *world) good(at []repair.Shard) (distinct, silent int, holders map[int]int) {
	holders = map[int]int{}
	for _, s := range at {
		switch s.State {
		case repair.Good:
			holders[s.Index]++
		case repair.Silent:
			silent++
		}
	}
	return len(holders), silent, holders
}

// A pass whose writes succeed leaves n good indices at every position that had
// k, less what silent servers may hold; it never writes on fewer than k, and
// distinct good indices never decrease on the way. No damaged shard is left, and
// no damaged claim.
func TestPassRepairsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		m := repair.New(w.cfg)
		queue := []repair.Event{repair.Start{}}
		ended, finished := false, 0
		for len(queue) > 0 {
			i := rapid.IntRange(0, len(queue)-1).Draw(t, "next")
			e := queue[i]
			queue = append(queue[:i:i], queue[i+1:]...)
			for _, a := range m.Step(e) {
				if ended {
					t.Fatalf("%+v after the end", a)
				}
				switch a := a.(type) {
				case repair.List:
					queue = append(queue, w.list(a))
				case repair.Look:
					queue = append(queue, repair.Looked{Position: a.Position, Shards: w.shards[a.Position-1]})
				case repair.Write:
					w.write(t, a)
					queue = append(queue, repair.Stored{Position: a.Position, Server: a.Server, Outcome: repair.Done})
				case repair.Finished:
					finished++
					w.check(t, a)
				case repair.End:
					ended = true
				}
			}
		}
		if !ended || finished != len(w.shards) {
			t.Fatalf("ended %v, %d of %d positions finished", ended, finished, len(w.shards))
		}
	})
}

func (w *world) write(t *rapid.T, a repair.Write) {
	at := w.shards[a.Position-1]
	before, _, _ := w.good(at)
	if before < w.cfg.K {
		t.Fatalf("%+v with %d good indices", a, before)
	}
	if s := at[a.Server].State; s == repair.Silent || a.Replace != (s != repair.Absent) {
		t.Fatalf("%+v to a server in state %d", a, s)
	}
	at = append([]repair.Shard(nil), at...)
	at[a.Server] = repair.Shard{State: repair.Good, Index: a.Index}
	w.shards[a.Position-1] = at
	if after, _, _ := w.good(at); after < before || after == before && !a.Surplus {
		t.Fatalf("%+v: %d good indices, then %d", a, before, after)
	}
}

func (w *world) check(t *rapid.T, f repair.Finished) {
	good, silent, _ := w.good(w.shards[f.Position-1])
	if f.Looked && good >= w.cfg.K {
		for s, sh := range w.shards[f.Position-1] {
			if sh.State == repair.Damaged && sh.Index < w.cfg.N {
				t.Fatalf("position %d: server %d still holds a damaged shard", f.Position, s)
			}
		}
	}
	for s, sh := range w.shards[f.Position-1] {
		if bad(sh) && (good >= w.cfg.K || !f.Looked) {
			t.Fatalf("position %d: server %d still has a damaged claim (%+v)", f.Position, s, f)
		}
	}
	switch {
	case f.Lost:
		if good >= w.cfg.K || silent > 0 {
			t.Fatalf("position %d is called lost with %d good, %d silent", f.Position, good, silent)
		}
	case f.Looked && good >= w.cfg.K && good < w.cfg.N-silent:
		t.Fatalf("position %d: %d good of %d, %d silent", f.Position, good, w.cfg.N, silent)
	case f.Looked && f.Short != w.cfg.N-good:
		t.Fatalf("position %d: %d good of %d is called %d short", f.Position, good, w.cfg.N, f.Short)
	}
}

func (w *world) head() tlog.Position { return tlog.Position(len(w.shards)) }

// bad reports whether what a server claims is none.
func bad(s repair.Shard) bool {
	return s.State == repair.Damaged && s.Index == repair.None
}

// list claims what is held, well or not.
func (w *world) list(a repair.List) repair.Event {
	e := repair.Listed{From: a.From}
	for pos := a.From; pos <= a.To; pos++ {
		p := repair.Place{Known: true}
		for _, s := range w.shards[pos-1] {
			switch {
			case bad(s):
				p.Index = append(p.Index, repair.Bad)
			case s.State == repair.Silent:
				p.Index = append(p.Index, repair.Unsure)
			case s.State == repair.Absent:
				p.Index = append(p.Index, repair.None)
			default:
				p.Index = append(p.Index, s.Index)
			}
		}
		e.Places = append(e.Places, p)
	}
	return e
}
