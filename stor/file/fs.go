package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tlog/internal/failpoint"
	"tlog/stor"
)

// fsys is the directory as this package uses it, so that tests can lose power
// in it. It has more methods than an interface should because it stands for
// one thing that tests replace as a whole.
type fsys interface {
	// lock makes this the one writer until the closer is closed; ErrLocked if
	// another is. It creates the directory.
	lock() (io.Closer, error)
	// create makes an empty file, or empties the one that is there.
	create(name string) (file, error)
	open(name string, write bool) (file, error)
	rename(old, name string) error
	remove(name string) error
	// list gives the names in the directory; none if there is no directory.
	list() ([]string, error)
	// sync makes creations, renames and removals durable.
	sync() error
	space() (stor.Space, error)
}

// file is one file. Only the methods that are named so change it.
type file interface {
	io.ReaderAt
	io.Closer
	// writeAt writes bufs one after the other; it may change bufs, not the bytes.
	writeAt(bufs [][]byte, off int64) error
	// allocate makes sure that n bytes from off can be written; what was not
	// written reads as zeroes.
	allocate(off, n int64) error
	// sync makes the data, and the size it needs, durable.
	sync() error
	size() (int64, error)
}

// ErrLocked says that another process, or another Server, writes to the directory.
var ErrLocked = errors.New("another process writes to this directory")

const lockName = "lock"

// osFS is a directory of the operating system.
type osFS string

func (d osFS) path(name string) string { return filepath.Join(string(d), name) }

func (d osFS) lock() (io.Closer, error) {
	if err := makeDir(string(d)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// makeDir creates a directory that survives power loss, and its parents.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return osFS(parent).sync()
}

func (d osFS) create(name string) (file, error) {
	return d.openFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d osFS) open(name string, write bool) (file, error) {
	if write {
		return d.openFile(name, os.O_RDWR)
	}
	return d.openFile(name, os.O_RDONLY)
}

func (d osFS) openFile(name string, flag int) (file, error) {
	f, err := os.OpenFile(d.path(name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f, direct: openDirect(d.path(name), flag)}, nil
}

func (d osFS) rename(old, name string) error { return os.Rename(d.path(old), d.path(name)) }

func (d osFS) remove(name string) error { return os.Remove(d.path(name)) }

func (d osFS) list() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d osFS) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d osFS) space() (stor.Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(string(d), &st); err != nil {
		return stor.Space{}, fmt.Errorf("statfs: %w", err)
	}
	block := uint64(st.Bsize)
	used := (st.Blocks - st.Bfree) * block
	return stor.Space{Used: used, Total: used + st.Bavail*block}, nil
}

// allocate falls back to writing zeroes where the file system has no fallocate.
func (f *osFile) allocate(off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, off, n)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP):
			return writeZeroes(f, off, n)
		default:
			return fmt.Errorf("fallocate: %w", err)
		}
	}
}

func (f *osFile) sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			failpoint.Synced(f.File)
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("fdatasync: %w", err)
		}
	}
}

func (f *osFile) size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// writeZeroes writes n zeroes at off.
func writeZeroes(f file, off, n int64) error {
	zeroes := make([]byte, min(n, 1<<20))
	for n > 0 {
		c := min(n, int64(len(zeroes)))
		if err := f.writeAt([][]byte{zeroes[:c]}, off); err != nil {
			return err
		}
		off, n = off+c, n-c
	}
	return nil
}

// isFull reports whether err says that space, or the quota, ran out.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
