package player_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tlog"
	"tlog/player"
)

// restoreFunc restores a moment in one of the two ways.
type restoreFunc func(context.Context, player.Target, player.RestoreOptions) (*player.Report, error)

// TestRestoreGoesOn ends restores anywhere, again and again, and goes on where
// they were saved last: every byte is written, and none twice.
func TestRestoreGoesOn(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 150, 50)
	l := s.player(t)
	ix := openIndex(t, l, "")
	rng := rand.New(rand.NewPCG(51, 1))
	for round := range 40 {
		seq := 20 + rng.IntN(m.last()-19)
		restore := eitherWay(t, ix, resolve(t, l, fmt.Sprint("seq:", seq)), round)
		g, floor, endings := newTarget(t, 0), tlog.Position(0), 0
		for {
			ctx, cancel := context.WithCancel(t.Context())
			left := rng.IntN(8)
			o := player.RestoreOptions{Fresh: true, Below: floor, SaveEvery: 1 + rng.Int64N(100<<10),
				Save: func(p tlog.Position) error {
					if floor != 0 && p >= floor {
						t.Errorf("round %d: saved at position %d after %d", round, p, floor)
					}
					floor = p
					return nil
				},
				Progress: func(player.Progress) {
					if left--; left < 0 {
						cancel()
					}
				}}
			_, err := restore(ctx, g, o)
			cancel()
			if err == nil {
				break
			}
			if endings++; !errors.Is(err, context.Canceled) || endings > 1000 {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if !bytes.Equal(g.b, m.after(seq)) {
			t.Errorf("round %d: seq:%d after %d endings differs from the model", round, seq, endings)
		}
	}
}

// TestPauses: a save after 64 MiB at first, and then after half as much again, up
// to a GiB.
func TestPauses(t *testing.T) {
	for saved, want := range map[int64]int64{0: 64 << 20, 64 << 20: 64 << 20, 128 << 20: 64 << 20, 300 << 20: 150 << 20, 1 << 30: 512 << 20, 2 << 30: 1 << 30, 1 << 40: 1 << 30} {
		if got := player.Pause(64<<20, saved); got != want {
			t.Errorf("after a save at %d bytes: %d, want %d", saved, got, want)
		}
	}
}

// eitherWay restores a moment by a map of it, or by the index, in pieces of some size.
func eitherWay(t *testing.T, ix *player.Index, p player.Point, n int) restoreFunc {
	if n%2 == 0 {
		return openPast(t, ix, p).Restore
	}
	ix.Piecemeal(n)
	return func(ctx context.Context, g player.Target, o player.RestoreOptions) (*player.Report, error) {
		return ix.Restore(ctx, p, g, o)
	}
}

// TestNothingIsSavedOfAFullDisk has a target that takes so much and no more: what
// it did not take is not behind the floor.
func TestNothingIsSavedOfAFullDisk(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 150, 55)
	l := s.player(t)
	p := resolve(t, l, "latest")
	ix := openIndex(t, l, "")
	live, _, _, err := ix.Need(p)
	if err != nil {
		t.Fatal(err)
	}
	for room := 0; room < int(live); room += 40 << 10 {
		restore := eitherWay(t, ix, p, room/(40<<10))
		full := &fullTarget{target: newTarget(t, 0), room: room}
		floor := tlog.Position(0)
		o := player.RestoreOptions{Fresh: true, SaveEvery: 60 << 10, Save: func(p tlog.Position) error { floor = p; return nil }}
		if _, err := restore(t.Context(), full, o); !errors.Is(err, errFull) {
			t.Fatalf("room for %d bytes: %v", room, err)
		}
		o.Below, full.written = floor, make([]byte, diskSize) // what is not behind the floor is written again
		if _, err := restore(t.Context(), full.target, o); err != nil || !bytes.Equal(full.b, m.disk) {
			t.Errorf("room for %d bytes: from position %d on the disk is the model: %v, %v", room, floor, bytes.Equal(full.b, m.disk), err)
		}
	}
}

var errFull = errors.New("full")

type fullTarget struct {
	*target
	room int
}

func (f *fullTarget) WriteAt(b []byte, off int64) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errFull
	}
	return f.target.WriteAt(b, off)
}

// TestBestEffort loses positions on all servers. A restore ends and names the
// first; of best effort it tells what of the disk is not what it was: by an index
// exactly, without one no byte too few.
func TestBestEffort(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 150, 60)
	dir := t.TempDir()
	ix, err := s.player(t).OpenIndex(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	head := ix.State().Positions
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	lost := map[tlog.Position]bool{head / 2: true, head/2 + 1: true, head - 3: true}
	for p := range lost {
		s.losePosition(t, p)
	}
	l := s.player(t)
	p := resolve(t, l, "latest")
	ix = openIndex(t, l, dir)
	ix.Piecemeal(20)
	restores := byIndex(ix, openPast(t, ix, p))
	restores["log"] = func(ctx context.Context, g player.Target, o player.RestoreOptions) (*player.Report, error) {
		return l.Restore(ctx, p, g, o)
	}
	for name, restore := range restores {
		for _, fresh := range []bool{true, false} {
			fill := byte(0xee)
			if fresh {
				fill = 0
			}
			_, err := restore(t.Context(), newTarget(t, fill), player.RestoreOptions{Fresh: fresh})
			if tlog.ClassOf(err) != tlog.Corrupt || !namesOne(err, lost) {
				t.Errorf("%s: %v, want one that names a lost position", name, err)
			}
			g := newTarget(t, fill)
			report, err := restore(t.Context(), g, player.RestoreOptions{Fresh: fresh, BestEffort: true, SaveEvery: 1, Save: func(floor tlog.Position) error {
				if floor <= head-3 && name == "log" {
					t.Errorf("saved at position %d, behind a lost one", floor)
				}
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			compareEffort(t, name, g.b, m.disk, report, lost)
		}
	}
}

// namesOne reports whether err names one of positions; which of them a restore
// needs first depends on how the records fell into positions.
func namesOne(err error, positions map[tlog.Position]bool) bool {
	for p := range positions {
		if strings.Contains(err.Error(), fmt.Sprintf("position %d:", p)) {
			return true
		}
	}
	return false
}

func compareEffort(t *testing.T, name string, got, want []byte, r *player.Report, lost map[tlog.Position]bool) {
	t.Helper()
	// A position without live data is none that an index looks for.
	if n := len(r.Lost); n == 0 || n > len(lost) || name == "log" && n < len(lost) || len(r.Missing) == 0 {
		t.Errorf("%s: %d positions lost, %d parts missing, want %d positions", name, n, len(r.Missing), len(lost))
	}
	expect, end := bytes.Clone(want), uint64(0)
	for _, m := range r.Missing {
		if !lost[m.Position] || m.Offset < end || m.Older != (name == "log") {
			t.Errorf("%s: missing %+v behind %d", name, m, end)
		}
		end = m.Offset + m.Size
		if m.Older {
			copy(expect[m.Offset:end], got[m.Offset:end])
		} else {
			clear(expect[m.Offset:end])
		}
	}
	if !bytes.Equal(got, expect) {
		t.Errorf("%s: where nothing is missing, the disk differs from the model", name)
	}
	if bytes.Equal(got, want) {
		t.Errorf("%s: the loss made no difference: the test is worth nothing", name)
	}
}

// TestIndexKeepsWhatItRead cannot read a position: an index has those before it,
// and does not read them again.
func TestIndexKeepsWhatItRead(t *testing.T) {
	s := newStore(t)
	s.write(t, 100, 61)
	l, dir := s.player(t), t.TempDir()
	lost := l.Info().Positions / 2
	s.losePosition(t, lost)
	for range 2 {
		if _, err := s.player(t).OpenIndex(t.Context(), dir, nil); tlog.ClassOf(err) != tlog.Corrupt {
			t.Errorf("index of a log without position %d: %v", lost, err)
		}
		if st, err := l.IndexState(t.Context(), dir); err != nil || st.Positions != lost-1 {
			t.Errorf("the index has %d positions, %v; want %d", st.Positions, err, lost-1)
		}
	}
}

// losePosition damages a position's shards on all servers.
func (s *store) losePosition(t testing.TB, pos tlog.Position) {
	t.Helper()
	damaged := 0
	for _, d := range s.dirs {
		files, err := filepath.Glob(filepath.Join(d, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; ; at += 5 {
				i := bytes.Index(b[at:], []byte("TLOG\x01"))
				if i < 0 {
					break
				}
				at += i
				if at+101 < len(b) && binary.LittleEndian.Uint64(b[at+24:]) == uint64(pos) {
					b[at+100] ^= 1
					damaged++
				}
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if damaged == 0 {
		t.Fatalf("position %d is nowhere", pos)
	}
}
