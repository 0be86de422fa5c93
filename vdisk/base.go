package vdisk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"tlog"
	"tlog/internal/failpoint"
)

// base is the base image: a sparse file of the size of the disk. Reads and
// writes may be concurrent; the Disk takes care that what overlaps is ordered.
type base struct {
	f    *os.File
	path string
	size int64 // of the disk
	// length of the file when it was opened.
	length int64
	// fresh: the file was empty when it was opened, and reads as zeroes.
	fresh bool
}

// openBase opens and locks the file, and creates it empty if it is missing.
func openBase(path string, size int64) (*base, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBase, err)
	}
	b := &base{f: f, path: path, size: size}
	if err := b.inspect(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return b, nil
}

func (b *base) inspect() error {
	if err := lockFile(b.f); err != nil {
		return fmt.Errorf("%w: %s is in use by another process (%w)", ErrBase, b.path, err)
	}
	st, err := b.f.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBase, err)
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file", ErrBase, b.path)
	}
	b.fresh, b.length = st.Size() == 0, st.Size()
	return nil
}

// blank reports whether the file holds no data at all, whatever its length.
func (b *base) blank() bool {
	if b.fresh {
		return true
	}
	data, to, err := b.segment(0, b.length)
	return err == nil && !data && to == b.length
}

// erase makes the file an empty one of the right size, durably.
func (b *base) erase() error {
	err := b.f.Truncate(0)
	if err == nil {
		err = b.f.Truncate(b.size)
	}
	if err == nil {
		err = b.f.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(b.path))
	}
	if err != nil {
		return fmt.Errorf("vdisk: base: %w", err)
	}
	failpoint.Synced(b.f)
	b.fresh = true
	return nil
}

// apply brings durable records, given in order of sequence, into the file.
// Each byte is written once, as the newest of the records has it: a base
// between two points of the log is one that a replay puts right.
func (b *base) apply(batch []*pending) error {
	var merged overlay
	for _, p := range batch {
		merged.insert(p)
	}
	var run [][]byte // data of adjacent extents
	start, end := int64(0), int64(0)
	put := func() error {
		if len(run) == 0 {
			return nil
		}
		err := writev(b.f, run, start)
		run = run[:0]
		return err
	}
	for e := range merged.all() {
		if e.zero() || e.off != end || len(run) == maxVector {
			if err := put(); err != nil {
				return fmt.Errorf("vdisk: base: %w", err)
			}
			start = e.off
		}
		if e.zero() {
			if err := b.clear(e.off, e.end-e.off, e.rec.keep); err != nil {
				return err
			}
			start, end = e.end, e.end
			continue
		}
		run, end = append(run, e.bytes()), e.end
	}
	if err := put(); err != nil {
		return fmt.Errorf("vdisk: base: %w", err)
	}
	return nil
}

// clear makes an extent read as zeroes: as a hole, or as allocated blocks when
// keep is set. A file system that can do neither gets zeroes written.
func (b *base) clear(off, n int64, keep bool) error {
	err := punch(b.f, off, n, keep)
	if errors.Is(err, errors.ErrUnsupported) {
		err = b.writeZeroes(off, n)
	}
	if err != nil {
		return fmt.Errorf("vdisk: base: %w", err)
	}
	return nil
}

func (b *base) writeZeroes(off, n int64) error {
	zeroes := make([]byte, min(n, 1<<20))
	for n > 0 {
		m, err := writeAt(b.f, zeroes[:min(n, int64(len(zeroes)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(m), n-int64(m)
	}
	return nil
}

func writeAt(f *os.File, p []byte, off int64) (int, error) {
	failpoint.Writing(f, off, [][]byte{p})
	return f.WriteAt(p, off)
}

// read fills p.
func (b *base) read(p []byte, off int64) error {
	n, err := b.f.ReadAt(p, off)
	if err == io.EOF && n < len(p) {
		return tlog.Corruptf("vdisk: base: %s ends at %d, within the disk: it was cut by someone else", b.path, off+int64(n))
	}
	if err != nil && err != io.EOF {
		return fmt.Errorf("vdisk: base: %w", err)
	}
	return nil
}

func (b *base) sync() error {
	if err := datasync(b.f); err != nil {
		return fmt.Errorf("vdisk: base: %w", err)
	}
	return nil
}

// target is the base as Rebuild sees it: within the disk, nothing else.
type target struct{ b *base }

func (t target) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > t.b.size-int64(len(p)) {
		return 0, fmt.Errorf("%w: %d bytes at %d of %d", ErrRange, len(p), off, t.b.size)
	}
	return writeAt(t.b.f, p, off)
}

func (t target) Zero(off, n int64) error {
	if off < 0 || n < 0 || off > t.b.size-n {
		return fmt.Errorf("%w: %d bytes at %d of %d", ErrRange, n, off, t.b.size)
	}
	if n == 0 {
		return nil
	}
	return t.b.clear(off, n, false)
}
