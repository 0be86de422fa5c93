package past

import (
	"testing"

	"pgregory.net/rapid"
)

// TestBlockMap holds the map against an array, over the borders of its sectors.
func TestBlockMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const blocks = 3 * sectorBlocks
		m := newBlockMap()
		var model [blocks]state
		edge := rapid.OneOf(rapid.Int64Range(0, blocks), rapid.Int64Range(sectorBlocks-9, sectorBlocks+9), rapid.Int64Range(2*sectorBlocks-9, 2*sectorBlocks+9))
		for range rapid.IntRange(1, 12).Draw(t, "sets") {
			from, to, s := edge.Draw(t, "from"), edge.Draw(t, "to"), state(rapid.IntRange(1, 2).Draw(t, "state"))
			m.set(from, to, s)
			for i := from; i < to; i++ {
				model[i] = s
			}
		}
		stored := newBlockMap()
		for _, s := range m.take() {
			if err := stored.load(s.number, s.bytes[:]); err != nil {
				t.Fatal(err)
			}
			s.bytes[rapid.IntRange(0, sectorSize-1).Draw(t, "flip")] ^= 1
			if err := stored.load(s.number, s.bytes[:]); err == nil {
				t.Fatal("a flipped bit was not seen")
			}
		}
		if len(m.take()) != 0 {
			t.Fatal("taken twice")
		}
		for _, m := range []*blockMap{&m, &stored} {
			end := edge.Draw(t, "end")
			for at := int64(0); at < end; {
				s, to := m.run(at, end)
				if to <= at || to > end {
					t.Fatalf("run from %d to %d, before %d", at, to, end)
				}
				for i := at; i < to; i++ {
					if model[i] != s || m.get(i) != s {
						t.Fatalf("block %d is %d, in a run of %d, want %d", i, m.get(i), s, model[i])
					}
				}
				if to < end && model[to] == s {
					t.Fatalf("a run of %d ends at %d, and goes on", s, to)
				}
				at = to
			}
		}
	})
}
