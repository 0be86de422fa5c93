package player_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/player"
	"tlog/stor"
)

func resolve(t testing.TB, l *player.Log, when string) player.Point {
	t.Helper()
	w, err := player.ParseWhen(when, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Resolve(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRestoreEveryMoment restores to every sequence, and to the time of each
// record, onto a target that is not empty.
func TestRestoreEveryMoment(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 120, 1)
	l := s.player(t)
	if got, want := int(l.Info().Last), m.last(); got != want {
		t.Fatalf("the log ends at %d, want %d", got, want)
	}
	for seq := 1; seq <= m.last(); seq++ {
		p := resolve(t, l, fmt.Sprint("seq:", seq))
		byTime := resolve(t, l, p.Time.UTC().Format(time.RFC3339Nano))
		justAfter := resolve(t, l, p.Time.Add(time.Nanosecond).UTC().Format(time.RFC3339Nano))
		if byTime != p || justAfter != p {
			t.Errorf("seq:%d: by time %+v, just after %+v, want %+v", seq, byTime, justAfter, p)
		}
		g := newTarget(t, 0xee)
		if _, err := l.Restore(t.Context(), p, g, player.RestoreOptions{}); err != nil {
			t.Fatalf("seq:%d: %v", seq, err)
		}
		if !bytes.Equal(g.b, m.after(seq)) {
			t.Errorf("seq:%d: the restored disk differs from the model", seq)
		}
	}
}

func TestMomentsOutsideTheLog(t *testing.T) {
	s := newStore(t)
	s.write(t, 20, 2)
	l := s.player(t)
	last := l.Info().LastTime
	for _, when := range []string{"seq:0", "seq:1000000", "-48h", "2001-01-01T00:00:00Z", time.Now().Add(time.Hour).Format(time.RFC3339)} {
		w, err := player.ParseWhen(when, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Resolve(t.Context(), w)
		if !errors.Is(err, player.ErrRange) || !strings.Contains(err.Error(), "covers seq:1 to seq:") {
			t.Errorf("%s: %v, want one that shows the range", when, err)
		}
	}
	if p := resolve(t, l, last.Add(time.Minute).Format(time.RFC3339)); p.Sequence != l.Info().Last {
		t.Errorf("a time after the last record, not in the future, is seq:%d, want the last", p.Sequence)
	}
}

// TestRestoreAroundLosses takes shard servers away, one after the other.
func TestRestoreAroundLosses(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 100, 3)
	remove(t, s.dirs[1])
	damaged := s.dirs[2]
	if flip(t, damaged) == 0 { // it is the spare of this log
		damaged = s.dirs[3]
		flip(t, damaged)
	}
	l := s.player(t)
	p := resolve(t, l, "latest")
	g := newTarget(t, 0)
	report, err := l.Restore(t.Context(), p, g, player.RestoreOptions{Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g.b, m.disk) {
		t.Error("the restored disk differs from the model")
	}
	named := map[string]bool{}
	for _, d := range report.Damaged {
		named[d.Server] = true
	}
	if !named[s.dirs[1]] || !named[damaged] {
		t.Errorf("the report names %v, want %s and %s", named, s.dirs[1], damaged)
	}
	verified, err := l.Verify(t.Context(), nil)
	if err != nil || len(verified.Damaged) == 0 {
		t.Errorf("verify of a damaged log that reads whole: %d damages, %v", len(verified.Damaged), err)
	}

	// The third server may be the spare, which holds nothing of this log; R
	// servers must answer all the same.
	remove(t, s.dirs[0])
	remove(t, s.dirs[2])
	refused(t, s, p, tlog.Unavailable)
}

// TestAllDamaged has every server answer, and none with an undamaged shard.
func TestAllDamaged(t *testing.T) {
	s := newStore(t)
	s.write(t, 100, 6)
	p := resolve(t, s.player(t), "latest")
	for _, d := range s.dirs {
		flip(t, d)
	}
	refused(t, s, p, tlog.Corrupt)
}

// TestReplayOfDamaged damages a log under a replay: one that cannot go on says
// so, it does not end early.
func TestReplayOfDamaged(t *testing.T) {
	s := newStore(t)
	s.write(t, 200, 8)
	l := s.player(t)
	last := tlog.Sequence(0)
	err := l.Replay(t.Context(), 0, tlog.Hash{}, l.Info().Last, func(r *tlog.Record) error {
		if last == 0 {
			for _, d := range s.dirs {
				flip(t, d)
			}
		}
		last = r.Sequence
		return nil
	})
	if err == nil || last == 0 || last == l.Info().Last {
		t.Errorf("replay of a log that is damaged meanwhile ends at record %d of %d: %v", last, l.Info().Last, err)
	}
}

// refused checks that the log cannot be restored, for a reason of class want.
func refused(t testing.TB, s *store, p player.Point, want tlog.Class) {
	t.Helper()
	var l *player.Log
	pool, err := stor.Open(t.Context(), stor.Config{Check: check}, s.servers(t, true))
	if err == nil {
		defer pool.Close()
		l, err = player.Open(t.Context(), pool, s.keys, disk, player.Config{})
	}
	if err == nil {
		_, err = l.Restore(t.Context(), p, newTarget(t, 0), player.RestoreOptions{Fresh: true})
	}
	if c := tlog.ClassOf(err); c != want {
		t.Errorf("restore: %v (class %d), want class %d", err, c, want)
	}
}

// flip changes a byte of every stored shard in a directory; it returns how many.
func flip(t testing.TB, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
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
			b[at+100] ^= 1
			flipped++
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return flipped
}

func TestReplay(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 100, 4)
	l := s.player(t)
	last := l.Info().Last
	for _, from := range m.points {
		d := m.after(int(from.Sequence))
		next := from.Sequence + 1
		err := l.Replay(t.Context(), from.Sequence, from.Chain, last, func(r *tlog.Record) error {
			if r.Sequence != next {
				t.Errorf("record %d, want %d", r.Sequence, next)
			}
			next++
			(&change{r.Operation, r.Offset, r.Size, r.Data}).apply(d)
			return nil
		})
		if err != nil || next != last+1 || !bytes.Equal(d, m.disk) {
			t.Fatalf("replay after %d ended before %d: %v", from.Sequence, next, err)
		}
		other := from.Chain
		other[0] ^= 1
		err = l.Replay(t.Context(), from.Sequence, other, last, func(*tlog.Record) error { return nil })
		if tlog.ClassOf(err) != tlog.Corrupt {
			t.Errorf("replay of another history: %v", err)
		}
	}
}

// TestRestoreInLittleMemory reads one position at a time where the memory is
// less than one takes, and many where there are readers for all.
func TestRestoreInLittleMemory(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 100, 7)
	for _, cfg := range []player.Config{{Memory: 1}, {Readers: 1}, {Readers: 100, Memory: 1 << 30}} {
		l, err := player.Open(t.Context(), s.open(t, true), s.keys, disk, cfg)
		if err != nil {
			t.Fatal(err)
		}
		g := newTarget(t, 0xee)
		if _, err := l.Restore(t.Context(), resolve(t, l, "latest"), g, player.RestoreOptions{}); err != nil || !bytes.Equal(g.b, m.disk) {
			t.Errorf("%+v: the restored disk differs from the model: %v", cfg, err)
		}
	}
}

func TestNoVdisk(t *testing.T) {
	s := newStore(t)
	s.write(t, 5, 5)
	_, err := player.Open(t.Context(), s.open(t, true), s.keys, "other", player.Config{})
	if !errors.Is(err, player.ErrNoVdisk) {
		t.Errorf("open of a vdisk that is not there: %v", err)
	}
	list, err := player.List(t.Context(), s.open(t, true))
	if err != nil || len(list) != 1 || list[0].Name != disk {
		t.Errorf("list: %+v, %v", list, err)
	}
}

// TestRestoreThenOn: the disk at a, brought on to b by the records between, is
// the disk at b.
func TestRestoreThenOn(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 90, 5)
	l := s.player(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		last := m.last()
		a := 1 + rng.IntN(last)
		b := a + rng.IntN(last-a+1)
		g := newTarget(t, 0xee)
		if _, err := l.Restore(t.Context(), resolve(t, l, fmt.Sprint("seq:", a)), g, player.RestoreOptions{}); err != nil {
			t.Fatal(err)
		}
		d := g.b
		err := l.Replay(t.Context(), tlog.Sequence(a), tlog.Hash{}, tlog.Sequence(b), func(r *tlog.Record) error {
			(&change{r.Operation, r.Offset, r.Size, r.Data}).apply(d)
			return nil
		})
		if err != nil || !bytes.Equal(d, m.after(b)) || !bytes.Equal(d, restored(t, l, b)) {
			t.Fatalf("from %d on to %d is another disk: %v", a, b, err)
		}
	}
}

func restored(t *testing.T, l *player.Log, seq int) []byte {
	g := newTarget(t, 0xee)
	if _, err := l.Restore(t.Context(), resolve(t, l, fmt.Sprint("seq:", seq)), g, player.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	return g.b
}
