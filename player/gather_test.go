package player

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// writes is a target that remembers each write.
type writes struct {
	disk  [256]byte
	calls []int64
}

func (w *writes) WriteAt(b []byte, off int64) (int, error) {
	w.calls = append(w.calls, off)
	return copy(w.disk[off:], b), nil
}

func (w *writes) Zero(int64, int64) error { panic("not called") }

// written is what a test has written.
type written struct {
	off  uint64
	data []byte
}

// TestGather writes pieces that tile parts of a disk, in any order: the bytes
// must be right, and neighbours must be one write, in order of offsets.
func TestGather(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want [256]byte
		var pieces []written
		runs, end := 0, -1
		for at := 0; at < 240; {
			n := rapid.IntRange(1, 8).Draw(t, "n")
			if rapid.Bool().Draw(t, "written") {
				data := bytes.Repeat([]byte{byte(1 + len(pieces))}, n)
				copy(want[at:], data)
				pieces = append(pieces, written{uint64(at), data})
				if at != end {
					runs++
				}
				end = at + n
			}
			at += n
		}
		w := &writes{}
		g := gather{target: w}
		order := rapid.Permutation(pieces).Draw(t, "order")
		if rapid.Bool().Draw(t, "from the end") {
			order = slices.Clone(pieces)
			slices.Reverse(order)
		}
		for _, p := range order {
			if err := g.add(p.off, slices.Clone(p.data)); err != nil {
				t.Fatal(err)
			}
		}
		if len(w.calls) > 0 {
			t.Fatal("written before it had to be")
		}
		if err := g.flush(); err != nil {
			t.Fatal(err)
		}
		if w.disk != want {
			t.Fatal("the disk differs")
		}
		if len(w.calls) != runs || !slices.IsSorted(w.calls) {
			t.Fatalf("writes at %v, want %d in order", w.calls, runs)
		}
	})
}

// TestGatherFull checks that collecting is bounded.
func TestGatherFull(t *testing.T) {
	w := &counting{}
	g := gather{target: w}
	data := make([]byte, 3<<20)
	for i := range 40 {
		if err := g.add(uint64(i)<<22, data); err != nil {
			t.Fatal(err)
		}
		checkLoads(t, &g)
	}
	for i := range 2*loadPieces + 5 {
		if err := g.add(uint64(i)<<40, data[:1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.wait(); err != nil { // what is being written is not looked at
		t.Fatal(err)
	}
	checkLoads(t, &g)
	if err := g.flush(); err != nil || w.bytes != 40*len(data)+2*loadPieces+5 {
		t.Errorf("%d bytes written, %v", w.bytes, err)
	}
}

// checkLoads looks at the load that is being filled.
func checkLoads(t *testing.T, g *gather) {
	t.Helper()
	if l := &g.loads[g.filling]; len(l.arena) > loadSize || len(l.pieces) > loadPieces {
		t.Fatalf("%d bytes of %d pieces are held, the limits are %d and %d", len(l.arena), len(l.pieces), loadSize, loadPieces)
	}
}

// TestGatherFails: a write that fails is the error of what comes later, and the
// last thing that is written.
func TestGatherFails(t *testing.T) {
	w := &counting{full: errors.New("full")}
	g := gather{target: w}
	data := make([]byte, 3<<20)
	var err error
	calls := 0
	for ; err == nil && calls < 40; calls++ {
		err = g.add(uint64(calls)<<22, data)
	}
	if !errors.Is(err, w.full) || calls > 12 {
		t.Errorf("%v after %d pieces, want the target's error with the second load", err, calls)
	}
	if err := g.wait(); err != nil || w.bytes != 0 {
		t.Errorf("after the error: %v, %d bytes written", err, w.bytes)
	}
}

// counting counts what is written, and fails the test when two calls are made
// at a time (under the race detector).
type counting struct {
	bytes int
	full  error
}

func (w *counting) WriteAt(b []byte, _ int64) (int, error) {
	if w.full != nil {
		return 0, w.full
	}
	w.bytes += len(b)
	return len(b), nil
}

func (w *counting) Zero(int64, int64) error { w.bytes++; return nil }
