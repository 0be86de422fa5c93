// Package image reads disk images once, from their beginning to their end, and
// gives what in them is not zero: raw files, block devices, and what an NBD
// server serves.
//
// The pieces depend on the bytes of the image and on nothing else: not on where
// a file has holes, nor on how it is read. Reading the same image again gives
// the same pieces, which is what lets an interrupted import go on.
package image

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"strings"
)

const (
	// window is how much is read at once, and the most a piece holds, in bytes.
	window = 512 << 10
	// unit is the size of the zeroes that are left out, in bytes.
	unit = 4096
)

var zeroes [unit]byte

// Piece is a run of the image. It begins and ends at multiples of 4 KiB, or at
// the image's end, and has no such block in it that is zero.
type Piece struct {
	Off  int64
	Data []byte // valid until the next piece is asked for
}

// Image is a disk image. It is for one goroutine, and read once.
type Image struct {
	Name string
	Size int64 // bytes
	from origin
}

// origin is where the bytes come from.
type origin interface {
	// start begins to read; the end of ctx ends what was started.
	start(ctx context.Context) error
	// next is the first byte from off on that may not be zero; the size if there
	// is none.
	next(off int64) (int64, error)
	// read fills b with what is at off. Of an origin that is read in order one
	// call is made at a time, with rising offsets; of another, many are.
	read(off int64, b []byte) error
	inOrder() bool
	// finish is called when everything was read: it reports what makes the bytes
	// those of no image.
	finish() error
	Close() error
}

// Open opens a raw image: a file, a block device, nbd://… or nbd+unix://….
func Open(ctx context.Context, name string) (*Image, error) {
	if IsNBD(name) {
		return openNBD(ctx, name)
	}
	return openFile(name)
}

// IsNBD reports whether name is an NBD server's export rather than a file.
func IsNBD(name string) bool {
	return strings.HasPrefix(name, "nbd://") || strings.HasPrefix(name, "nbd+unix://")
}

// Close ends what was started.
func (m *Image) Close() error { return m.from.Close() }

// Pieces yields what is not zero, in order of offsets, reading ahead. The first
// error is the last thing it yields; without one the image was read whole, and
// was not seen to change meanwhile.
func (m *Image) Pieces(ctx context.Context) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		r := reading{image: m, ctx: ctx, depth: 2 * runtime.GOMAXPROCS(0)}
		defer func() {
			cancel()
			r.drain()
		}()
		if err := r.run(yield); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			yield(Piece{}, fmt.Errorf("image: %s: %w", m.Name, err))
		}
	}
}

// reading is one pass over an image.
//
//	next ─→ queue (bounded) ─→ one read each ─→ waited for in order ─→ pieces
type reading struct {
	image *Image
	ctx   context.Context
	depth int
	queue []*part // being read, in order
	spare []*part
	last  <-chan struct{} // ready of the part that was started last; nil: none yet
}

// part is one window of the image on its way.
type part struct {
	off    int64
	buf    []byte
	data   []byte // of buf
	err    error
	before <-chan struct{} // what is to be read first; nil: nothing
	ready  chan struct{}
}

// run reports nil also when yield wants no more.
func (r *reading) run(yield func(Piece, error) bool) error {
	m := r.image
	if err := m.from.start(r.ctx); err != nil {
		return err
	}
	for off := int64(0); off < m.Size; {
		at, err := m.from.next(off)
		if err != nil {
			return err
		}
		if at >= m.Size {
			break
		}
		at -= at % window
		if len(r.queue) == r.depth {
			if more, err := r.pop(yield); err != nil || !more {
				return err
			}
		}
		n := min(window, m.Size-at)
		r.push(at, int(n))
		off = at + n
	}
	for len(r.queue) > 0 {
		if more, err := r.pop(yield); err != nil || !more {
			return err
		}
	}
	return m.from.finish()
}

// push starts to read a window.
func (r *reading) push(off int64, n int) {
	p := &part{buf: make([]byte, window)}
	if last := len(r.spare) - 1; last >= 0 {
		p, r.spare = r.spare[last], r.spare[:last]
	}
	p.off, p.data, p.err, p.ready = off, p.buf[:n], nil, make(chan struct{})
	p.before = nil
	if r.image.from.inOrder() {
		p.before = r.last
	}
	r.last = p.ready
	r.queue = append(r.queue, p)
	go func() {
		defer close(p.ready)
		if p.before != nil {
			<-p.before
		}
		if p.err = r.ctx.Err(); p.err == nil {
			p.err = r.image.from.read(p.off, p.data)
		}
	}()
}

// pop waits for the first window and yields its pieces; more is false when
// yield wants no more.
func (r *reading) pop(yield func(Piece, error) bool) (more bool, err error) {
	p := r.queue[0]
	<-p.ready
	r.queue = r.queue[1:]
	if p.err != nil {
		return false, p.err
	}
	for piece := range Runs(p.off, p.data) {
		if err := r.ctx.Err(); err != nil {
			return false, err
		}
		if !yield(piece, nil) {
			return false, nil
		}
	}
	r.spare = append(r.spare, p)
	return true, nil
}

// drain returns when nothing is read any more.
func (r *reading) drain() {
	for _, p := range r.queue {
		<-p.ready
	}
}

// Runs yields what of data, which is at off of a disk, is not in blocks of
// zeroes: runs as Pieces has them, but that they begin and end where data does.
func Runs(off int64, data []byte) iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		from := -1 // of the run that goes on; −1: none
		for at, to := 0, 0; at < len(data); at = to {
			to = min(len(data), at+unit-int((off+int64(at))%unit))
			zero := bytes.Equal(data[at:to], zeroes[:to-at])
			switch {
			case zero && from >= 0:
				if !yield(Piece{off + int64(from), data[from:at]}) {
					return
				}
				from = -1
			case !zero && from < 0:
				from = at
			}
		}
		if from >= 0 {
			yield(Piece{off + int64(from), data[from:]})
		}
	}
}

// errNotImage says what may be imported.
func errNotImage(name string, mode fs.FileMode) error {
	return fmt.Errorf("image: %s is neither a file nor a block device (%v)", name, mode.Type())
}
