package file

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"tlog"
	"tlog/stor"
)

func codeIs(t *testing.T, err error, code stor.Code) {
	t.Helper()
	if got := codeOf(err); got != code {
		t.Fatalf("got %v, want a refusal with code %d", err, code)
	}
}

func TestOneWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: got %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{}); err != nil {
		t.Fatalf("open after close: %v", err)
	}
	s.Close()
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	initialise(t, s)
	for name, want := range map[string]os.FileMode{"": 0o700, lockName: 0o600, segmentName(1): 0o600} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%q: got %v, %v; want mode %o", name, st.Mode(), err, want)
		}
	}
	st, _ := os.Stat(filepath.Join(dir, segmentName(1)))
	if st.Size() > 512<<10 {
		t.Errorf("a nearly empty directory takes %d bytes", st.Size())
	}
	if sp, err := s.Space(bg); err != nil || sp.Total == 0 || sp.Used > sp.Total {
		t.Errorf("space: %+v, %v", sp, err)
	}
}

// TestReader has a reader look at a directory from before it exists until after
// the writer is gone.
func TestReader(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	r, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := r.Identify(bg); !errors.Is(err, stor.ErrEmpty) {
		t.Fatalf("identify without a directory: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the reader made the directory: %v", err)
	}
	w, err := Open(dir, Options{SegmentBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { w.Close() }()
	initialise(t, w)
	for p := tlog.Position(1); p <= 60; p++ {
		if err := appendOne(w, testRequest(p, sizes(p))); err != nil {
			t.Fatal(err)
		}
		if p == 57 {
			w.Close()
			if w, err = Open(dir, Options{SegmentBytes: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if p%5 == 0 {
			checkSees(t, r, p)
		}
	}
	if m, err := r.Metas(bg, testVdisk, 1, 100); err != nil || len(m) != 60 {
		t.Fatalf("%d metas, %v", len(m), err)
	}
	codeIs(t, appendOne(r, testRequest(61, 1)), stor.Denied)
	_, err = r.Fence(bg, testFence(testOwner))
	codeIs(t, err, stor.Denied)
	codeIs(t, r.Init(bg, testCookie, testManifest), stor.Denied)
}

// checkSees checks one way in which a reader learns of position p.
func checkSees(t *testing.T, r *Server, p tlog.Position) {
	t.Helper()
	switch p % 3 {
	case 0:
		c, err := r.Control(bg, testVdisk)
		if err != nil || c.Head != p || c.Owner != testOwner {
			t.Fatalf("control after position %d: %+v, %v", p, c, err)
		}
	case 1:
		m, err := r.Metas(bg, testVdisk, p, p)
		if err != nil || len(m) != 1 {
			t.Fatalf("metas of position %d: %v, %v", p, m, err)
		}
	}
	if b, err := r.Shard(bg, testVdisk, p, 0); err != nil || string(b) != string(testContent(testRequest(p, sizes(p)))) {
		t.Fatalf("shard %d: %d bytes, %v", p, len(b), err)
	}
}

// TestNoSpace fills the disk: nothing is damaged, and writing goes on when
// there is space again.
func TestNoSpace(t *testing.T) {
	dir := newCrashFS(1)
	s := mustOpen(t, dir)
	initialise(t, s)
	dir.room = 100 << 10
	var p tlog.Position
	var err error
	for err == nil {
		p++
		err = appendOne(s, testRequest(p, 5000))
	}
	codeIs(t, err, stor.Full)
	codeIs(t, appendOne(s, testRequest(p, 90_000)), stor.Full)
	if s.Failed() != nil {
		t.Fatalf("failed: %v", s.Failed())
	}
	if got := checkNoneAbsent(t, s, p-1, func(tlog.Position) int { return 5000 }); got != int(p-1) {
		t.Fatalf("%d of %d positions are there", got, p-1)
	}
	dir.room = -1
	if err := appendOne(s, testRequest(p, 5000)); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	if names, _ := dir.list(); strings.Contains(strings.Join(names, " "), newSegment) {
		t.Errorf("a half-made segment is left: %v", names)
	}
}

// TestFailed has each operation of an append fail: the server must not answer
// anything before it is opened again.
func TestFailed(t *testing.T) {
	for n := 1; n <= 2; n++ { // write, sync
		dir := newCrashFS(uint64(n))
		s := mustOpen(t, dir)
		initialise(t, s)
		dir.failAfter(n, errMedia)
		err := appendOne(s, testRequest(1, 10))
		if !errors.Is(err, ErrFailed) || !errors.Is(s.Failed(), ErrFailed) {
			t.Fatalf("operation %d: append ended with %v, Failed is %v", n, err, s.Failed())
		}
		if err := appendOne(s, testRequest(1, 10)); !errors.Is(err, ErrFailed) {
			t.Fatalf("append again: %v", err)
		}
		if _, err := s.Fence(bg, testFence(testOwner)); !errors.Is(err, ErrFailed) {
			t.Fatalf("fence: %v", err)
		}
		if _, err := s.Control(bg, testVdisk); !errors.Is(err, ErrFailed) {
			t.Fatalf("control: %v", err)
		}
		s.Close()
		s = mustOpen(t, dir.restart())
		if err := appendOne(s, testRequest(1, 10)); err != nil {
			t.Fatalf("after opening again: %v", err)
		}
	}
}

// TestReadableAroundDamage reads what a damaged server still has.
func TestReadableAroundDamage(t *testing.T) {
	const n = 30
	size := func(tlog.Position) int { return 3000 }
	dir := filled(t, n, size)
	i := dir.names[segmentName(1)]
	for off := segmentHeaderSize; ; off += frameAlign { // the header of position 4
		var h header
		if h.decode(i.data[off:], seedOf(storeOf(t, dir), 1)) && h.position == 4 && h.kind == kindShard {
			i.data[off+30] ^= 1
			break
		}
	}
	s := mustOpen(t, dir)
	if got := checkNoneAbsent(t, s, n, size); got != n-1 {
		t.Fatalf("%d positions are readable, want %d", got, n-1)
	}
	checkRefusesIfDamaged(t, s, n)
	if id, m, err := s.Identify(bg); err != nil || id != testCookie || m.W != 2 {
		t.Fatalf("identify: %v %+v %v", id, m, err)
	}
	c, err := s.Control(bg, testVdisk)
	if c.Head != n || tlog.ClassOf(err) != tlog.Corrupt {
		t.Fatalf("control: %+v, %v", c, err)
	}
	if _, err := s.Vdisks(bg); tlog.ClassOf(err) != tlog.Corrupt {
		t.Fatalf("vdisks: %v", err)
	}
	if _, err := s.Shard(bg, testVdisk, n+1, 0); tlog.ClassOf(err) != tlog.Corrupt {
		t.Fatalf("a position that may be lost: %v", err)
	}
}

func storeOf(t testing.TB, dir *crashFS) tlog.UUID {
	t.Helper()
	h, err := readSegmentHeader(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	return h.store
}

// TestRotWhileOpen damages a header under an open server.
func TestRotWhileOpen(t *testing.T) {
	dir := filled(t, 5, sizes)
	s := mustOpen(t, dir)
	h, _ := s.find(testVdisk, 3)
	dir.names[segmentName(h.place.segment)].data[h.place.off+9] ^= 4
	if m, err := s.Metas(bg, testVdisk, 1, 5); len(m) != 4 || tlog.ClassOf(err) != tlog.Corrupt {
		t.Fatalf("metas: %v, %v", m, err)
	}
	codeIs(t, appendOne(s, testRequest(6, 1)), stor.Unfit)
}

// TestLostSegments removes whole segments.
func TestLostSegments(t *testing.T) {
	const n = 40
	for _, lost := range []uint64{1, 2} {
		dir := filled(t, n, sizes)
		delete(dir.names, segmentName(lost))
		s := mustOpen(t, dir)
		checkNoneAbsent(t, s, n, sizes)
		checkRefusesIfDamaged(t, s, n)
		if _, err := s.Metas(bg, testVdisk, 1, n); tlog.ClassOf(err) != tlog.Corrupt {
			t.Fatalf("metas without segment %d: %v", lost, err)
		}
	}
}

// TestForeignSegment puts another directory's segment in place of one.
func TestForeignSegment(t *testing.T) {
	dir, alien := filled(t, 40, sizes), filled(t, 40, sizes)
	dir.names[segmentName(2)] = alien.names[segmentName(2)]
	s := mustOpen(t, dir)
	checkRefusesIfDamaged(t, s, 40)
	if _, err := s.Metas(bg, testVdisk, 1, 40); tlog.ClassOf(err) != tlog.Corrupt {
		t.Fatalf("metas: %v", err)
	}
}

// hungFS is a disk whose syncs hang until they are let go.
type hungFS struct {
	*crashFS
	hung       chan struct{} // nil: syncs do not hang
	hungWrites chan struct{} // nil: writes do not hang
	began      chan struct{}
}

type hungFile struct {
	file
	d *hungFS
}

func (d *hungFS) create(name string) (file, error) {
	f, err := d.crashFS.create(name)
	return &hungFile{f, d}, err
}

func (f *hungFile) sync() error {
	if f.d.hung != nil {
		f.d.began <- struct{}{}
		<-f.d.hung
	}
	return f.file.sync()
}

func (f *hungFile) writeAt(bufs [][]byte, off int64) error {
	if f.d.hungWrites != nil {
		f.d.began <- struct{}{}
		<-f.d.hungWrites
	}
	return f.file.writeAt(bufs, off)
}

// TestHungDisk ends requests by their contexts while a sync hangs.
func TestHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &hungFS{crashFS: newCrashFS(1), began: make(chan struct{}, 9)}
		s, err := open("hung", d, Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		initialise(t, s)
		d.hung = make(chan struct{})
		ctx, cancel := context.WithCancel(bg)
		errs := make(chan error, 3)
		s.Append(ctx, testRequest(1, 10), func(_ stor.Meta, err error) { errs <- err })
		<-d.began
		s.Append(ctx, testRequest(2, 10), func(_ stor.Meta, err error) { errs <- err })
		s.Append(bg, testRequest(3, 10), func(_ stor.Meta, err error) { errs <- err })
		cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, want that the context ended", err)
			}
		}
		if m, err := s.Metas(bg, testVdisk, 1, 9); err != nil || len(m) != 0 {
			t.Fatalf("visible before it is durable: %v, %v", m, err)
		}
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		if err := <-errs; !errors.Is(err, errClosed) {
			t.Fatalf("a request that waits while the server closes: %v", err)
		}
		close(d.hung)
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
	})
}

// TestManyPositions looks at the size and the speed of the index.
func TestManyPositions(t *testing.T) {
	x := newIndex()
	const n = 300_000
	for i := range n {
		p := tlog.Position(i + 1)
		if i >= n/2 {
			p = tlog.Position(n + n/2 - i) // the second half descending
		}
		x.apply(&header{kind: kindShard, vdisk: testVdisk, position: p, epoch: 7, index: 3}, nil, place{uint64(i/1000 + 1), int64(i+64) * frameAlign})
	}
	all := x.span(testVdisk, 1, n)
	if len(all) != n {
		t.Fatalf("%d positions, want %d", len(all), n)
	}
	for i, h := range all {
		if h.position != tlog.Position(i+1) || h.epoch != 7 || h.index != 3 {
			t.Fatalf("entry %d: %+v", i, h)
		}
	}
	if h, ok := x.find(testVdisk, 1); !ok || h.place != (place{1, 64 * frameAlign}) {
		t.Fatalf("position 1: %+v", h)
	}
	v := x.get(testVdisk)
	if bytes := len(v.pages) * pagePositions * 16; bytes > n*17 {
		t.Errorf("%d bytes for %d positions", bytes, n)
	}
	if len(v.epochs) != 1 {
		t.Errorf("%d epochs are kept, want 1", len(v.epochs))
	}
}
