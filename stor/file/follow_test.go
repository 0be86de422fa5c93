package file

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"tlog"
	"tlog/stor"
)

// TestReaderAlongside reads while frames are being written: a reader must not
// take the middle of a write for damage, nor see a shard by halves.
func TestReaderAlongside(t *testing.T) {
	const n = 1500
	dir := t.TempDir()
	w, err := Open(dir, Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	initialise(t, w)
	r, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	size := func(p tlog.Position) int { return int(p*p*977) % 40_000 }
	errs := make(chan error, n)
	go func() {
		for p := tlog.Position(1); p <= n; p++ {
			w.Append(bg, testRequest(p, size(p)), func(_ stor.Meta, err error) { errs <- err })
			if p%20 == 0 {
				w.do(bg, func(*bench) verdict { return verdict{} }) // let the queue run empty
			}
		}
	}()
	for seen := tlog.Position(0); seen < n; {
		c, err := r.Control(bg, testVdisk)
		if err != nil {
			t.Fatalf("after position %d: %v", seen, err)
		}
		for ; seen < c.Head; seen++ {
			b, err := r.Shard(bg, testVdisk, seen+1, 0)
			if err != nil || string(b) != string(testContent(testRequest(seen+1, size(seen+1)))) {
				t.Fatalf("position %d: %d bytes, %v", seen+1, len(b), err)
			}
		}
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// raceFS is a directory in which between runs once, behind the first read of
// a reader that found nothing at off.
type raceFS struct {
	*crashFS
	off     int64
	between func()
}

type raceFile struct {
	file
	d *raceFS
}

func (d *raceFS) open(name string, write bool) (file, error) {
	f, err := d.crashFS.open(name, write)
	return &raceFile{f, d}, err
}

func (f *raceFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(b, off)
	if do := f.d.between; do != nil && off > f.d.off {
		f.d.between = nil
		do()
	}
	return n, err
}

// TestReaderOvertaken has two batches written while a reader searches behind
// the end: the second proves the first durable, which the reader did not see.
func TestReaderOvertaken(t *testing.T) {
	dir := newCrashFS(1)
	w := mustOpen(t, dir)
	initialise(t, w)
	race := &raceFS{crashFS: dir}
	r, err := open("reader", race, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := appendOne(w, testRequest(1, 10)); err != nil {
		t.Fatal(err)
	}
	race.off, race.between = r.scan.off+frameSpan(0)+1, func() {
		for p := tlog.Position(2); p <= 4; p++ {
			if err := appendOne(w, testRequest(p, 30_000)); err != nil {
				t.Error(err)
			}
		}
	}
	for range 2 {
		if _, err := r.Control(bg, testVdisk); err != nil {
			t.Fatal(err)
		}
	}
	checkNoneAbsent(t, r, 4, func(p tlog.Position) int { return []int{0, 10, 30_000, 30_000, 30_000}[p] })
	if race.between != nil {
		t.Fatal("the race did not happen")
	}
}

// TestSlicesInUse ends a context while the slices of its request are being
// written: the answer must wait, as the caller may use them again after it.
func TestSlicesInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &hungFS{crashFS: newCrashFS(1), began: make(chan struct{}, 9)}
		s, err := open("hung", d, Options{})
		if err != nil {
			t.Fatal(err)
		}
		initialise(t, s)
		d.hungWrites = make(chan struct{})
		ctx, cancel := context.WithCancel(bg)
		errs := make(chan error, 1)
		s.Append(ctx, testRequest(1, 10), func(_ stor.Meta, err error) { errs <- err })
		<-d.began
		cancel()
		synctest.Wait()
		select {
		case err := <-errs:
			t.Fatalf("answered with %v while the slices were in use", err)
		default:
		}
		close(d.hungWrites)
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want that the context ended", err)
		}
		s.Close()
	})
}
