package player

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestCoverage holds the set against an array of units: where ranges are cut by
// the chunks' borders, in units from a byte to more than a chunk's eighth, and
// with finer ones coming later.
func TestCoverage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const units = 64
		unit := uint64(1) << rapid.IntRange(0, chunkShift-3).Draw(t, "unit")
		base := chunkSize*rapid.Uint64Range(8, 1<<40).Draw(t, "chunk") - unit*rapid.Uint64Range(0, units).Draw(t, "before")
		var c coverage
		var model [units]bool
		coarse := rapid.IntRange(0, 40).Draw(t, "coarse")
		for i := range rapid.IntRange(1, 80).Draw(t, "adds") {
			from := rapid.Uint64Range(0, units).Draw(t, "from")
			to := rapid.Uint64Range(0, units).Draw(t, "to")
			if i < coarse {
				from, to = from&^3, to&^3
			}
			var want [units]bool
			for i := from; i < to; i++ {
				want[i] = !model[i]
				model[i] = true
			}
			var got [units]bool
			for _, g := range c.add(span{base + from*unit, base + to*unit}, nil) {
				if (g.from-base)%unit != 0 || (g.to-base)%unit != 0 || g.from >= g.to {
					t.Fatalf("gap %v of units of %d from %d", g, unit, base)
				}
				for i := (g.from - base) / unit; i < (g.to-base)/unit; i++ {
					if got[i] {
						t.Fatalf("unit %d is in two gaps", i)
					}
					got[i] = true
				}
			}
			if got != want {
				t.Fatalf("add %d–%d: gaps %v, want %v", from, to, got, want)
			}
			covered := uint64(0)
			for _, is := range model {
				if is {
					covered += unit
				}
			}
			if c.bytes != covered {
				t.Fatalf("%d bytes covered, want %d", c.bytes, covered)
			}
		}
	})
}

// TestCoverageForms goes through every form of a chunk, against an array of
// bytes: a list, bits of 4 KiB, a list again when an odd range comes, and so on
// until all is covered.
func TestCoverageForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var c coverage
	model := make([]bool, 2*chunkSize)
	var forms []bool
	for _, step := range []struct{ shift, adds int }{{16, 20}, {12, 400}, {9, 3000}, {0, 300}} {
		shift := step.shift
		for range step.adds {
			from := rng.Uint64N(2*chunkSize) >> shift << shift
			to := min(2*chunkSize, from+(1+rng.Uint64N(2))<<shift)
			addModel(t, &c, model, span{from, to})
			if k := c.chunks[0]; k != nil {
				if k.full {
					t.Fatalf("chunk 0 is full at units of %d", 1<<shift)
				}
				forms = append(forms, k.bitmap)
			}
		}
	}
	if got := len(slices.Compact(forms)); got < 6 {
		t.Errorf("a chunk had %d forms", got)
	}
	addModel(t, &c, model, span{0, 2 * chunkSize})
	for i := range uint64(2) {
		if k := c.chunks[i]; !k.full || k.words != nil {
			t.Errorf("chunk %d of a full disk has %d words", i, len(k.words))
		}
	}
}

func addModel(t *testing.T, c *coverage, model []bool, s span) {
	t.Helper()
	var want []span
	for i := s.from; i < s.to; i++ {
		if !model[i] {
			want = emit(want, span{i, i + 1})
			model[i] = true
		}
	}
	got := c.add(s, nil)
	if len(got) != len(want) {
		t.Fatalf("add %v: gaps %v, want %v", s, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("add %v: gaps %v, want %v", s, got, want)
		}
	}
}

// TestCoverageMemory covers every other block of 64 GiB in no order: the bytes
// kept must be those of the bits, and not of each range.
func TestCoverageMemory(t *testing.T) {
	const blocks = 64 << 30 / 4096
	var c coverage
	for i := range uint64(blocks / 2) {
		at := (i * 7919 % (blocks / 2)) * 2 * 4096
		if got := c.add(span{at, at + 4096}, nil); len(got) != 1 {
			t.Fatalf("block at %d: %v", at, got)
		}
	}
	words := 0
	for i := range uint64(len(c.chunks)) {
		words += cap(c.chunks[i].words)
	}
	if got, most := words*8, blocks/8; got > most || c.bytes != blocks/2*4096 {
		t.Errorf("%d bytes kept of %d covered, want %d at most", got, c.bytes, most)
	}
}

// BenchmarkCoverage adds blocks of 4 KiB in no order, as a log of random writes
// has them.
func BenchmarkCoverage(b *testing.B) {
	const blocks = 8 << 30 / 4096
	rng := rand.New(rand.NewPCG(1, 2))
	var c coverage
	var gaps []span
	b.ReportAllocs()
	for b.Loop() {
		at := rng.Uint64N(blocks) * 4096
		gaps = c.add(span{at, at + 4096}, gaps[:0])
	}
}
