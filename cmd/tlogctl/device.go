package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tlog/player"
)

// device is a block device that a disk is written to. It holds what it held
// before until it is overwritten, and between two restores anybody may write to
// it: a restore goes on with it only where the operator named a file for the
// state, and what was written is still there.
type device struct {
	f    *os.File
	size int64
	saver
	begun bool // a restore to it
}

// openDevice opens a block device that nobody has mounted or put to use. state is
// the file that says how far a restore to it came; "": none does.
func openDevice(path string, disk uint64, o restoreOptions) (*device, error) {
	if err := refuseLoop(path); err != nil {
		return nil, err
	}
	// O_EXCL without O_CREAT: the kernel's own claim, which mounts have too.
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s is in use: mounted, or part of something that is", path)
	}
	if err != nil {
		return nil, err
	}
	d := &device{f: f}
	d.size, err = f.Seek(0, io.SeekEnd)
	switch {
	case err != nil:
	case uint64(d.size) < disk:
		err = tooSmall(path, d.size, int64(disk))
	case !o.force && !o.dryRun:
		err = fmt.Errorf("%s is a block device of %s: --force overwrites what is on it", path, bytesText(uint64(d.size)))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := d.resume(o); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

// resume reads how far a restore came, if that is to be known and still holds.
func (d *device) resume(o restoreOptions) error {
	d.saver = saver{target: d.f, note: o.state}
	if o.state == "" || o.dryRun {
		return nil
	}
	// The kernel tells the next one who syncs of writes that failed after the last
	// sync. They were behind the floor, and are made again.
	if err := datasync(d.f); err != nil {
		fmt.Fprintf(os.Stderr, "tlogctl: %s had not taken all of what was written to it before: %v\n", d.f.Name(), err)
	}
	if o.fresh {
		return d.forget()
	}
	state, err := readState(o.state)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; --fresh begins anew", err)
	}
	if err := d.marks.check(d.f, state.Marks); err != nil {
		return fmt.Errorf("%s is not as the restore that %s is of left it (%w): another device, or used meanwhile; --fresh begins anew", d.f.Name(), o.state, err)
	}
	d.state = state
	return nil
}

func tooSmall(name string, size, disk int64) error {
	return fmt.Errorf("%s has %d bytes, the disk has %d: it does not fit", name, size, disk)
}

// refuseLoop refuses a loop device whose file is a base image.
func refuseLoop(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	backing, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(real), "loop", "backing_file"))
	if err != nil {
		return nil // it is no loop device
	}
	return refuseBase(strings.TrimSuffix(string(backing), "\n"))
}

// WriteAt writes to the device.
func (d *device) WriteAt(b []byte, off int64) (int, error) {
	d.marks.add(b, off)
	return d.f.WriteAt(b, off)
}

// zeroUnit is a multiple of the blocks of every device, in bytes.
const zeroUnit = 64 << 10

// Zero zeroes an extent, by the device itself where it can.
func (d *device) Zero(off, n int64) error {
	from, to := (off+zeroUnit-1)/zeroUnit*zeroUnit, (off+n)/zeroUnit*zeroUnit
	if from >= to {
		return d.writeZeroes(off, off+n)
	}
	if err := d.writeZeroes(off, from); err != nil {
		return err
	}
	if err := d.discard(from, to-from); err != nil {
		if err := d.writeZeroes(from, to); err != nil {
			return err
		}
	}
	return d.writeZeroes(to, off+n)
}

// discard is BLKDISCARD, if that zeroes, else BLKZEROOUT.
func (d *device) discard(off, n int64) error {
	fd := int(d.f.Fd())
	err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if err != nil {
		err = unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	}
	return err
}

func (d *device) writeZeroes(from, to int64) error {
	b := make([]byte, min(to-from, 1<<20))
	for from < to {
		n, err := d.f.WriteAt(b[:min(to-from, int64(len(b)))], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

func (d *device) unfinished() bool { return d.state != nil }

func (d *device) write(ctx context.Context, src *source, o player.RestoreOptions) (*player.Report, error) {
	if src.size() > d.size {
		return nil, tooSmall(d.f.Name(), d.size, src.size())
	}
	if d.note != "" {
		if err := d.begin(ctx, src, d.f.Name(), &o, d.empty); err != nil {
			return nil, err
		}
	}
	d.begun = true
	r, err := src.restore(ctx, d, o)
	return r, errors.Join(err, d.saved())
}

// empty forgets what was restored.
func (d *device) empty() error {
	d.marks = marks{}
	return d.forget()
}

func (d *device) finish(context.Context, *player.Report) error {
	err := d.f.Sync()
	if err == nil && d.note != "" {
		err = d.forget()
	}
	return err
}

func (d *device) leave(err error) error {
	switch {
	case err == nil:
	case d.state != nil:
		err = fmt.Errorf("%w; %s is written to in part: the same command with --at seq:%d goes on, --fresh begins anew", err, d.f.Name(), d.state.Sequence)
	case d.begun:
		err = fmt.Errorf("%w; %s is written to in part", err, d.f.Name())
	}
	return errors.Join(err, d.f.Close())
}
