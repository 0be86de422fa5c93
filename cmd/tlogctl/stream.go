package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tlog/player"
)

// nowhere is where a dry run writes.
type nowhere struct{}

var errNowhere = errors.New("nothing is written")

func (nowhere) unfinished() bool { return false }

func (nowhere) write(context.Context, *source, player.RestoreOptions) (*player.Report, error) {
	return nil, errNowhere
}

func (nowhere) finish(context.Context, *player.Report) error { return nil }

func (nowhere) leave(err error) error { return err }

// stream writes a disk from its first byte to its last. A disk whose blocks lie in
// the log about as they lie on the disk is read in that order, piece by piece;
// any other would have its positions read again and again, and is restored to a
// file without a name first.
type stream struct {
	out   io.Writer
	piece int64 // bytes that are read at once; two are in memory
}

func newStream(out io.Writer) (*stream, error) {
	if f, ok := out.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return nil, errors.New("standard output is a terminal: send it to a program or a file")
		}
	}
	return &stream{out: out, piece: 16 << 20}, nil
}

func (s *stream) unfinished() bool { return false }

func (s *stream) write(ctx context.Context, src *source, o player.RestoreOptions) (*player.Report, error) {
	if src.past != nil && !o.BestEffort && s.cheap(src.past) {
		return s.inOrder(ctx, src.past, o)
	}
	f, r, err := spool(ctx, src, o)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(s.out, io.NewSectionReader(f, 0, int64(r.DiskSize)))
	return r, errors.Join(err, f.Close())
}

// cheap reports whether reading a disk in order reads little twice.
func (s *stream) cheap(p *player.Past) bool {
	_, stored, _ := p.Need()
	return p.Reads(s.piece) <= stored+stored/5
}

// inOrder reads a piece while the one before is written.
func (s *stream) inOrder(ctx context.Context, p *player.Past, o player.RestoreOptions) (*player.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	pieces, free := make(chan []byte), make(chan []byte, 2)
	failed := make(chan error, 1)
	go func() {
		defer close(pieces)
		failed <- s.read(ctx, p, free, pieces)
	}()
	free <- make([]byte, s.piece)
	free <- make([]byte, s.piece)
	done, err := int64(0), error(nil)
	for b := range pieces {
		if err != nil {
			continue
		}
		if _, err = s.out.Write(b); err != nil {
			cancel()
			continue
		}
		done += int64(len(b))
		free <- b[:s.piece]
		o.Progress(player.Progress{Done: done, Total: p.Size(), Bytes: done})
	}
	cancel()
	if read := <-failed; err == nil {
		err = read
	}
	if err != nil {
		return nil, err
	}
	return &player.Report{Point: p.Point(), DiskSize: uint64(p.Size()), Bytes: done}, nil
}

// read sends the disk, in order, in what comes from free.
func (s *stream) read(ctx context.Context, p *player.Past, free <-chan []byte, to chan<- []byte) error {
	for off := int64(0); off < p.Size(); {
		select {
		case b := <-free:
			b = b[:min(s.piece, p.Size()-off)]
			if err := p.ReadAt(ctx, b, off); err != nil {
				return err
			}
			to <- b
			off += int64(len(b))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *stream) finish(context.Context, *player.Report) error { return nil }

func (s *stream) leave(err error) error { return err }

// spool restores to a file without a name.
func spool(ctx context.Context, src *source, o player.RestoreOptions) (*os.File, *player.Report, error) {
	f, err := os.CreateTemp("", "tlog-restore-*")
	if err != nil {
		return nil, nil, err
	}
	o.Fresh = true
	err = os.Remove(f.Name())
	var r *player.Report
	if err == nil {
		r, err = src.restore(ctx, sparse{f}, o)
	}
	if err == nil {
		err = f.Truncate(int64(r.DiskSize))
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%w (in %s, which TMPDIR names)", err, os.TempDir()), f.Close())
	}
	return f, r, nil
}

// nbdSink is a disk that another program serves. nbdcopy, of libnbd, writes it:
// several requests at a time, and zeroes as such.
//
// What it writes is first restored to a file: one without a name, or, where the
// operator named a file for the state, an image beside that, which is kept until
// the target has it all.
type nbdSink struct {
	uri   string
	size  int64
	image *imageFile // nil: one without a name
}

// newNBDSink looks at the target, by nbdinfo of libnbd.
func newNBDSink(ctx context.Context, l *player.Log, o restoreOptions) (*nbdSink, error) {
	uri := o.to
	text, err := nbdinfo(ctx, uri)
	if err != nil {
		return nil, err
	}
	if strings.Contains(text, "(tlog "+l.Info().UUID.String()+")") {
		return nil, fmt.Errorf("%s is vdisk %s itself: to bring it back to a moment, see tlogctl rollback", uri, l.Info().Vdisk)
	}
	size, err := nbdinfo(ctx, "--size", uri)
	if err != nil {
		return nil, err
	}
	n := &nbdSink{uri: uri}
	if n.size, err = strconv.ParseInt(size, 10, 64); err != nil {
		return nil, fmt.Errorf("nbdinfo --size %s: %w", uri, err)
	}
	if uint64(n.size) < l.Info().DiskSize {
		return nil, tooSmall(uri, n.size, int64(l.Info().DiskSize))
	}
	if o.state != "" && !o.dryRun {
		n.image, err = createImage(o.state, false, o.fresh)
	}
	return n, err
}

func nbdinfo(ctx context.Context, args ...string) (string, error) {
	var out, failed strings.Builder
	c := exec.CommandContext(ctx, "nbdinfo", args...)
	c.Stdout, c.Stderr = &out, &failed
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("nbdinfo %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(failed.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

func (n *nbdSink) unfinished() bool { return n.image != nil && n.image.unfinished() }

func (n *nbdSink) write(ctx context.Context, src *source, o player.RestoreOptions) (*player.Report, error) {
	if src.size() > n.size {
		return nil, tooSmall(n.uri, n.size, src.size())
	}
	f, r, err := n.restore(ctx, src, o)
	if err != nil {
		return nil, err
	}
	if r.DiskSize > uint64(n.size) {
		err = tooSmall(n.uri, n.size, int64(r.DiskSize))
	} else {
		err = n.copy(ctx, f)
	}
	if n.image == nil {
		err = errors.Join(err, f.Close())
	}
	return r, err
}

// restore makes the file that is copied.
func (n *nbdSink) restore(ctx context.Context, src *source, o player.RestoreOptions) (*os.File, *player.Report, error) {
	if n.image == nil {
		return spool(ctx, src, o)
	}
	r, err := n.image.write(ctx, src, o)
	if err == nil {
		err = n.image.f.Truncate(int64(r.DiskSize))
	}
	return n.image.f, r, err
}

func (n *nbdSink) copy(ctx context.Context, f *os.File) error {
	c := exec.CommandContext(ctx, "nbdcopy", "--flush", "/dev/fd/3", n.uri)
	c.Stderr, c.ExtraFiles = os.Stderr, []*os.File{f}
	if err := c.Run(); err != nil {
		return fmt.Errorf("nbdcopy to %s: %w; the target is written to in part", n.uri, err)
	}
	return nil
}

func (n *nbdSink) finish(context.Context, *player.Report) error { return nil }

// leave keeps the image of a restore that can go on.
func (n *nbdSink) leave(err error) error {
	if n.image == nil {
		return err
	}
	if err == nil {
		err = n.image.empty()
	}
	return n.image.leave(err)
}
