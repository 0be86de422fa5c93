package past

import (
	"context"
	"errors"
	"io/fs"

	"tlog"
)

// reader gives what lies under an image: all of p; safe for concurrent use.
type reader interface {
	ReadAt(ctx context.Context, p []byte, off int64) error
}

// Overlay takes what is written over a moment, in a file. It can be opened
// again, after any crash, for as long as the file is there.
//
// Blocks have 4 KiB. The first write to a part of one copies the rest of it up
// from below; what comes after is written in place, as on a disk.
type Overlay struct {
	im    *image
	below reader
	busy  ranges
}

// OpenOverlay opens the overlay that is at path. Only what was written to it
// can be asked for: see Moment and Changes. ErrFile: it is none, or in use.
func OpenOverlay(path string) (*Overlay, error) {
	f, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(ErrFile, err)
	}
	if err != nil {
		return nil, err
	}
	im, err := loadImage(osFile{f}, path)
	if err == nil && im.head.kind != kindOverlay {
		err = im.fits(header{kindOverlay, im.head.moment})
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return newOverlay(im, nil), nil
}

// openOverlay opens or makes the overlay of a moment, over its content.
func openOverlay(path string, m Moment, below reader) (*Overlay, error) {
	im, err := openImage(path, header{kindOverlay, m})
	if err != nil {
		return nil, err
	}
	return newOverlay(im, below), nil
}

func newOverlay(im *image, below reader) *Overlay {
	o := &Overlay{im: im, below: below}
	o.busy.init()
	return o
}

// Moment is what the overlay was made for.
func (o *Overlay) Moment() Moment { return o.im.head.moment }

// Flush makes everything durable that was written before it was called.
func (o *Overlay) Flush() error { return o.im.flush() }

// Close closes the file. What was not flushed may be lost by a later crash.
func (o *Overlay) Close() error { return o.im.close() }

// ReadAt reads all of p. What is being written meanwhile is read as before, as
// after, or, by sectors, as both.
func (o *Overlay) ReadAt(ctx context.Context, p []byte, off int64) error {
	return o.runs(off, int64(len(p)), func(s state, at, n int64) error {
		part := p[at-off : at-off+n]
		switch s {
		case stateData:
			return o.im.read(part, at)
		case stateZero:
			clear(part)
			return nil
		}
		return o.below.ReadAt(ctx, part, at)
	})
}

// runs calls fn for the parts of a range, in order, with the state of each.
func (o *Overlay) runs(off, n int64, fn func(s state, off, n int64) error) error {
	if err := o.im.usable(); err != nil {
		return err
	}
	end := off + n
	for at := off; at < end; {
		s, block := o.im.run(at/blockSize, blocksOf(end))
		to := min(end, block*blockSize)
		if err := fn(s, at, to-at); err != nil {
			return err
		}
		at = to
	}
	return nil
}

// WriteAt writes p. A write that fails leaves any part of it behind.
func (o *Overlay) WriteAt(ctx context.Context, p []byte, off int64) error {
	end := off + int64(len(p))
	blocks := span{off / blockSize, blocksOf(end)}
	o.busy.lock(blocks)
	defer o.busy.unlock(blocks)
	if err := o.im.usable(); err != nil {
		return err
	}
	for at := off; at < end; {
		to := o.part(at, end)
		if err := o.writePart(ctx, p[at-off:to-off], at); err != nil {
			return err
		}
		at = to
	}
	// Only now, so that no reader finds a block of which a part is missing.
	if s, to := o.im.run(blocks.from, blocks.to); s != stateData || to < blocks.to {
		o.im.mark(blocks.from, blocks.to, stateData)
	}
	return nil
}

// part is where, up to end, the whole blocks from off on end, or, if there is
// none, the part of the one that off is in.
func (o *Overlay) part(off, end int64) int64 {
	whole := end / blockSize * blockSize
	if end == o.im.head.moment.Size {
		whole = end
	}
	if off%blockSize == 0 && whole > off {
		return whole
	}
	return min(end, (off/blockSize+1)*blockSize)
}

// writePart writes whole blocks, or a part of one: that one is written whole if
// it is not in the file yet. It is one write then, since what lies in the file may
// count again after a crash, and no sector of it may be half of this and that.
func (o *Overlay) writePart(ctx context.Context, p []byte, off int64) error {
	from := off / blockSize * blockSize
	to := min(from+blockSize, o.im.head.moment.Size)
	s, _ := o.im.run(off/blockSize, off/blockSize+1)
	if s == stateData || off == from && off+int64(len(p)) >= to {
		return o.im.write(p, off)
	}
	block := make([]byte, to-from)
	if s == stateBelow {
		if err := o.below.ReadAt(ctx, block, from); err != nil {
			return err
		}
	}
	copy(block[off-from:], p)
	return o.im.write(block, from)
}

// Zero makes n bytes at off read as zeroes, and gives their space back.
func (o *Overlay) Zero(ctx context.Context, off, n int64) error {
	end := off + n
	// Of whole blocks the map says it; the edges are written.
	from, to := blocksOf(off), end/blockSize
	if end == o.im.head.moment.Size {
		to = blocksOf(end)
	}
	if from >= to {
		return o.zeroPart(ctx, off, end)
	}
	if err := o.zeroPart(ctx, off, from*blockSize); err != nil {
		return err
	}
	if err := o.zeroBlocks(span{from, to}); err != nil {
		return err
	}
	return o.zeroPart(ctx, to*blockSize, end)
}

// zeroPart zeroes less than two blocks by writing.
func (o *Overlay) zeroPart(ctx context.Context, off, end int64) error {
	if off >= end {
		return nil
	}
	if s, to := o.im.run(off/blockSize, blocksOf(end)); s == stateZero && to == blocksOf(end) {
		return nil
	}
	return o.WriteAt(ctx, make([]byte, end-off), off)
}

func (o *Overlay) zeroBlocks(blocks span) error {
	o.busy.lock(blocks)
	defer o.busy.unlock(blocks)
	if err := o.im.usable(); err != nil {
		return err
	}
	o.im.mark(blocks.from, blocks.to, stateZero)
	// Before the next flush the stored map may still say that the data counts:
	// a crash then leaves what was there, or zeroes, as an unflushed trim may.
	return o.im.file.punch(o.im.start+blocks.from*blockSize, (blocks.to-blocks.from)*blockSize)
}

// Changes calls fn for every part of the disk that the overlay holds, in order
// of offsets: what was written, and at the edges what was copied with it; or,
// with zero set and data nil, off…off+n as a range that reads as zeroes. data is
// at most tlog.MaxRecordData long, a zero range at most tlog.MaxZeroSize. The
// overlay must not be written meanwhile.
func (o *Overlay) Changes(fn func(off, n int64, data []byte, zero bool) error) error {
	size := o.im.head.moment.Size
	var buf []byte
	return o.runs(0, size, func(s state, off, n int64) error {
		most := int64(tlog.MaxRecordData)
		switch s {
		case stateBelow:
			return nil
		case stateZero:
			most = tlog.MaxZeroSize / blockSize * blockSize
		case stateData:
			if buf == nil {
				buf = make([]byte, tlog.MaxRecordData)
			}
		}
		for end := off + n; off < end; off += most {
			n := min(most, end-off)
			if s == stateZero {
				if err := fn(off, n, nil, true); err != nil {
					return err
				}
				continue
			}
			if err := o.im.read(buf[:n], off); err != nil {
				return err
			}
			if err := fn(off, n, buf[:n], false); err != nil {
				return err
			}
		}
		return nil
	})
}
