package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tlog"
	"tlog/stor"
)

var (
	testVdisk = tlog.UUID{1}
	testOwner = stor.Owner{Epoch: 1, ID: tlog.UUID{1}}
	bg        = context.Background()
)

// testRequest is an append whose content pos names.
func testRequest(pos tlog.Position, size int) *stor.AppendRequest {
	return &stor.AppendRequest{
		Identity: stor.Identity{Cookie: testCookie, ConfigVersion: 1}, Owner: testOwner, Vdisk: testVdisk,
		Position: pos, Index: int(pos % 6), Digest: tlog.Hash{byte(pos), byte(pos >> 8), 0xdd}, Commit: pos - 1,
		Head: fmt.Appendf(nil, "head of %d.", pos), Body: bytes.Repeat([]byte{byte(pos)}, size),
	}
}

func testContent(r *stor.AppendRequest) []byte { return append(bytes.Clone(r.Head), r.Body...) }

func appendOne(s *Server, r *stor.AppendRequest) error {
	errs := make(chan error, 1)
	s.Append(bg, r, func(_ stor.Meta, err error) { errs <- err })
	return <-errs
}

// filled is a directory with positions 1…n, cleanly closed.
func filled(t testing.TB, n tlog.Position, size func(tlog.Position) int) *crashFS {
	t.Helper()
	dir := newCrashFS(1)
	s := mustOpen(t, dir)
	initialise(t, s)
	for p := tlog.Position(1); p <= n; p++ {
		if err := appendOne(s, testRequest(p, size(p))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustOpen(t testing.TB, dir *crashFS) *Server {
	t.Helper()
	s, err := open("test", dir, Options{SegmentBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func initialise(t testing.TB, s *Server) {
	t.Helper()
	if err := s.Init(bg, testCookie, testManifest); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fence(bg, testFence(testOwner)); err != nil {
		t.Fatal(err)
	}
}

func testFence(o stor.Owner) *stor.FenceRequest {
	return &stor.FenceRequest{Identity: stor.Identity{Cookie: testCookie, ConfigVersion: 1}, Owner: o, Vdisk: testVdisk}
}

// checkNoneAbsent checks that each of the positions 1…n is there or reported
// as damage, and gives how many are wholly there.
func checkNoneAbsent(t fataler, s *Server, n tlog.Position, size func(tlog.Position) int) int {
	metas, err := s.Metas(bg, testVdisk, 1, n)
	if err != nil && tlog.ClassOf(err) != tlog.Corrupt {
		t.Fatalf("metas: %v", err)
	}
	if err == nil && len(metas) != int(n) {
		t.Fatalf("%d metas and no error, want %d", len(metas), n)
	}
	for _, m := range metas {
		if r := testRequest(m.Position, 0); m.Digest != r.Digest || m.Index != r.Index || m.Epoch != 1 {
			t.Fatalf("meta %+v is not what was stored", m)
		}
	}
	good := 0
	for p := tlog.Position(1); p <= n; p++ {
		b, err := s.Shard(bg, testVdisk, p, 0)
		switch {
		case errors.Is(err, stor.ErrAbsent):
			t.Fatalf("position %d is absent", p)
		case err != nil && tlog.ClassOf(err) != tlog.Corrupt:
			t.Fatalf("shard %d: %v", p, err)
		case err == nil && bytes.Equal(b, testContent(testRequest(p, size(p)))):
			good++
		}
	}
	return good
}

// checkRefusesIfDamaged checks that a server that lost something does not vote.
func checkRefusesIfDamaged(t fataler, s *Server, n tlog.Position) {
	_, merr := s.Metas(bg, testVdisk, 1, n)
	_, ferr := s.Fence(bg, testFence(stor.Owner{Epoch: 9, ID: tlog.UUID{9}}))
	aerr := appendOne(s, testRequest(n+1, 10))
	for _, err := range []error{ferr, aerr} {
		var r *stor.Refusal
		if merr != nil && !(errors.As(err, &r) && r.Code == stor.Unfit) {
			t.Fatalf("damaged (%v), but fence or append ended with %v", merr, err)
		}
	}
}

func sizes(p tlog.Position) int { return int(p*p*97) % 9000 }

// TestBitRot damages one place in a log that was closed cleanly: nothing that
// was durable may look as if it had never been there.
func TestBitRot(t *testing.T) {
	const n = 40
	whole := filled(t, n, sizes)
	rapid.Check(t, func(t *rapid.T) {
		dir := whole.restart()
		numbers, _ := segmentNumbers(dir)
		last := segmentName(numbers[len(numbers)-1])
		names := slices.Sorted(maps.Keys(dir.names)) // contents files too
		name := rapid.SampledFrom(names).Draw(t, "file")
		i := dir.names[name]
		i.data = bytes.Clone(i.data)
		defer func(old []byte) { i.data = old; i.bad = nil }(bytes.Clone(i.data))
		written := len(bytes.TrimRight(i.data, "\x00"))
		off := rapid.IntRange(0, min(written+1000, len(i.data)-1)).Draw(t, "offset")
		switch rapid.SampledFrom([]string{"flip", "zero", "bad", "cut"}).Draw(t, "rot") {
		case "flip":
			i.data[off] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case "zero":
			clear(i.data[off&^511 : min(off|511+1, len(i.data))])
		case "bad":
			i.bad = map[int64]bool{int64(off / sector): true}
		case "cut":
			// A log that ends early in its last segment is a roll-back, which
			// one server cannot know of.
			if name != last {
				i.data = i.data[:min(off, len(i.data))]
			}
		}
		s, err := open("rot", dir, Options{ReadOnly: rapid.Bool().Draw(t, "read only")})
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		defer s.Close()
		good := checkNoneAbsent(t, s, n, sizes)
		if contentsNumber(name) > 0 && (good != n || s.damage != nil) {
			t.Fatalf("without contents %d of %d positions are whole, %v", good, n, s.damage)
		}
		if !s.readOnly {
			checkRefusesIfDamaged(t, s, n)
		}
	})
}

// goneFS is a directory that is wiped beside its reader: some segments are listed
// and cannot be opened any more, at first or when they are opened again.
type goneFS struct {
	*crashFS
	gone  map[string]int // opened so often before
	after int
}

func (d *goneFS) open(name string, write bool) (file, error) {
	if d.gone[name]++; strings.HasSuffix(name, segmentSuffix) && d.gone[name] > d.after {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return d.crashFS.open(name, write)
}

// TestWipedBesideAReader: the server is damaged; that it cannot be opened would
// take the others with it.
func TestWipedBesideAReader(t *testing.T) {
	dir := newCrashFS(1)
	s, err := open("whole", dir, Options{SegmentBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	initialise(t, s)
	for p := tlog.Position(1); p <= 30; p++ {
		if err := appendOne(s, testRequest(p, sizes(p))); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	for after := range 2 {
		r, err := open("gone", &goneFS{dir, map[string]int{}, after}, Options{ReadOnly: true})
		if err != nil {
			t.Fatalf("opened %d times before: %v", after, err)
		}
		if r.damage == nil || !strings.Contains(r.damage.Error(), "is gone") {
			t.Errorf("opened %d times before: damage is %v", after, r.damage)
		}
		if _, _, err := r.Identify(t.Context()); err == nil {
			t.Errorf("opened %d times before: it votes", after)
		}
		r.Close()
	}
}
