package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tlog/vdisk"
)

// flock takes a file for this process until it is closed.
func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

// refuseBusy refuses to replace a file that another process has locked: tlognbd
// locks its base image, qemu its images.
func refuseBusy(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = flock(f)
	if err == nil {
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		if e := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); e == nil && lock.Type != unix.F_UNLCK {
			err = unix.EWOULDBLOCK
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%s is in use by another process", path)
	}
	return errors.Join(err, f.Close())
}

// refuseBase refuses to overwrite a base image, of which the marker beside it
// says what is in it: also one that is not there, since the marker is.
func refuseBase(path string) error {
	of, err := vdisk.BaseOf(path)
	if err != nil {
		return fmt.Errorf("%s may be the base image of a vdisk: %w", path, err)
	}
	if of != "" {
		return fmt.Errorf("%s is the base image of vdisk %s: restore to another file; to bring the vdisk itself back to a moment, see tlogctl rollback", path, of)
	}
	return nil
}
