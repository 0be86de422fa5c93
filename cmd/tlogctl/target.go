package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"tlog/player"
)

// sparse writes to a file that reads as zeroes, and leaves zeroes out.
type sparse struct{ f *os.File }

// sparseUnit is the size of the zeroes that are left out, in bytes.
const sparseUnit = 4096

var zeroes [sparseUnit]byte

// WriteAt writes b, but for aligned runs of zeroes, which stay holes.
func (s sparse) WriteAt(b []byte, off int64) (int, error) {
	written := 0
	flush := func(to int) error {
		if to == written {
			return nil
		}
		_, err := s.f.WriteAt(b[written:to], off+int64(written))
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
func (s sparse) Zero(int64, int64) error { return nil }

// imageFile is a raw disk image in the making: a sparse file beside the one it
// will become, .NAME.restore. It appears under its name whole and durable, or not
// at all. How far it is, the file .NAME.restore.state says: a restore that was
// interrupted, by whatever, goes on from there.
type imageFile struct {
	sparse
	saver
	path      string
	published bool
}

func partialPath(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".restore")
}

func statePath(path string) string { return partialPath(path) + ".state" }

func missingPath(path string) string { return path + ".missing" }

// checkImage refuses names that no image can have.
func checkImage(path string, force bool) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file, nor a block device: restore to a file and copy it from there", path)
	case !force:
		return fmt.Errorf("%s exists: --force replaces it", path)
	}
	return refuseBusy(path)
}

// createImage begins an image that is to replace or become path, or opens one
// that was begun.
func createImage(path string, force, fresh bool) (*imageFile, error) {
	if err := checkImage(path, force); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(partialPath(path), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	i := &imageFile{sparse: sparse{f}, saver: saver{target: f, note: statePath(path)}, path: path}
	if err := i.lock(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if i.state, err = readState(statePath(path)); err != nil || fresh {
		err = i.empty()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return i, nil
}

// lock takes the image for this process: the one that has it might have removed
// the file meanwhile, which then is another's.
func (i *imageFile) lock() error {
	if err := flock(i.f); err != nil {
		return fmt.Errorf("%s: another restore to it is running (%w)", i.path, err)
	}
	mine, err := i.f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(i.f.Name())
	if err != nil || !mine.Mode().IsRegular() || !os.SameFile(mine, named) {
		return fmt.Errorf("%s: another restore to it was running, or %s is not a file: try again", i.path, i.f.Name())
	}
	return nil
}

// empty forgets what is in the file, after the state that says so.
func (i *imageFile) empty() error {
	if err := i.forget(); err != nil {
		return err
	}
	return i.f.Truncate(0)
}

func (i *imageFile) unfinished() bool { return i.state != nil }

func (i *imageFile) write(ctx context.Context, src *source, o player.RestoreOptions) (*player.Report, error) {
	if err := i.begin(ctx, src, i.path, &o, i.empty); err != nil {
		return nil, err
	}
	o.Fresh = true
	report, err := src.restore(ctx, i, o)
	return report, i.full(errors.Join(err, i.saved()), src)
}

// full says how much room is lacking, if that is what err is.
func (i *imageFile) full(err error, src *source) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	free := uint64(0)
	var fs unix.Statfs_t
	if unix.Fstatfs(int(i.f.Fd()), &fs) == nil {
		free = fs.Bavail * uint64(fs.Bsize)
	}
	if !src.indexed() {
		return fmt.Errorf("%w: %s are free, and nobody knows how much is needed: --dry-run tells", err, bytesText(free))
	}
	live, failed := src.live()
	if failed != nil {
		return errors.Join(err, failed)
	}
	var st unix.Stat_t
	if unix.Fstat(int(i.f.Fd()), &st) == nil {
		live -= st.Blocks * 512
	}
	return fmt.Errorf("%w: up to %s more are needed, %s are free", err, bytesText(uint64(max(live, 0))), bytesText(free))
}

func (i *imageFile) finish(_ context.Context, r *player.Report) error {
	if err := writeMissing(missingPath(i.path), r); err != nil {
		return err
	}
	return i.publish(r.DiskSize)
}

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
	if err := os.Rename(i.f.Name(), i.path); err != nil {
		return err
	}
	// A state without its file is forgotten when the next one is begun.
	i.published = true
	return errors.Join(remove(statePath(i.path)), syncParent(i.path))
}

// leave keeps an image that a restore can go on with, and removes every other
// that has not got its name. The lock is given back last.
func (i *imageFile) leave(err error) error {
	switch {
	case i.published:
	case i.state == nil:
		err = errors.Join(err, remove(i.f.Name()))
	case err != nil:
		err = fmt.Errorf("%w; what was restored is kept in %s: the same command with --at seq:%d goes on with it, --fresh begins anew", err, i.f.Name(), i.state.Sequence)
	}
	return errors.Join(err, i.f.Close())
}

// remove removes a file that may not be there.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// syncParent makes the names in path's directory durable.
func syncParent(path string) error { return syncDir(filepath.Dir(path)) }
