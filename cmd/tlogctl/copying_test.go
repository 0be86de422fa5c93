package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tlog"
	"tlog/client"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

const sourceSize = 4 << 20

// newSource logs n random operations of a disk, and returns what makes the disk
// after a record: the disks are not kept, for the sake of memory.
func newSource(t testing.TB, dir string, vdisk tlog.VdiskID, n int, seed uint64) (after func(tlog.Sequence) []byte) {
	t.Helper()
	a := opened(t, dir)
	c, err := a.Attach(t.Context(), client.Config{Vdisk: vdisk, DiskSize: sourceSize})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	var log []change
	for i := range n {
		size := uint32(1 + rng.IntN(100_000))
		off := rng.Uint64N(sourceSize - uint64(size))
		op, data := tlog.OpWrite, make([]byte, size)
		switch rng.IntN(5) {
		case 0:
			op, data = tlog.OpTrim, nil
		default:
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
		}
		seq, err := c.Append(t.Context(), op, off, size, data)
		if err == nil && i%12 == 11 { // at least so many positions, however fast this is
			err = c.FlushTo(t.Context(), seq)
		}
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, change{off, uint64(size), data})
	}
	if err := errors.Join(a.Detach(t.Context(), c), a.Close()); err != nil {
		t.Fatal(err)
	}
	return func(seq tlog.Sequence) []byte {
		disk := make([]byte, sourceSize)
		for _, c := range log[:seq] {
			c.apply(disk)
		}
		return disk
	}
}

// saved is a file that holds b.
func saved(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// repeat logs the first n records of a log as those of another, as its
// beginning that was interrupted there: one with the origin of like.
func repeat(t testing.TB, dir string, like, from, to tlog.VdiskID, n int, id tlog.UUID) {
	t.Helper()
	a := opened(t, dir)
	open := func(name tlog.VdiskID) *player.Log {
		l, err := player.Open(t.Context(), a.Pool, a.Keys, name, player.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open(from)
	c, err := a.Attach(t.Context(), client.Config{Vdisk: to, DiskSize: l.Info().DiskSize, Origin: open(like).Info().Origin, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	err = l.Replay(t.Context(), 0, tlog.Hash{}, tlog.Sequence(n), func(r *tlog.Record) error {
		_, err := c.Append(t.Context(), r.Operation, r.Offset, r.Size, r.Data)
		return err
	})
	if err := errors.Join(err, a.Detach(t.Context(), c), a.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestCopy copies moments of a disk: each is the disk of that moment.
func TestCopy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	after := newSource(t, dir, "vm", 60, 1)
	mustCtl(t, dir, "bookmark", "vm", "here", "--at", "seq:20")
	for at, n := range map[string]tlog.Sequence{"latest": 60, "seq:1": 1, "seq:33": 33, "bookmark:here": 20} {
		vdisk := fmt.Sprint("copy-", n)
		mustCtl(t, dir, "copy", "vm", vdisk, "--at", at)
		sameDisk(t, dir, vdisk, "latest", saved(t, after(n)))
		seen := make([]bool, sourceSize)
		for _, r := range records(t, dir, vdisk) {
			for i := r.Offset; i < r.End(); i++ {
				if seen[i] {
					t.Fatalf("%s: byte %d is logged twice", vdisk, i)
				}
				seen[i] = true
			}
		}
	}
	sameDisk(t, dir, "vm", "latest", saved(t, after(60)))
	if out := mustCtl(t, dir, "info", "copy-33"); !strings.Contains(out, "begun with") || !strings.Contains(out, "vdisk vm (") || strings.Contains(out, "does not have") {
		t.Errorf("the copy's info does not name its origin:\n%s", out)
	}
	if out := mustCtl(t, dir, "info", "vm"); strings.Contains(out, "begun with") {
		t.Errorf("a vdisk without origin names one:\n%s", out)
	}
	refused(t, dir, storage.ExitFailed, "records already", "copy", "vm", "copy-1")
	refused(t, dir, storage.ExitFailed, "is whole already", "copy", "vm", "copy-1", "--at", "seq:1", "--resume")
	repeat(t, dir, "copy-33", "vm", "odd", 1, (&newLog{verb: "copy", vdisk: "odd"}).id())
	refused(t, dir, storage.ExitIntegrity, "is not what comes there", "copy", "vm", "odd", "--at", "seq:33", "--resume")
	refused(t, dir, storage.ExitUsage, "to itself", "copy", "vm", "vm")
	refused(t, dir, storage.ExitUsage, "holds the pool's bookmarks", "copy", "vm", ".bookmarks")
	refused(t, dir, storage.ExitFailed, "no such vdisk", "copy", "none", "new")
	refused(t, dir, storage.ExitFailed, "covers seq:1 to seq:60", "copy", "vm", "new", "--at", "seq:61")
}

// TestCopyResume goes on with copies that were interrupted anywhere, while the
// source goes on too; not with those of another moment.
func TestCopyResume(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	after := newSource(t, dir, "vm", 60, 2)
	mustCtl(t, dir, "copy", "vm", "whole", "--at", "seq:50")
	want := records(t, dir, "whole")
	for _, n := range []int{1, len(want) / 2, len(want) - 1} {
		vdisk := tlog.VdiskID(fmt.Sprint("copy-", n))
		id := (&newLog{verb: "copy", vdisk: vdisk}).id()
		repeat(t, dir, "whole", "whole", vdisk, n, id)
		refused(t, dir, storage.ExitFailed, "was begun with position", "copy", "vm", string(vdisk), "--at", "seq:10", "--resume")
		if got := records(t, dir, string(vdisk)); len(got) != n {
			t.Fatalf("what was refused made %d records of %d", len(got), n)
		}
		mustCtl(t, dir, "copy", "vm", string(vdisk), "--at", "seq:50", "--resume")
		sameDisk(t, dir, string(vdisk), "latest", saved(t, after(50)))
		if got := records(t, dir, string(vdisk)); len(got) != len(want) {
			t.Errorf("resumed after %d records: %d, want %d", n, len(got), len(want))
		}
	}
	repeat(t, dir, "whole", "whole", "theirs", 2, tlog.UUID{9})
	refused(t, dir, storage.ExitFenced, "another client", "copy", "vm", "theirs", "--at", "seq:50", "--resume")
}
