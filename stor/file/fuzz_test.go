package file

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"tlog"
	"tlog/stor"
)

// FuzzOpenSegment opens arbitrary bytes as a segment, to read and to write.
// The seed makes frame headers valid that the fuzzer changed, so that it gets
// behind the checksums.
func FuzzOpenSegment(f *testing.F) {
	golden, err := os.ReadFile(goldenPath)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden, false)
	f.Add(golden, true)
	f.Add(golden[:segmentHeaderSize+300], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if len(b) > 64<<10 {
			return
		}
		b = bytes.Clone(b)
		if reseal {
			resealAll(b)
		}
		dir := newCrashFS(1)
		dir.names[segmentName(1)] = &inode{data: b}
		for _, readOnly := range []bool{true, false} {
			s, err := open("fuzz", dir, Options{ReadOnly: readOnly})
			if err != nil {
				continue
			}
			read(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// resealAll gives every frame at a place where one may begin its checksum.
func resealAll(b []byte) {
	var h segmentHeader
	if h.decode(b) == 0 {
		return
	}
	seed := seedOf(h.store, 1)
	for off := segmentHeaderSize; off+frameHeaderSize <= len(b); off += frameAlign {
		if [4]byte(b[off:]) == frameMagic {
			sealHeader(b[off:off+frameHeaderSize], seed)
		}
	}
}

// read asks an open server for everything, and writes to it.
func read(t *testing.T, s *Server) {
	id, _, _ := s.Identify(bg)
	vdisks, _ := s.Vdisks(bg)
	for _, v := range vdisks {
		if _, err := s.Control(bg, v); err != nil && tlog.ClassOf(err) != tlog.Corrupt {
			t.Fatalf("control: %v", err)
		}
		metas, err := s.Metas(bg, v, 0, 1<<64-1)
		if err != nil && tlog.ClassOf(err) != tlog.Corrupt {
			t.Fatalf("metas: %v", err)
		}
		for _, m := range metas {
			if b, err := s.Shard(bg, v, m.Position, 1000); err != nil || len(b) > 1000 {
				t.Fatalf("shard of position %d, which has a meta: %d bytes, %v", m.Position, len(b), err)
			}
		}
		s.Fence(bg, &stor.FenceRequest{Identity: stor.Identity{Cookie: id, ConfigVersion: 1 << 63}, Owner: testOwner, Vdisk: v})
	}
}

var update = flag.Bool("update", false, "write the golden segment")

const goldenPath = "testdata/golden-v1.seg"

// goldenLog writes one frame of each kind.
func goldenLog(t *testing.T) *crashFS {
	dir := newCrashFS(1)
	s := mustOpen(t, dir)
	s.log.store = tlog.UUID{0x57, 0x0e}
	initialise(t, s)
	second := stor.Owner{Epoch: 2, ID: tlog.UUID{2}}
	renewed := testRequest(1, 200)
	renewed.Owner = second
	for _, step := range []func() error{
		func() error { return appendOne(s, testRequest(1, 200)) },
		func() error { _, err := s.Fence(bg, testFence(second)); return err },
		func() error { return appendOne(s, renewed) },
		s.Close,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGolden holds the format to the bytes of its first version: they are
// written so, and read so.
func TestGolden(t *testing.T) {
	got := bytes.TrimRight(goldenLog(t).names[segmentName(1)].data, "\x00")
	if *update {
		if err := os.MkdirAll(filepath.Dir(goldenPath), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the format changed; got\n%s", hex.Dump(got[segmentHeaderSize:]))
	}
	dir := newCrashFS(1)
	dir.names[segmentName(1)] = &inode{data: want}
	s := mustOpen(t, dir)
	c, err := s.Control(bg, testVdisk)
	if wantC := (stor.Control{Owner: stor.Owner{Epoch: 2, ID: tlog.UUID{2}}, Head: 1}); err != nil || c != wantC {
		t.Fatalf("control: got %+v, %v; want %+v", c, err, wantC)
	}
	r := testRequest(1, 200)
	m, err := s.Metas(bg, testVdisk, 1, 1)
	if err != nil || len(m) != 1 || m[0] != (stor.Meta{Position: 1, Epoch: 2, Digest: r.Digest, Index: 1}) {
		t.Fatalf("metas: %+v, %v", m, err)
	}
	if b, err := s.Shard(bg, testVdisk, 1, 0); err != nil || !bytes.Equal(b, testContent(r)) {
		t.Fatalf("shard: %q, %v", b, err)
	}
}

// TestNewerVersion has a segment of a version to come: not damage.
func TestNewerVersion(t *testing.T) {
	dir := filled(t, 1, sizes)
	b := dir.names[segmentName(1)].data
	b[8]++
	sealSegment(b)
	_, err := open("new", dir, Options{})
	if err == nil || tlog.ClassOf(err) == tlog.Corrupt {
		t.Fatalf("got %v, want an error that names the version", err)
	}
}
