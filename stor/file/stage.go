package file

import (
	"errors"
	"hash/crc32"
	"io"
)

const (
	// block is what the file system writes at once: a direct write begins and
	// ends at multiples of it, in the file and in memory.
	block = 4096
	// stageBytes is a batch of maxBatch frames of maxBatchBytes together, and
	// the block that it begins in. A single frame may be larger.
	stageBytes = block + maxBatchBytes + maxBatch*(frameHeaderSize+frameAlign)
	// pieceBytes is copied at a time, and is still in the fastest cache when its
	// checksum is made.
	pieceBytes = 16 << 10
)

// stage is memory of whole blocks in which the frames of a batch are put behind
// one another, so that they can be written past the page cache: a log is
// seldom read, and for each page of it the kernel takes more time than a copy.
//
// The last block is written again with what comes behind it, as it would be
// from the page cache. Its bytes are kept here and do not change.
type stage struct {
	buf  []byte // aligned; it grows up to stageBytes
	off  int64  // in the file, of buf[0]; a multiple of block
	n    int    // bytes of buf that are filled
	open bool   // buf holds what stands at off in f
	f    file
	vec  [1][]byte
}

// seek makes off the place of what is put next. What stands in f before it, in
// the same block, is kept; behind it are zeroes.
func (s *stage) seek(f file, off int64) error {
	if s.open && s.f == f && s.off+int64(s.n) == off {
		return nil
	}
	s.f, s.off, s.n, s.open = f, off&^(block-1), 0, true
	s.grow(block)
	s.n = int(off - s.off)
	got, err := f.ReadAt(s.buf[:s.n], s.off)
	if errors.Is(err, io.EOF) { // the padding of the last frame, at the end of the file
		err = nil
	}
	clear(s.buf[got:s.n])
	return err
}

// grow makes buf at least n bytes long, n ≤ stageBytes.
func (s *stage) grow(n int) {
	if n <= len(s.buf) {
		return
	}
	buf := alignedBlocks(min(max(n, 4*len(s.buf)), stageBytes))
	copy(buf, s.buf[:s.n])
	s.buf = buf
}

// fits makes room for n bytes more, and reports whether there can be that much
// without a write.
func (s *stage) fits(n int64) bool {
	if int64(s.n)+n > stageBytes {
		return false
	}
	s.grow((s.n + int(n) + block - 1) &^ (block - 1))
	return true
}

// frame puts a frame behind the others. Its header gets the checksum of its data.
func (s *stage) frame(f *frame, seed uint32) error {
	h := &f.header
	if !s.fits(h.span()) {
		return s.large(f, seed)
	}
	head := s.buf[s.n:][:frameHeaderSize]
	s.n += frameHeaderSize
	for _, d := range f.data {
		for len(d) > 0 {
			n := min(len(d), pieceBytes)
			piece := s.buf[s.n:][:n]
			copy(piece, d)
			h.dataCRC = crc32.Update(h.dataCRC, castagnoli, piece)
			s.n, d = s.n+n, d[n:]
		}
	}
	h.encode(head, seed)
	s.pad(h)
	return nil
}

// large puts a frame that takes more than one write.
func (s *stage) large(f *frame, seed uint32) error {
	h := &f.header
	for _, d := range f.data {
		h.dataCRC = crc32.Update(h.dataCRC, castagnoli, d)
	}
	if !s.fits(frameHeaderSize) {
		if err := s.write(false); err != nil {
			return err
		}
	}
	s.fits(stageBytes - int64(s.n))
	h.encode(s.buf[s.n:][:frameHeaderSize], seed)
	s.n += frameHeaderSize
	for _, d := range f.data {
		for len(d) > 0 {
			if s.n == len(s.buf) {
				if err := s.write(false); err != nil {
					return err
				}
			}
			n := copy(s.buf[s.n:], d)
			s.n, d = s.n+n, d[n:]
		}
	}
	s.pad(h)
	return nil
}

// pad puts zeroes up to the next frame; a block's end is one's too, so there is room.
func (s *stage) pad(h *header) {
	n := int(h.span()) - frameHeaderSize - int(h.length)
	clear(s.buf[s.n:][:n])
	s.n += n
}

// write writes the whole blocks, and if last is set what is left too, with
// zeroes behind it. What is left is kept.
func (s *stage) write(last bool) error {
	whole := s.n &^ (block - 1)
	end := whole
	if last && whole < s.n {
		end += block
		clear(s.buf[s.n:end])
	}
	s.vec[0] = s.buf[:end]
	if err := s.f.writeAt(s.vec[:], s.off); err != nil {
		s.open = false
		return err
	}
	copy(s.buf, s.buf[whole:s.n])
	s.off, s.n = s.off+int64(whole), s.n-whole
	return nil
}
