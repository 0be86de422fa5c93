package player

import (
	"testing"

	"pgregory.net/rapid"
)

// TestCoverage holds the interval set against an array of bytes.
func TestCoverage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 64
		var c coverage
		var model [size]bool
		for range rapid.IntRange(1, 40).Draw(t, "adds") {
			from := rapid.Uint64Range(0, size).Draw(t, "from")
			to := rapid.Uint64Range(0, size).Draw(t, "to")
			var want [size]bool
			for i := from; i < to; i++ {
				want[i] = !model[i]
				model[i] = true
			}
			var got [size]bool
			for _, g := range c.add(span{from, to}, nil) {
				for i := g.from; i < g.to; i++ {
					if got[i] {
						t.Fatalf("byte %d is in two gaps", i)
					}
					got[i] = true
				}
			}
			if got != want {
				t.Fatalf("add %d–%d: gaps %v, want %v", from, to, got, want)
			}
		}
		checkCoverage(t, &c, model[:])
	})
}

func checkCoverage(t *rapid.T, c *coverage, model []bool) {
	var bytes uint64
	for i := range model {
		if model[i] {
			bytes++
		}
	}
	if c.bytes != bytes {
		t.Fatalf("%d bytes covered, want %d", c.bytes, bytes)
	}
	for i := range c.r {
		if c.r[i].from >= c.r[i].to || i > 0 && c.r[i-1].to >= c.r[i].from {
			t.Fatalf("ranges are not sorted, disjoint and apart: %v", c.r)
		}
	}
}
