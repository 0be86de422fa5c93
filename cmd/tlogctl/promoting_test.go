package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/past"
	"tlog/player"
)

// overlay writes n random things over a moment of a vdisk, which has that
// content, and returns the overlay's file and the disk as it is then. change
// makes of the moment what the overlay says it lies on.
func overlay(t testing.TB, dir string, vdisk tlog.VdiskID, s tlog.Sequence, content []byte, n int, change func(*past.Moment)) (string, []byte) {
	t.Helper()
	a := opened(t, dir)
	l, err := player.Open(t.Context(), a.Pool, a.Keys, vdisk, player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ix, err := l.OpenIndex(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ix.Point(s)
	if err != nil {
		t.Fatal(err)
	}
	below, err := ix.Past(p)
	if err != nil {
		t.Fatal(err)
	}
	from, err := originOf(t.Context(), l, p)
	if err != nil {
		t.Fatal(err)
	}
	m := past.Moment{Vdisk: vdisk, UUID: from.Vdisk, Sequence: s, Position: p.Position, Digest: from.Digest, Size: below.Size(), Time: p.Time}
	change(&m)
	path := filepath.Join(t.TempDir(), "overlay")
	d, err := past.Open(past.Config{Moment: m, Source: below, Overlay: path})
	if err != nil {
		t.Fatal(err)
	}
	disk := writeOver(t, d, content, n)
	if err := errors.Join(d.Close(), below.Close(), ix.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	return path, disk
}

func writeOver(t testing.TB, d *past.Disk, content []byte, n int) []byte {
	t.Helper()
	disk := append([]byte(nil), content...)
	rng := rand.New(rand.NewPCG(uint64(n), 5))
	for i := range n {
		part := disk[rng.IntN(len(disk)):]
		most := 60_000
		if i%10 == 1 {
			most = 2_000_000 // more than a record takes
		}
		part = part[:1+rng.IntN(min(len(part), most))]
		off := int64(cap(disk) - cap(part))
		if i%3 == 0 {
			clear(part)
			if err := d.Zero(t.Context(), off, int64(len(part))); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for i := range part {
			part[i] = byte(rng.Uint32())
		}
		if err := d.WriteAt(t.Context(), part, off); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

func as(*past.Moment) {}

// TestPromote makes vdisks of overlays: their disks are what the overlays
// showed, each byte logged once, and they say where they came from.
func TestPromote(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	after := newSource(t, dir, "vm", 40, 3)
	for name, c := range map[string]struct {
		at     tlog.Sequence
		writes int
	}{"little": {40, 5}, "much": {17, 200}, "nothing": {9, 0}} {
		file, disk := overlay(t, dir, "vm", c.at, after(c.at), c.writes, as)
		mustCtl(t, dir, "promote", file, name)
		sameDisk(t, dir, name, "latest", saved(t, disk))
		seen := make([]bool, len(disk))
		for _, r := range records(t, dir, name) {
			for i := r.Offset; i < r.End(); i++ {
				if seen[i] {
					t.Fatalf("%s: byte %d is logged twice", name, i)
				}
				seen[i] = true
			}
		}
		if out := mustCtl(t, dir, "info", name); !strings.Contains(out, "begun with") || !strings.Contains(out, "vdisk vm (") {
			t.Errorf("%s: info does not name the origin:\n%s", name, out)
		}
		mustCtl(t, dir, "verify", name)
		refused(t, dir, storage.ExitFailed, "records already", "promote", file, name)
	}
	sameDisk(t, dir, "vm", "latest", saved(t, after(40)))
}

// TestPromoteResume goes on with a promotion that was interrupted.
func TestPromoteResume(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	after := newSource(t, dir, "vm", 40, 4)
	file, disk := overlay(t, dir, "vm", 30, after(30), 40, as)
	mustCtl(t, dir, "promote", file, "whole")
	want := records(t, dir, "whole")
	for _, n := range []int{1, len(want) / 2, len(want) - 1} {
		vdisk := tlog.VdiskID(fmt.Sprint("part-", n))
		repeat(t, dir, "whole", "whole", vdisk, n, (&newLog{verb: "promote", vdisk: vdisk}).id())
		mustCtl(t, dir, "promote", file, string(vdisk), "--resume")
		sameDisk(t, dir, string(vdisk), "latest", saved(t, disk))
		if got := records(t, dir, string(vdisk)); len(got) != len(want) {
			t.Errorf("resumed after %d records: %d, want %d", n, len(got), len(want))
		}
	}
}

// TestPromoteRefuses takes no overlay of another history, pool or kind, nor one
// that is mounted.
func TestPromoteRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	after := newSource(t, dir, "vm", 10, 5)
	for says, c := range map[string]struct {
		code   int
		change func(*past.Moment)
	}{
		"another history": {storage.ExitIntegrity, func(m *past.Moment) { m.Digest[3]++ }},
		"another pool":    {storage.ExitFailed, func(m *past.Moment) { m.UUID[3]++ }},
		"ends at seq:10":  {storage.ExitIntegrity, func(m *past.Moment) { m.Sequence = 11 }},
		"no such vdisk":   {storage.ExitFailed, func(m *past.Moment) { m.Vdisk = "gone" }},
	} {
		file, _ := overlay(t, dir, "vm", 10, after(10), 3, c.change)
		refused(t, dir, c.code, says, "promote", file, "new")
	}
	refused(t, dir, storage.ExitFailed, "neither an overlay", "promote", saved(t, after(1)), "new")
	file, _ := overlay(t, dir, "vm", 10, after(10), 3, as)
	mounted, err := past.OpenOverlay(file)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, dir, storage.ExitFailed, file, "promote", file, "new")
	if err := mounted.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, storage.ExitUsage, "holds the pool's bookmarks", "promote", file, ".bookmarks")
	mustCtl(t, dir, "promote", file, "new")
}

// TestRanges compares what is without with an array of bytes.
func TestRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	for range 300 {
		var held [64]bool
		var r ranges
		for at := rng.Int64N(4); at < 64; at += 1 + rng.Int64N(9) {
			n := min(64-at, 1+rng.Int64N(5))
			r.add(at, n)
			for i := at; i < at+n; i++ {
				held[i] = true
			}
			at += n - 1
		}
		from := rng.Int64N(64)
		to := from + 1 + rng.Int64N(64-from)
		var got [64]int
		for a, b := range r.without(from, to) {
			if a >= b || a < from || b > to {
				t.Fatalf("%v without: %d…%d of %d…%d", r, a, b, from, to)
			}
			for i := a; i < b; i++ {
				got[i]++
			}
		}
		for i := range int64(64) {
			if want := i >= from && i < to && !held[i]; got[i] > 1 || (got[i] == 1) != want {
				t.Fatalf("%v without %d…%d: byte %d is given %d times, want %v", r, from, to, i, got[i], want)
			}
		}
	}
}
