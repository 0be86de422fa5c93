package file

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"tlog"
)

// windowSize is how much of a file is read at a time in search of headers:
// a few dozen small frames, and not much more than one page of a large one.
const windowSize = 16 << 10

// window reads a file through one buffer, and knows which bytes the medium did
// not give: they read as zeroes, and bad counts them.
type window struct {
	f   file
	buf []byte
	off int64 // of buf in f
	bad int   // unreadable blocks seen so far
}

// unreadable is the granularity at which a medium that fails is read.
const unreadable = 4096

// at gives n bytes at off, n ≤ windowSize; fewer at the end of the file. They
// are valid until the next call.
func (w *window) at(off int64, n int) []byte {
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		w.fill(off, n)
	}
	b := w.buf[off-w.off:]
	return b[:min(n, len(b))]
}

// fill reads at off at least n bytes. Who goes on where the buffer ends will want
// what is behind it; who jumps over more than would be read, from one large
// frame to the next, is given no more pages than n bytes are in.
func (w *window) fill(off int64, n int) {
	if cap(w.buf) < windowSize {
		w.buf = make([]byte, windowSize)
	}
	size := windowSize
	if behind := w.off + int64(len(w.buf)); off < w.off || off > behind+windowSize {
		size = min(size, int((off+int64(n)+unreadable-1)&^(unreadable-1)-off))
	}
	w.off = off
	w.buf = w.buf[:size]
	n, err := w.f.ReadAt(w.buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		n = w.salvage()
	}
	w.buf = w.buf[:n]
}

// salvage reads block by block what one read did not give.
func (w *window) salvage() int {
	for i := 0; i < len(w.buf); i += unreadable {
		b := w.buf[i:min(i+unreadable, len(w.buf))]
		n, err := w.f.ReadAt(b, w.off+int64(i))
		switch {
		case errors.Is(err, io.EOF):
			return i + n
		case err != nil:
			clear(b)
			w.bad++
		}
	}
	return len(w.buf)
}

// forget makes the next read go to the file again.
func (w *window) forget() { w.buf = w.buf[:0] }

// frameReader finds the frames of one segment.
type frameReader struct {
	window
	number uint64
	seed   uint32

	behind *uint64 // what evidenceAfter found; the first search covers all later ones
}

// maxOffset is how far into a segment an entry of the index can point.
const maxOffset = 1 << 32 * frameAlign

// header reads the frame at off; false if there is no valid one.
func (r *frameReader) header(off int64) (found, bool) {
	f := found{at: place{r.number, off}}
	if off >= maxOffset {
		return f, false
	}
	return f, f.decode(r.at(off, frameHeaderSize), r.seed)
}

// blank reports whether nothing was written at off.
func (r *frameReader) blank(off int64) bool {
	var zero [frameHeaderSize]byte
	b := r.at(off, frameHeaderSize)
	return bytes.Equal(b, zero[:len(b)])
}

// search finds the first valid frame at or behind off with an LSN of least min.
func (r *frameReader) search(off int64, min uint64) (found, bool) {
	for ; ; off += frameAlign {
		b := r.at(off, frameHeaderSize)
		if len(b) < frameHeaderSize {
			return found{}, false
		}
		if [4]byte(b) != frameMagic {
			continue
		}
		if f, ok := r.header(off); ok && f.lsn >= min {
			return f, true
		}
	}
}

// evidenceAfter is the highest LSN that f, or a frame behind it, says was durable.
func (r *frameReader) evidenceAfter(f found, ok bool) uint64 {
	if r.behind == nil {
		r.behind = new(uint64)
		for ; ok; f, ok = r.search(f.at.off+f.span(), f.lsn+1) {
			*r.behind = max(*r.behind, f.durable)
		}
	}
	return *r.behind
}

// dataIsWhole compares a frame's data with its checksum. An error is the medium's.
func dataIsWhole(f file, p *found) (bool, error) {
	buf := make([]byte, min(p.length, 256<<10))
	crc, off, left := uint32(0), p.at.off+frameHeaderSize, int64(p.length)
	for left > 0 {
		b := buf[:min(left, int64(len(buf)))]
		n, err := f.ReadAt(b, off)
		if n < len(b) {
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, tlog.Corruptf("unreadable data: %w", err)
		}
		crc = crc32.Update(crc, castagnoli, b)
		off, left = off+int64(n), left-int64(n)
	}
	return crc == p.dataCRC, nil
}

// maxManifest bounds the data of an init frame.
const maxManifest = 1 << 20

// readManifest reads the data of an init frame.
func readManifest(fs fsys, p *found) ([]byte, error) {
	if p.length > maxManifest {
		return nil, fmt.Errorf("it is of %d bytes", p.length)
	}
	f, err := fs.open(segmentName(p.at.segment), false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, p.length)
	if n, err := f.ReadAt(b, p.at.off+frameHeaderSize); n < len(b) {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != p.dataCRC {
		return nil, errors.New("its checksum is wrong")
	}
	return b, nil
}
