//go:build failpoint

package failpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

var undoDir = sync.OnceValue(func() string { return os.Getenv("TLOG_UNDO") })

// Writing notes that bufs are about to be written to f at off. The journal of a
// file that another process left unsynced goes on: its writes are ours to lose.
func Writing(f *os.File, off int64, bufs [][]byte) {
	if undoDir() == "" {
		return
	}
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	if err := journal(f, off, n); err != nil {
		panic(fmt.Sprintf("failpoint: journal of %s: %v", f.Name(), err))
	}
}

// Clearing notes that n bytes of f at off are about to become zeroes.
func Clearing(f *os.File, off, n int64) {
	if undoDir() == "" {
		return
	}
	if err := journal(f, off, int(n)); err != nil {
		panic(fmt.Sprintf("failpoint: journal of %s: %v", f.Name(), err))
	}
}

// journal appends what is in f at off, n bytes; zeroes where the file ends.
func journal(f *os.File, off int64, n int) error {
	b := make([]byte, entryHead+n)
	binary.LittleEndian.PutUint64(b, uint64(off))
	binary.LittleEndian.PutUint64(b[8:], uint64(n))
	if _, err := f.ReadAt(b[entryHead:], off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	j, err := os.OpenFile(filepath.Join(undoDir(), journalName(st)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = j.Write(b)
	return errors.Join(err, j.Close())
}

// Synced notes that everything written to f is durable.
func Synced(f *os.File) {
	if undoDir() == "" {
		return
	}
	st, err := f.Stat()
	if err == nil {
		err = os.Truncate(filepath.Join(undoDir(), journalName(st)), 0)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		panic(fmt.Sprintf("failpoint: journal of %s: %v", f.Name(), err))
	}
}
