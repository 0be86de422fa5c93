package past

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrFile says that the file named for an overlay or a cache cannot be used as
// one; the error around it says why.
var ErrFile = errors.New("past: file not usable")

// file is an image's file as this package uses it, so that tests can lose
// power in it. It has the length of the whole image from the start.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// punch gives the space of n bytes at off back; they may read as zeroes
	// from then on, or as what they were.
	punch(off, n int64) error
	// sync makes what was written, and punched, durable. After an error what is
	// on disk is unknown for good.
	sync() error
	// stretch is the first stretch of bytes between off and end that may not be
	// zero; from is end if there is none.
	stretch(off, end int64) (from, to int64, err error)
}

// openFile opens and locks an image that is there; fs.ErrNotExist: it is not.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s is in use by another process (%w)", ErrFile, path, err), f.Close())
	}
	return f, nil
}

// createFile makes an image with its header, of length bytes, which is there
// whole or not at all, also after a loss of power. Nothing is replaced.
func createFile(path string, head []byte, length int64) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a second name at most
	err = lock(f)
	if err == nil {
		err = f.Truncate(length)
	}
	if err == nil {
		_, err = f.WriteAt(head, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Link(f.Name(), path) // a rename would replace what another made meanwhile
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s cannot be made: %w", ErrFile, path, err), f.Close())
	}
	return f, nil
}

// createUnnamed makes a file in dir that is gone when it is closed, however the
// process ends.
func createUnnamed(dir string, length int64) (*os.File, error) {
	f, err := os.CreateTemp(dir, "tlog-past-*")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	err = os.Remove(f.Name())
	if err == nil {
		err = f.Truncate(length)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: a file in %s: %w", ErrFile, dir, err), f.Close())
	}
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// osFile is a file of the operating system.
type osFile struct{ *os.File }
