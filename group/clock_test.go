package group

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func openClock(t testing.TB, cfg Config) *Clock {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// The clock gives the host's time, and never less than it gave.
func TestNext(t *testing.T) {
	now := time.Unix(1000, 0)
	c := openClock(t, Config{Dir: t.TempDir(), Name: "g", Now: func() time.Time { return now }})
	second := uint64(time.Second)
	for _, step := range []struct {
		at   int64
		want uint64
	}{{1001, 1001 * second}, {1001, 1001*second + 1}, {900, 1001*second + 2}, {1002, 1002 * second}} {
		now = time.Unix(step.at, 0)
		if got := c.Next(); got != step.want || c.Last() != got {
			t.Errorf("at %d: %d, want %d", step.at, got, step.want)
		}
	}
	c.Raise(5)
	c.Raise(2000 * second)
	if got := c.Next(); got != 2000*second+1 {
		t.Errorf("raised: %d", got)
	}
	c.Raise(1000 * second)
	if got := c.Next(); got != 2000*second+2 {
		t.Errorf("not lowered: %d", got)
	}
}

// Attachments in one process share the clock too, and nobody gets a value twice.
func TestShared(t *testing.T) {
	dir := t.TempDir()
	const each = 500_000 // so that they meet, also on a busy machine
	var all [4][]uint64
	var wg sync.WaitGroup
	first := openClock(t, Config{Dir: dir, Name: "g"})
	first.Raise(first.Next() + uint64(time.Hour)) // so that values differ by one
	for i := range all {
		c := openClock(t, Config{Dir: dir, Name: "g"})
		wg.Go(func() {
			for range each {
				all[i] = append(all[i], c.Next())
			}
		})
	}
	wg.Wait()
	var merged []uint64
	for _, values := range all {
		if !slices.IsSorted(values) {
			t.Error("values decrease")
		}
		merged = append(merged, values...)
	}
	slices.Sort(merged)
	if n := len(slices.Compact(merged)); n != len(all)*each {
		t.Errorf("%d different values of %d", n, len(all)*each)
	}
}

// Those that make a clock at once make one.
func TestOpenAtOnce(t *testing.T) {
	for range 30 {
		dir := t.TempDir()
		clocks := make([]*Clock, 16)
		var wg sync.WaitGroup
		for i := range clocks {
			wg.Go(func() { clocks[i] = openClock(t, Config{Dir: dir, Name: "g"}) })
		}
		wg.Wait()
		last := clocks[0].Next()
		for i, c := range clocks {
			if c.Last() != last {
				t.Fatalf("attachment %d is at %d, not at %d", i, c.Last(), last)
			}
		}
	}
}

// A clock is found again by its name; each attachment has a stamp of its own.
func TestReopen(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "new", "dir"), Name: "g"}
	a := openClock(t, cfg)
	last := a.Next()
	b := openClock(t, cfg)
	if b.Stamp() == a.Stamp() || !b.Stamp().SameClock(a.Stamp()) || b.Last() != last || b.Name() != "g" {
		t.Errorf("%v, %v; last %d, want %d", a.Stamp(), b.Stamp(), b.Last(), last)
	}
	cfg.Name = "h"
	if c := openClock(t, cfg); c.Stamp().SameClock(a.Stamp()) {
		t.Errorf("%v and %v", a.Stamp(), c.Stamp())
	}
	if files, err := os.ReadDir(cfg.Dir); err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
	for _, name := range []string{"", "a/b", strings.Repeat("x", 129)} {
		if _, err := Open(Config{Dir: cfg.Dir, Name: name}); err == nil {
			t.Errorf("%q accepted", name)
		}
	}
	long := strings.Repeat("x", 128)
	if c := openClock(t, Config{Dir: cfg.Dir, Name: long}); c.Name() != long || !c.Stamp().Of(long) {
		t.Error("a name of 128 bytes")
	}
}

// A clock of an earlier boot may have lost its last values: it is replaced by
// one with another stamp, which goes on from what is left of it.
func TestOtherBoot(t *testing.T) {
	now := time.Unix(5000, 0)
	cfg := Config{Dir: t.TempDir(), Name: "g", Now: func() time.Time { return now }}
	a := openClock(t, cfg)
	last := a.Next()
	path := filepath.Join(cfg.Dir, "g.clock")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[offBoot:], "00000000-another")
	binary.LittleEndian.PutUint32(b[offSum:], fixedSum(b))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	now = time.Unix(4000, 0)
	c := openClock(t, cfg)
	if c.Stamp().SameClock(a.Stamp()) {
		t.Errorf("%v and %v", a.Stamp(), c.Stamp())
	}
	if got := c.Next(); got <= last {
		t.Errorf("%d after %d", got, last)
	}
}

// What is not a sound clock of the group is refused, and left as it is.
func TestRefusedFiles(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Name: "g"}
	path := filepath.Join(cfg.Dir, "g.clock")
	openClock(t, cfg)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(off int, v byte) []byte {
		b := slices.Clone(good)
		b[off] ^= v
		return b
	}
	other := slices.Clone(good)
	other[offName] = 'h'
	binary.LittleEndian.PutUint32(other[offSum:], fixedSum(other))
	cases := map[string][]byte{
		"empty": {}, "short": good[:100], "long": append(slices.Clone(good), 0),
		"magic": change(0, 1), "version": change(offVersion, 3), "other group": other,
	}
	for off := offSum; off < endFixed; off++ {
		cases["bit of byte "+string(rune('0'+off/100))+string(rune('0'+off/10%10))+string(rune('0'+off%10))] = change(off, 1<<(off%8))
	}
	for name, b := range cases {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(cfg); !errors.Is(err, ErrClock) {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(path); err != nil || !slices.Equal(now, b) {
			t.Errorf("%s: the file was changed, %v", name, err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	c := openClock(b, Config{Dir: b.TempDir(), Name: "g"})
	b.ReportAllocs()
	for b.Loop() {
		c.Next()
	}
}
