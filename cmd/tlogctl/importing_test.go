package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tlog"
	"tlog/client"
	"tlog/cmd/internal/attach"
	"tlog/cmd/internal/image"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

// ctl runs a command line of tlogctl on an embedded store and returns what it
// printed to standard output.
func ctl(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := command()
	var out bytes.Buffer
	cmd.SetArgs(append(args, "--data-dir", dir, "--index", dir+".index"))
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

func mustCtl(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := ctl(t.Context(), dir, args...)
	if err != nil {
		t.Fatalf("tlogctl %v: %v", args, err)
	}
	return out
}

// refused wants that a command line fails with that exit code, and says so.
func refused(t testing.TB, dir string, code int, says string, args ...string) {
	t.Helper()
	_, err := ctl(t.Context(), dir, args...)
	if storage.ExitCode(err) != code || err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("tlogctl %v: %v (exit code %d), want %d and %q", args, err, storage.ExitCode(err), code, says)
	}
}

// newImage makes a raw image with data and zeroes in it.
func newImage(t testing.TB, seed uint64, size int) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, size)
	for at := 0; at < size; {
		n := min(size-at, 1+rng.IntN(300_000))
		if rng.IntN(2) == 0 {
			for i := range n {
				b[at+i] = byte(rng.Uint32())
			}
		}
		at += n
	}
	path := filepath.Join(t.TempDir(), "image.raw")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sameDisk wants that a moment of a vdisk is the image, and zeroes behind it.
func sameDisk(t testing.TB, dir, vdisk, at, image string) {
	t.Helper()
	got := filepath.Join(t.TempDir(), "restored.raw")
	mustCtl(t, dir, "restore", vdisk, "--to", got, "--at", at)
	a, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) < len(b) || !bytes.Equal(a[:len(b)], b) || !bytes.Equal(a[len(b):], make([]byte, len(a)-len(b))) {
		t.Errorf("vdisk %s at %s is not %s (%d and %d bytes)", vdisk, at, image, len(a), len(b))
	}
}

// opened opens the store as the writing verbs do.
func opened(t testing.TB, dir string) *attach.Access {
	t.Helper()
	a, err := new(attach.Flags).Open(t.Context(), &storage.Flags{DataDir: dir, ParityShards: -1}, attach.Makes, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// records lists a log's records without their data.
func records(t testing.TB, dir, vdisk string) []tlog.Record {
	t.Helper()
	a := opened(t, dir)
	l, err := player.Open(t.Context(), a.Pool, a.Keys, tlog.VdiskID(vdisk), player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var list []tlog.Record
	err = l.Replay(t.Context(), 0, tlog.Hash{}, l.Info().Last, func(r *tlog.Record) error {
		c := *r
		c.Data = nil
		list = append(list, c)
		return nil
	})
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	return list
}

// begin logs the first n pieces of an image as an import that is interrupted
// there would have; id is the client's.
func begin(t testing.TB, dir, path string, vdisk tlog.VdiskID, n int, id tlog.UUID) {
	t.Helper()
	a := opened(t, dir)
	img, err := image.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Attach(t.Context(), client.Config{Vdisk: vdisk, DiskSize: uint64(img.Size), ID: id})
	if err != nil {
		t.Fatal(err)
	}
	next, stop := iter.Pull2(img.Pieces(t.Context()))
	for range n {
		p, err, ok := next()
		if err != nil || !ok {
			t.Fatalf("the image has less than %d pieces (%v)", n, err)
		}
		if _, err := c.Append(t.Context(), tlog.OpWrite, uint64(p.Off), uint32(len(p.Data)), p.Data); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := errors.Join(a.Detach(t.Context(), c), img.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
}

func importer(vdisk tlog.VdiskID) tlog.UUID { return (&newLog{verb: "import", vdisk: vdisk}).id() }

func TestImport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := newImage(t, 1, 5<<20)
	if out := mustCtl(t, dir, "import", path, "vm"); !strings.Contains(out, "imported") {
		t.Errorf("printed %q", out)
	}
	sameDisk(t, dir, "vm", "latest", path)
	list := records(t, dir, "vm")
	for i, r := range list {
		if op := tlog.OpWrite; i == len(list)-1 && r.Operation != tlog.OpFlush || i < len(list)-1 && (r.Operation != op || i > 0 && r.Offset < list[i-1].End()) {
			t.Errorf("record %d of %d is a %v at %d", r.Sequence, len(list), r.Operation, r.Offset)
		}
	}
	mustCtl(t, dir, "import", path, "larger", "--size", "6M")
	sameDisk(t, dir, "larger", "latest", path)

	refused(t, dir, storage.ExitFailed, fmt.Sprintf("has %d records already", len(list)), "import", path, "vm")
	refused(t, dir, storage.ExitFailed, "is whole already", "import", path, "vm", "--resume")
	refused(t, dir, storage.ExitUsage, "the image has", "import", path, "other", "--size", "1M")
	refused(t, dir, storage.ExitUsage, "multiple of 512", "import", path, "other", "--size", "7777777")
	refused(t, dir, storage.ExitUsage, "vdisk name", "import", path, "not/a/name")
	if got := records(t, dir, "vm"); len(got) != len(list) {
		t.Errorf("refused imports made %d records of %d", len(got), len(list))
	}
}

// TestImportResume goes on with imports that were interrupted after any number
// of pieces: the log is the one that an import in one go makes.
func TestImportResume(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := newImage(t, 2, 5<<20)
	mustCtl(t, dir, "import", path, "whole")
	want := records(t, dir, "whole")
	for _, n := range []int{0, 1, len(want) / 2, len(want) - 1} {
		vdisk := tlog.VdiskID(fmt.Sprint("vm-", n))
		begin(t, dir, path, vdisk, n, importer(vdisk))
		if n > 0 {
			refused(t, dir, storage.ExitFailed, "--resume", "import", path, string(vdisk))
		}
		mustCtl(t, dir, "import", path, string(vdisk), "--resume")
		sameDisk(t, dir, string(vdisk), "latest", path)
		got := records(t, dir, string(vdisk))
		if len(got) != len(want) {
			t.Fatalf("resumed after %d pieces: %d records, want %d", n, len(got), len(want))
		}
		for i := range got {
			if got[i].Offset != want[i].Offset || got[i].Hash != want[i].Hash || got[i].Operation != want[i].Operation {
				t.Errorf("resumed after %d pieces: record %d differs", n, i+1)
			}
		}
	}
}

// TestImportResumeRefuses goes on with what must not be gone on with.
func TestImportResumeRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path, other := newImage(t, 3, 5<<20), newImage(t, 4, 5<<20)
	begin(t, dir, path, "vm", 3, importer("vm"))
	refused(t, dir, storage.ExitIntegrity, "record 1", "import", other, "vm", "--resume")
	begin(t, dir, path, "theirs", 3, tlog.UUID{9})
	refused(t, dir, storage.ExitFenced, "another client", "import", path, "theirs", "--resume")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list := records(t, dir, "vm")
	b[list[2].Offset+77]++ // in data, which stays data
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, storage.ExitIntegrity, "record 3", "import", path, "vm", "--resume")
	clear(b[list[2].Offset:]) // the image ends before the log does
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, storage.ExitIntegrity, "record 3 (write", "import", path, "vm", "--resume")
	if err := os.WriteFile(path, b[:4<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, storage.ExitFailed, "5242880", "import", path, "vm", "--resume")
	for _, vdisk := range []string{"vm", "theirs"} {
		if got := records(t, dir, vdisk); len(got) != 3 {
			t.Errorf("vdisk %s has %d records after what was refused, want 3", vdisk, len(got))
		}
	}
}
