package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"tlog/internal/failpoint"
)

const (
	contentsSuffix = ".toc"
	newContents    = "new" + contentsSuffix // a contents file's name until it is whole
)

// contentsName is the file name of a segment's contents.
func contentsName(number uint64) string { return fmt.Sprintf("%020d%s", number, contentsSuffix) }

// readContents reads the contents file of a segment of that size, which is not
// believed yet; nil: there is none, or it is none.
func readContents(dir fsys, number uint64, segment int64) *contents {
	f, err := dir.open(contentsName(number), false)
	if err != nil {
		return nil
	}
	defer f.Close()
	size, err := f.size()
	if err != nil || size > segment { // a frame is longer than its entry
		return nil
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) || err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	c := new(contents)
	if !c.decode(b) || c.number != number || c.size != segment || c.end > segment {
		return nil
	}
	return c
}

// fits reports whether c is of the segment f that h and the one behind it begin:
// by its store, number and size, by the first and the last frame, and by the
// LSNs. What is between is looked at when it is read.
func (c *contents) fits(f file, h, behind *segmentHeader) bool {
	return c.store == h.store && c.first == h.first && c.behind() == behind.first &&
		c.stands(f, 0, c.first, segmentHeaderSize) && c.stands(f, 1, c.behind()-1, c.last) && c.readInits(f)
}

// stands reports whether the first or the last frame is where c has it.
func (c *contents) stands(f file, end int, lsn uint64, off int64) bool {
	h, sum, ok := c.frame(f, off)
	return ok && h.lsn == lsn && sum == c.sums[end]
}

// frame reads one header, and its checksum, from the segment.
func (c *contents) frame(f file, off int64) (h header, sum uint32, ok bool) {
	var b [frameHeaderSize]byte
	if n, err := f.ReadAt(b[:], off); n < len(b) || err != nil && !errors.Is(err, io.EOF) {
		return h, 0, false
	}
	ok = h.decode(b[:], seedOf(c.store, c.number))
	return h, binary.LittleEndian.Uint32(b[124:]), ok
}

// readInits looks at the entries, and reads the init frames from the segment:
// they count only while their manifests can be read.
func (c *contents) readInits(f file) bool {
	var inits []header
	err := c.each(func(e *found) error {
		if e.kind != kindInit {
			return nil
		}
		h, _, ok := c.frame(f, e.at.off)
		if !ok || h.kind != kindInit || h.lsn != e.lsn || h.length != e.length {
			return errContents
		}
		inits = append(inits, h)
		return nil
	})
	c.inits = inits
	return err == nil
}

// byContents takes the frames of the current segment f from its contents file,
// and reports whether there is one to believe. Behind the segment there is
// another, so all of its frames were durable.
func (s *scan) byContents(f file, h, behind *segmentHeader) (bool, error) {
	if s.every || behind == nil || s.next != h.first || h.store != s.store { // or it was begun to be scanned
		return false, nil
	}
	size, err := f.size()
	if err != nil {
		return false, err
	}
	c := readContents(s.fs, s.segment, size)
	if c == nil || !c.fits(f, h, behind) {
		return false, nil
	}
	s.proven = max(s.proven, c.behind()-1)
	return true, c.each(func(e *found) error {
		s.off, s.next = e.at.off+e.span(), e.lsn+1
		s.take(e)
		return nil
	})
}

// finish ends the draft of the segment in front of h, if there is one. Who
// looks at every frame compares the contents file with it, as others believe
// that; a writer keeps it, to write the file.
func (s *scan) finish(h *segmentHeader) {
	d := s.draft
	s.draft = nil
	if d == nil || d.gap || d.next != h.first {
		return
	}
	written := false
	if s.every {
		var err error
		if written, err = d.written(s.fs, h); err != nil {
			s.damaged("segment %d: %w", d.number, err)
		}
	}
	if s.drafts && !written {
		s.sealed = append(s.sealed, d)
	}
}

// written reports whether there is a contents file that would be believed, and
// says what is wrong with it if it should not be.
func (d *draft) written(dir fsys, behind *segmentHeader) (bool, error) {
	f, err := dir.open(segmentName(d.number), false)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.size()
	if err != nil {
		return false, err
	}
	c := readContents(dir, d.number, size)
	h := segmentHeader{number: d.number, first: d.first, store: d.store}
	if c == nil || !c.fits(f, &h, behind) {
		return false, nil
	}
	if !bytes.Equal(c.encode(), d.image(size)) {
		return false, fmt.Errorf("%s says something else than its frames; remove it", contentsName(d.number))
	}
	return true, nil
}

// write makes the contents file of a sealed segment.
func (d *draft) write(dir fsys) error {
	g, err := dir.open(segmentName(d.number), false)
	if err != nil {
		return err
	}
	size, err := g.size()
	g.Close()
	if err != nil {
		return err
	}
	image := d.image(size)
	if image == nil {
		return nil
	}
	f, err := dir.create(newContents)
	if err != nil {
		return err
	}
	err = f.writeAt([][]byte{image}, 0)
	if err == nil {
		err = f.sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	failpoint.Here("file.listed")
	if err == nil {
		err = dir.rename(newContents, contentsName(d.number))
	}
	return err
}

// sealedKept is how many sealed segments wait for their contents files: of small
// frames those take up to a megabyte of memory. One is sealed every 64 MiB, so if
// more wait, the disk has better to do.
const sealedKept = 32

// writeContents writes the contents files of sealed segments, beside the
// committer. What cannot be written is no harm: the segment is scanned again.
func (s *Server) writeContents(backlog []*draft) {
	write := func(d *draft) {
		if err := d.write(s.fs); err != nil {
			s.logger.Warn("a segment has no contents file", "segment", d.number, "err", err)
		}
	}
	for _, d := range backlog {
		write(d)
	}
	for d := range s.log.sealed {
		write(d)
	}
}

// removeContents removes the contents files that may not be believed later: of
// segments that are yet to be written, and one that is not whole.
func removeContents(dir fsys, active uint64) error {
	names, err := dir.list()
	if err != nil {
		return err
	}
	removed := false
	for _, name := range names {
		if name != newContents && contentsNumber(name) < int64(active) {
			continue
		}
		if err := dir.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return dir.sync()
}

// contentsNumber is the segment whose contents file has that name; -1: none's.
func contentsNumber(name string) int64 {
	digits, ok := strings.CutSuffix(name, contentsSuffix)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || name != contentsName(n) {
		return -1
	}
	return int64(n)
}
