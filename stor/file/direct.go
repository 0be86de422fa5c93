package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"tlog/internal/failpoint"
)

// osFile is a file of the operating system.
type osFile struct {
	*os.File
	direct *os.File // the same file, written past the page cache; nil: it cannot be
}

// openDirect opens a file that is written for direct writes too. Not all file
// systems have them, and none has to.
func openDirect(path string, flag int) *os.File {
	if flag&os.O_RDWR == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	return f
}

// Close closes both.
func (f *osFile) Close() error {
	err := f.File.Close()
	if f.direct != nil {
		err = errors.Join(err, f.direct.Close())
	}
	return err
}

// willRead has the system begin to read what will be read. A system that does
// not do it, does it later.
func (f *osFile) willRead(off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_WILLNEED)
}

// maxVector is the most buffers that one system call takes (IOV_MAX).
const maxVector = 1024

// writeAt writes whole blocks past the page cache, if there is one buffer of
// them, and anything else through it.
func (f *osFile) writeAt(bufs [][]byte, off int64) error {
	failpoint.Writing(f.File, off, bufs)
	to := f.File
	if f.direct != nil && len(bufs) == 1 && areBlocks(bufs[0], off) {
		to = f.direct
	}
	for len(bufs) > 0 {
		n, err := unix.Pwritev(int(to.Fd()), bufs[:min(len(bufs), maxVector)], off)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EINVAL) && to == f.direct:
			if err := f.undirect(); err != nil {
				return err
			}
			to = f.File
			continue
		case err != nil:
			return fmt.Errorf("pwritev: %w", err)
		case n == 0:
			return io.ErrShortWrite
		}
		off += int64(n)
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n > 0 {
			bufs[0] = bufs[0][n:]
		}
	}
	return nil
}

// undirect ends direct writes: the file system takes none of such blocks.
func (f *osFile) undirect() error {
	err := f.direct.Close()
	f.direct = nil
	return err
}

// alignedBlocks gives n bytes that begin at a multiple of block in memory.
func alignedBlocks(n int) []byte {
	b := make([]byte, n+block)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (block - 1)
	return b[off:][:n:n]
}

// areBlocks reports whether a direct write takes b at off.
func areBlocks(b []byte, off int64) bool {
	return (int(uintptr(unsafe.Pointer(unsafe.SliceData(b))))|len(b)|int(off))&(block-1) == 0
}
