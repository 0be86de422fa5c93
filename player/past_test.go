package player_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tlog"
	"tlog/player"
	"tlog/player/index"
)

func openIndex(t testing.TB, l *player.Log, dir string) *player.Index {
	t.Helper()
	ix, err := l.OpenIndex(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ix.Close(); err != nil {
			t.Error(err)
		}
	})
	return ix
}

func openPast(t testing.TB, ix *player.Index, p player.Point) *player.Past {
	t.Helper()
	past, err := ix.Past(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := past.Close(); err != nil {
			t.Error(err)
		}
	})
	return past
}

func when(t testing.TB, s string) player.When {
	t.Helper()
	w, err := player.ParseWhen(s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestPastIsTheModel compares every moment of a log, read, restored, and by its
// extents, with the model; the index finds it as the log does, by sequence and
// by time.
func TestPastIsTheModel(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 120, 7)
	l := s.player(t)
	ix := openIndex(t, l, t.TempDir())
	for seq := 1; seq <= m.last(); seq++ {
		disk := m.after(seq)
		p := resolve(t, l, fmt.Sprint("seq:", seq))
		for _, w := range []string{fmt.Sprint("seq:", seq), p.Time.UTC().Format(time.RFC3339Nano), p.Time.Add(time.Nanosecond).UTC().Format(time.RFC3339Nano)} {
			got, err := ix.Resolve(t.Context(), when(t, w), player.SnapAny)
			if err != nil || got != p {
				t.Fatalf("%s: %+v, %v, want %+v", w, got, err, p)
			}
		}
		past := openPast(t, ix, p)
		comparePast(t, past, disk, fmt.Sprint("seq:", seq))
		live, stored, positions := past.Need()
		ix.Piecemeal(1 << (seq % 8))
		if a, b, c, err := ix.Need(p); err != nil || a != live || b != stored || c != positions {
			t.Errorf("seq:%d: piece by piece %d bytes, %d stored, %d positions are needed, %v, want %d, %d, %d", seq, a, b, c, err, live, stored, positions)
		}
		for name, restore := range byIndex(ix, past) {
			for _, fresh := range []bool{false, true} {
				g := newTarget(t, map[bool]byte{false: 0xee}[fresh])
				report, err := restore(t.Context(), g, player.RestoreOptions{Fresh: fresh})
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(g.b, disk) || report.Bytes != live || report.DiskSize != diskSize {
					t.Errorf("seq:%d by the %s, fresh: %v: restored disk is the model: %v, %d bytes, %d are alive, of a disk of %d", seq, name, fresh, bytes.Equal(g.b, disk), report.Bytes, live, report.DiskSize)
				}
			}
		}
	}
}

// byIndex is the ways to restore a moment by an index.
func byIndex(ix *player.Index, past *player.Past) map[string]restoreFunc {
	return map[string]restoreFunc{
		"map": past.Restore,
		"index": func(ctx context.Context, g player.Target, o player.RestoreOptions) (*player.Report, error) {
			return ix.Restore(ctx, past.Point(), g, o)
		},
	}
}

var zeroes = make([]byte, diskSize)

func comparePast(t *testing.T, past *player.Past, want []byte, name string) {
	t.Helper()
	if past.Size() != int64(len(want)) {
		t.Fatalf("%s: size %d, want %d", name, past.Size(), len(want))
	}
	b := make([]byte, len(want))
	if err := past.ReadAt(t.Context(), b, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s: what is read differs from the model", name)
	}
	at := int64(0)
	past.Extents(0, past.Size(), func(off, n int64, data bool) bool {
		if off != at || n <= 0 {
			t.Errorf("%s: an extent of %d bytes begins at %d, want at %d", name, n, off, at)
		}
		if !data && !bytes.Equal(want[off:off+n], make([]byte, n)) {
			t.Errorf("%s: bytes %d to %d are not zero", name, off, off+n)
		}
		at = off + n
		return true
	})
	if at != past.Size() {
		t.Errorf("%s: extents end at %d", name, at)
	}
	clear(b)
	err := past.Each(t.Context(), nil, func(off int64, data []byte) error {
		if !bytes.Equal(b[off:off+int64(len(data))], zeroes[:len(data)]) {
			return fmt.Errorf("%s: a byte of %d at %d comes twice", name, len(data), off)
		}
		copy(b[off:], data)
		return nil
	})
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("%s: pieces are the model: %v, %v", name, bytes.Equal(b, want), err)
	}
}

// TestPastReadsAtRandom reads pieces of several moments at once, with memory
// for a few positions only.
func TestPastReadsAtRandom(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 200, 8)
	l, err := player.Open(t.Context(), s.open(t, true), s.keys, disk, player.Config{Memory: 100 << 10, Readers: 3})
	if err != nil {
		t.Fatal(err)
	}
	ix := openIndex(t, l, "")
	var wg sync.WaitGroup
	for g := range 4 {
		rng := rand.New(rand.NewPCG(9, uint64(g)))
		seq := 1 + rng.IntN(m.last())
		past := openPast(t, ix, resolve(t, l, fmt.Sprint("seq:", seq)))
		disk := m.after(seq)
		wg.Go(func() {
			for range 300 {
				off := rng.Int64N(diskSize)
				past.Extents(off, diskSize-off, func(from, n int64, _ bool) bool {
					off = from + n // where an extent ends
					return rng.IntN(3) > 0 && off < diskSize-1
				})
				off = min(off, diskSize-1)
				b := make([]byte, rng.Int64N(min(40000, diskSize-off)))
				if err := past.ReadAt(context.Background(), b, off); err != nil {
					t.Error(err)
					return
				}
				want := disk[off : off+int64(len(b))]
				if !bytes.Equal(b, want) {
					t.Errorf("seq:%d: %d bytes at %d differ from the model", seq, len(b), off)
				}
				at := off
				past.Extents(off, int64(len(b)), func(from, n int64, data bool) bool {
					if from != at || n <= 0 || !data && !bytes.Equal(want[from-off:from-off+n], make([]byte, n)) {
						t.Errorf("seq:%d: %d bytes from %d of %d from %d are data: %v, want from %d", seq, n, from, len(b), off, data, at)
					}
					at = from + n
					return true
				})
				if at != off+int64(len(b)) {
					t.Errorf("seq:%d: extents of %d bytes at %d end at %d", seq, len(b), off, at)
				}
			}
		})
	}
	wg.Wait()
}

// TestIndexGrowsWithTheLog opens the same index as the log grows, and counts
// what it reads.
func TestIndexGrowsWithTheLog(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	var before tlog.Position
	for round := range uint64(3) {
		s.writeMore(t, 40, 10+round)
		l := s.player(t)
		read := int64(0)
		ix, err := l.OpenIndex(t.Context(), dir, func(player.Progress) { read++ })
		if err != nil {
			t.Fatal(err)
		}
		if got := ix.State(); got.Positions != l.Info().Positions || got.Last != l.Info().Last || read != int64(got.Positions-before) {
			t.Errorf("round %d: index %+v after %d reads, want %d positions from %d", round, got, read, l.Info().Positions, before)
		}
		before = l.Info().Positions
		if err := ix.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIndexDamaged flips a bit of each byte region of an index, cuts it, and
// replaces it by another disk's: what opens is always the log.
func TestIndexDamaged(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 60, 20)
	l := s.player(t)
	dir := t.TempDir()
	first, err := l.OpenIndex(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, index.Name(l.Info().UUID))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(21, 1))
	for i := range 200 {
		bad := bytes.Clone(good)
		switch {
		case i%10 == 0:
			bad = bad[:rng.IntN(len(bad))]
		case i%10 == 1:
			bad = append(bad, bad[:rng.IntN(len(bad))]...)
		default:
			bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		ix, err := l.OpenIndex(t.Context(), dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		seq := 1 + rng.IntN(m.last())
		p, err := ix.Point(tlog.Sequence(seq))
		if err != nil {
			t.Fatal(err)
		}
		comparePast(t, openPast(t, ix, p), m.after(seq), fmt.Sprintf("damage %d", i))
		if err := ix.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIndexOfAnotherHistory rolls the log back behind an index and lets it go on
// otherwise: the index is cut back to what is still so.
func TestIndexOfAnotherHistory(t *testing.T) {
	s := newStore(t)
	s.write(t, 40, 40)
	old := filepath.Join(t.TempDir(), "old")
	for i, d := range s.dirs {
		if err := os.CopyFS(filepath.Join(old, fmt.Sprint(i)), os.DirFS(d)); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	s.writeMore(t, 30, 41)
	ix, err := s.player(t).OpenIndex(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	for i, d := range s.dirs {
		remove(t, d)
		if err := os.CopyFS(d, os.DirFS(filepath.Join(old, fmt.Sprint(i)))); err != nil {
			t.Fatal(err)
		}
	}
	s.writeMore(t, 50, 42)
	l := s.player(t)
	ix = openIndex(t, l, dir)
	for seq := tlog.Sequence(1); seq <= l.Info().Last; seq++ {
		p, err := ix.Point(seq)
		if want := resolve(t, l, fmt.Sprint("seq:", seq)); err != nil || p != want {
			t.Fatalf("seq:%d is %+v by the index, %v, want %+v", seq, p, err, want)
		}
	}
	g, past := newTarget(t, 0), openPast(t, ix, resolve(t, l, "latest"))
	if _, err := l.Restore(t.Context(), past.Point(), g, player.RestoreOptions{Fresh: true}); err != nil {
		t.Fatal(err)
	}
	comparePast(t, past, g.b, "after the roll-back")
}

// TestSnapToFlush moves every moment to the last flush mark, by the log and by
// the index.
func TestSnapToFlush(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 100, 30)
	l := s.player(t)
	ix := openIndex(t, l, "")
	last, marks := tlog.Sequence(0), map[tlog.Sequence]bool{}
	for _, p := range m.points {
		marks[p.Sequence] = true
	}
	for seq := tlog.Sequence(1); int(seq) <= m.last(); seq++ {
		p, err := ix.Point(seq)
		if err != nil {
			t.Fatal(err)
		}
		if marks[seq] {
			last = seq
		}
		want := last
		if want == 0 {
			want = seq
		}
		byTime := when(t, p.Time.UTC().Format(time.RFC3339Nano))
		for name, resolve := range map[string]func(context.Context, player.When, player.Snap) (player.Point, error){"log": l.ResolveSnap, "index": ix.Resolve} {
			for _, snap := range []player.Snap{player.SnapFlush, player.SnapDefault} {
				if got, err := resolve(t.Context(), byTime, snap); err != nil || got.Sequence != want {
					t.Errorf("%s: seq:%d by time snaps to %d, %v, want %d", name, seq, got.Sequence, err, want)
				}
			}
			if got, err := resolve(t.Context(), when(t, fmt.Sprint("seq:", seq)), player.SnapDefault); err != nil || got.Sequence != seq {
				t.Errorf("%s: seq:%d by itself becomes %d, %v", name, seq, got.Sequence, err)
			}
		}
	}
	if last == 0 {
		t.Fatal("the log has no flush mark")
	}
}

// TestReadsEndWithClose closes a moment while it is read.
func TestReadsEndWithClose(t *testing.T) {
	s := newStore(t)
	s.write(t, 150, 80)
	l := s.player(t)
	ix := openIndex(t, l, "")
	past, err := ix.Past(resolve(t, l, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			b := make([]byte, 100_000)
			for off := int64(0); ; off = (off + 77_777) % (diskSize - 100_000) {
				if past.ReadAt(context.Background(), b, off) != nil {
					return
				}
			}
		})
	}
	if err := past.Close(); err != nil {
		t.Fatal(err)
	}
	if err := past.ReadAt(t.Context(), make([]byte, diskSize), 0); err == nil {
		t.Error("a closed moment is read")
	}
	wg.Wait()
}

// TestPositionsAreTheIndexed reads positions that are sound, and not those that
// the index has: nothing of them is given out.
func TestPositionsAreTheIndexed(t *testing.T) {
	s := newStore(t)
	s.write(t, 100, 81)
	l := s.player(t)
	past := openPast(t, openIndex(t, l, ""), resolve(t, l, "latest"))
	past.Misindex()
	if err := past.ReadAt(t.Context(), make([]byte, diskSize), 0); tlog.ClassOf(err) != tlog.Corrupt {
		t.Errorf("read: %v, want one of class corrupt", err)
	}
	if _, err := past.Restore(t.Context(), newTarget(t, 0), player.RestoreOptions{Fresh: true}); tlog.ClassOf(err) != tlog.Corrupt {
		t.Errorf("restore: %v, want one of class corrupt", err)
	}
}
