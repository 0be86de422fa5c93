package player_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestDiff compares any two moments: where Diff names nothing the models are
// equal, and what it says of data is so.
func TestDiff(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 150, 70)
	l := s.player(t)
	ix := openIndex(t, l, "")
	rng := rand.New(rand.NewPCG(71, 1))
	for range 60 {
		a, b := 1+rng.IntN(m.last()), 1+rng.IntN(m.last())
		was, is := openPast(t, ix, resolve(t, l, fmt.Sprint("seq:", a))), openPast(t, ix, resolve(t, l, fmt.Sprint("seq:", b)))
		got, want, end, lastData := m.after(a), m.after(b), int64(0), false
		is.Diff(was, func(off, n int64, data bool) bool {
			if n <= 0 || off < end || off == end && off > 0 && data == lastData {
				t.Errorf("seq:%d to %d: %d bytes at %d behind %d", a, b, n, off, end)
			}
			end, lastData = off+n, data
			if data {
				copy(got[off:end], want[off:end])
			} else {
				clear(got[off:end])
			}
			return true
		})
		if !bytes.Equal(got, want) {
			t.Errorf("seq:%d to %d: the difference does not make one of the other", a, b)
		}
		if a == b && end != 0 {
			t.Errorf("seq:%d differs from itself", a)
		}
	}
	calls := 0
	last, first := openPast(t, ix, resolve(t, l, "latest")), openPast(t, ix, resolve(t, l, "seq:1"))
	last.Diff(first, func(int64, int64, bool) bool { calls++; return false })
	if calls != 1 {
		t.Errorf("a Diff that is ended calls %d times", calls)
	}
}

// TestDiffIsSmall changes a little, and wants no more than that.
func TestDiffIsSmall(t *testing.T) {
	s := newStore(t)
	s.write(t, 100, 72)
	before := s.player(t).Info().Last
	s.writeMore(t, 3, 73)
	l := s.player(t)
	ix := openIndex(t, l, "")
	was, is := openPast(t, ix, resolve(t, l, fmt.Sprint("seq:", before))), openPast(t, ix, resolve(t, l, "latest"))
	changed := int64(0)
	is.Diff(was, func(_, n int64, _ bool) bool { changed += n; return true })
	if changed == 0 || changed > 3*20000 {
		t.Errorf("%d bytes of three records", changed)
	}
}

// TestReads counts what a read of the disk in pieces costs.
func TestReads(t *testing.T) {
	s := newStore(t)
	s.write(t, 100, 74)
	l := s.player(t)
	past := openPast(t, openIndex(t, l, ""), resolve(t, l, "latest"))
	_, stored, positions := past.Need()
	whole := past.Reads(diskSize) // a restore reads some records by themselves
	if whole < stored || whole > 2*stored {
		t.Errorf("in one piece %d bytes are read, by a restore %d", whole, stored)
	}
	if got := past.Reads(1 << 10); got <= whole {
		t.Errorf("in small pieces %d bytes are read, in one %d", got, whole)
	}
	for _, n := range []int{1, 3, positions, 10 * positions} {
		got, err := past.Probe(t.Context(), n)
		if err != nil || got == 0 || got > whole || n >= positions && got != whole {
			t.Errorf("%d positions have %d bytes of %d, %v", n, got, whole, err)
		}
	}
}

// TestChanges makes one moment of any other by what changed between them: nothing
// comes twice, and no block comes that is equal.
func TestChanges(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 150, 75)
	l := s.player(t)
	ix := openIndex(t, l, "")
	rng := rand.New(rand.NewPCG(76, 1))
	for range 40 {
		a, b := 1+rng.IntN(m.last()), 1+rng.IntN(m.last())
		was, is := openPast(t, ix, resolve(t, l, fmt.Sprint("seq:", a))), openPast(t, ix, resolve(t, l, fmt.Sprint("seq:", b)))
		before, got, seen := m.after(a), m.after(a), make([]bool, diskSize)
		err := is.Changes(t.Context(), was, func(off, n int64, data []byte) error {
			if data == nil {
				data = make([]byte, n)
			}
			if int64(len(data)) != n || bytes.Equal(data, before[off:off+n]) {
				t.Errorf("seq:%d to %d: %d bytes at %d did not change", a, b, n, off)
			}
			for i := off; i < off+n; i++ {
				if seen[i] {
					return fmt.Errorf("byte %d comes twice", i)
				}
				seen[i] = true
			}
			copy(got[off:], data)
			return nil
		})
		if err != nil || !bytes.Equal(got, m.after(b)) {
			t.Errorf("seq:%d to %d: the changes do not make one of the other (%v)", a, b, err)
		}
	}
}
