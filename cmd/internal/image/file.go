package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// seekData is lseek's SEEK_DATA: to the next byte that is not in a hole.
const seekData = 3

// file is a raw image in a file, or on a block device.
type file struct {
	f     *os.File
	size  int64
	was   os.FileInfo
	solid bool // where holes are cannot be asked
}

func openFile(name string) (*Image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() && st.Mode().Type() != os.ModeDevice {
		err = errNotImage(name, st.Mode())
	}
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd) // the size of a block device too
	}
	if err == nil {
		err = raw(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Image{Name: name, Size: size, from: &file{f: f, size: size, was: st}}, nil
}

// formats are the first bytes of images that are not raw.
var formats = []struct{ magic, name string }{
	{"QFI\xfb", "qcow2"},
	{"KDMV", "vmdk"},
	{"# Disk DescriptorFile", "vmdk"},
	{"vhdxfile", "vhdx"},
	{"conectix", "vpc"},
	{"<<< Oracle VM VirtualBox Disk Image", "vdi"},
}

// raw refuses images whose bytes are not those of the disk: a log of them would
// be one of a disk that no guest can read.
func raw(f *os.File) error {
	var head [64]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, k := range formats {
		if strings.HasPrefix(string(head[:n]), k.magic) {
			return fmt.Errorf("image: %s is a %s image, not a raw one: serve it with qemu-nbd --persistent --read-only -f %s --socket SOCKET, and name nbd+unix:///?socket=SOCKET instead", f.Name(), k.name, k.name)
		}
	}
	return nil
}

// next asks the file system; one that does not know says that all is data.
func (o *file) next(off int64) (int64, error) {
	if o.solid {
		return off, nil
	}
	at, err := o.f.Seek(off, seekData)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return o.size, nil
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOTSUP):
		o.solid = true
		return off, nil
	}
	return at, err
}

func (o *file) read(off int64, b []byte) error {
	_, err := o.f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = errors.New("it became shorter while it was read")
	}
	return err
}

// finish looks whether somebody wrote to the file meanwhile.
func (o *file) finish() error {
	st, err := o.f.Stat()
	if err == nil && (st.Size() != o.was.Size() || !st.ModTime().Equal(o.was.ModTime())) {
		err = fmt.Errorf("it was written to while it was read (at %v): what was read is no disk that ever was", st.ModTime())
	}
	return err
}

func (o *file) Close() error                { return o.f.Close() }
func (o *file) inOrder() bool               { return false }
func (o *file) start(context.Context) error { return nil }
