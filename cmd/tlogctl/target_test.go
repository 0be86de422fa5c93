package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestImageFile writes data with runs of zeroes at odd places, and compares
// with an array of bytes; long runs must take no space.
func TestImageFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	image, err := createImage(path, false, false)
	if err != nil {
		t.Fatal(err)
	}
	const size = 4 << 20
	want := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		data := make([]byte, rng.IntN(20000))
		if rng.IntN(3) > 0 {
			from := rng.IntN(len(data) + 1)
			for i := from; i < min(len(data), from+rng.IntN(3000)); i++ {
				data[i] = byte(1 + rng.IntN(255))
			}
		}
		off := rng.IntN(size/4 - len(data))
		if !fresh(want[off : off+len(data)]) {
			continue // a restore writes each byte once
		}
		copy(want[off:], data)
		if n, err := image.WriteAt(data, int64(off)); err != nil || n != len(data) {
			t.Fatalf("WriteAt: %d, %v", n, err)
		}
	}
	if fileThere(t, path) {
		t.Error("the image has its name before it is published")
	}
	if err := errors.Join(image.publish(size), image.leave(nil)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the image differs from what was written (%v)", err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil || st.Blocks*512 > size/2 {
		t.Errorf("the image takes %d bytes on disk (%v)", st.Blocks*512, err)
	}
}

func fresh(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }

func fileThere(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	return err == nil
}

func TestImageFileExists(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := createImage(path, false, false); err == nil {
		t.Error("an existing file is replaced without --force")
	}
	if _, err := createImage(dir, true, false); err == nil {
		t.Error("a directory is replaced")
	}
	image, err := createImage(path, true, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := createImage(path, true, false); err == nil {
		t.Error("two restores to one file")
	}
	if err := image.leave(nil); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if b, _ := os.ReadFile(path); err != nil || len(left) != 1 || string(b) != "precious" {
		t.Errorf("a discarded image leaves %v, and %q in the file", left, b)
	}
}

// TestRefuseBusy locks a file as tlognbd does, and as qemu does.
func TestRefuseBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, []byte("disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refuseBusy(path); err != nil {
		t.Error(err)
	}
	for name, lock := range map[string]func(*os.File) error{
		"flock": flock,
		"OFD": func(f *os.File) error {
			return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 100, Len: 1})
		},
	} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := lock(f); err != nil {
			t.Fatal(err)
		}
		if err := refuseBusy(path); err == nil || !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("a file with a lock of %s: %v", name, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
