package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// imageFile is a raw disk image in the making: a sparse file beside the one it
// will become. It appears under its name whole and durable, or not at all.
type imageFile struct {
	f    *os.File
	path string
}

// sparseUnit is the size of the zeroes that are left out, in bytes.
const sparseUnit = 4096

var zeroes [sparseUnit]byte

// createImage begins an image that is to replace or become path.
func createImage(path string, force bool) (*imageFile, error) {
	st, err := os.Lstat(path)
	switch {
	case err == nil && !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file: restore to a file and copy it from there", path)
	case err == nil && !force:
		return nil, fmt.Errorf("%s exists: --force replaces it", path)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".restore-*")
	if err != nil {
		return nil, err
	}
	return &imageFile{f: f, path: path}, nil
}

// WriteAt writes b, but for aligned runs of zeroes, which stay holes.
func (i *imageFile) WriteAt(b []byte, off int64) (int, error) {
	written := 0
	flush := func(to int) error {
		if to == written {
			return nil
		}
		_, err := i.f.WriteAt(b[written:to], off+int64(written))
		return err
	}
	for at := 0; at < len(b); {
		n := min(len(b)-at, sparseUnit-int((off+int64(at))%sparseUnit))
		if n == sparseUnit && bytes.Equal(b[at:at+n], zeroes[:]) {
			if err := flush(at); err != nil {
				return written, err
			}
			written = at + n
		}
		at += n
	}
	if err := flush(len(b)); err != nil {
		return written, err
	}
	return len(b), nil
}

// Zero does nothing: what was never written reads as zeroes.
func (i *imageFile) Zero(int64, int64) error { return nil }

// publish gives the image its size and its name, durably.
func (i *imageFile) publish(size uint64) error {
	if err := i.f.Truncate(int64(size)); err != nil {
		return err
	}
	if err := i.f.Chmod(0o600); err != nil {
		return err
	}
	if err := i.f.Sync(); err != nil {
		return err
	}
	if err := i.f.Close(); err != nil {
		return err
	}
	if err := os.Rename(i.f.Name(), i.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(i.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// discard removes an image that was not published.
func (i *imageFile) discard() error {
	return errors.Join(i.f.Close(), os.Remove(i.f.Name()))
}
