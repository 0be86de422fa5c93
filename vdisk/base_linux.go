package vdisk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"tlog/internal/failpoint"
)

// maxVector is how many buffers one system call takes (IOV_MAX).
const maxVector = 1024

// lockFile takes the file for this process until it is closed.
func lockFile(f *os.File) error {
	return retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
}

func datasync(f *os.File) error {
	err := retry(func() error { return unix.Fdatasync(int(f.Fd())) })
	if err == nil {
		failpoint.Synced(f)
	}
	return err
}

// punch makes an extent read as zeroes without writing them, or returns
// errors.ErrUnsupported.
func punch(f *os.File, off, n int64, keep bool) error {
	mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
	if keep {
		mode = unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE
	}
	failpoint.Clearing(f, off, n)
	return retry(func() error { return unix.Fallocate(int(f.Fd()), mode, off, n) })
}

// writev writes the buffers one after the other at off. It may change the slice.
func writev(f *os.File, bufs [][]byte, off int64) error {
	failpoint.Writing(f, off, bufs)
	for len(bufs) > 0 {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pwritev(int(f.Fd()), bufs, off)
			return err
		})
		if err != nil {
			return os.NewSyscallError("pwritev", err)
		}
		if n == 0 {
			return os.NewSyscallError("pwritev", unix.ENOSPC)
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

// segment tells whether there is data at off, and where before end that changes.
func (b *base) segment(off, end int64) (data bool, to int64, err error) {
	next, err := b.f.Seek(off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return false, end, nil
	}
	if err != nil || next > off {
		return false, min(next, end), err
	}
	next, err = b.f.Seek(off, unix.SEEK_HOLE)
	return true, min(next, end), err
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
