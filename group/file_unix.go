//go:build unix

package group

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openFile maps the clock's file, and makes it first if there is none of this
// boot: in memory that a crash of the host cut short, the last value may be old.
// Whoever opens a clock of the directory holds its lock meanwhile.
func openFile(cfg Config) ([]byte, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the directory of its clock: %w: name another one (--group-dir), the same for all disks of the group", err)
	}
	dir, err := os.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := retry(func() error { return unix.Flock(int(dir.Fd()), unix.LOCK_EX) }); err != nil {
		return nil, fmt.Errorf("lock %s: %w", cfg.Dir, err)
	}
	path := filepath.Join(cfg.Dir, cfg.Name+".clock")
	boot := hostBoot()
	last := uint64(0)
	memory, err := mapFile(path, cfg.Name)
	switch {
	case err == nil && bootOf(memory) == boot:
		return memory, nil
	case err == nil:
		last = word(memory, offLast).Load()
		if err := unix.Munmap(memory); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := writeFile(path, newFile(cfg, boot, last)); err != nil {
		return nil, err
	}
	return mapFile(path, cfg.Name)
}

// mapFile maps a clock's file after a check.
func mapFile(path, name string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, clockSize+1)
	n, err := f.ReadAt(b, 0)
	if n != clockSize {
		return nil, errors.Join(fmt.Errorf("%s: %w: it has %d bytes, not %d", path, ErrClock, n, clockSize), err)
	}
	if err := checkFile(b[:n], name); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, clockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return memory, nil
}

// writeFile gives the file its name when it is whole.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".clock-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Close ends the attachment. Nothing of the clock may be used afterwards.
func (c *Clock) Close() error {
	memory := c.memory
	c.memory, c.last = nil, nil
	if memory == nil {
		return nil
	}
	return unix.Munmap(memory)
}

// hostBoot names the host's boot; where that cannot be told it is empty, and a
// clock then lives until someone removes its file.
func hostBoot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	s := strings.TrimSpace(string(b))
	return s[:min(len(s), bootSize)]
}

func retry(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
