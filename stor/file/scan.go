package file

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"tlog"
)

const segmentSuffix = ".seg"

// segmentName is the file name of a segment: 20 digits, so that names sort.
func segmentName(number uint64) string { return fmt.Sprintf("%020d%s", number, segmentSuffix) }

// segmentNumbers lists the segments that are there, ascending.
func segmentNumbers(fs fsys) ([]uint64, error) {
	names, err := fs.list()
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		n, err := strconv.ParseUint(digits, 10, 32)
		if ok && err == nil && n > 0 && name == segmentName(n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// found is a frame with a valid header.
type found struct {
	header
	at place
}

// scan walks the frames of a directory in the order of their LSNs. It can be
// run again later, and goes on where it stopped.
//
// Two things are told apart when a frame is not where it should be. If a later
// valid frame, or a later segment, says that it was durable, or if the medium
// does not give the bytes, it is damage. Else the log ends there: it was being
// written when power was lost, and nobody was answered.
type scan struct {
	fs fsys
	// apply takes a frame, with its data if it is an init frame.
	apply func(f *found, data []byte) error

	every  bool     // look at every frame, and believe no contents file
	drafts bool     // are kept: by a writer, which will write them
	draft  *draft   // of the current segment
	sealed []*draft // of segments without a contents file to believe

	store    tlog.UUID
	segment  uint64  // that the scan stands in; 0: none yet
	off      int64   // where the next frame begins
	next     uint64  // its LSN
	proven   uint64  // highest LSN known to have been durable
	pending  []found // valid, above proven, in order
	searched place   // the end of the log that was looked behind already
	damage   []error

	// undecided is where the frames begin that the last run took without proof
	// that they were durable; the zero place if there are none.
	undecided place
}

func newScan(fs fsys, apply func(*found, []byte) error) *scan {
	return &scan{fs: fs, apply: apply, next: 1}
}

// damaged notes what cannot be read though it was durable.
func (s *scan) damaged(format string, a ...any) {
	s.damage = append(s.damage, tlog.Corruptf(format, a...))
}

// run reads everything from where the last run stopped. An error means that
// the directory could not be read at all, or is of a newer version.
func (s *scan) run() error {
	numbers, err := segmentNumbers(s.fs)
	if err != nil {
		return err
	}
	headers, err := s.headers(numbers)
	if err != nil {
		return err
	}
	s.undecided = place{}
	for i, h := range headers {
		if h.number < s.segment {
			continue
		}
		if h.number > s.segment {
			s.enter(h)
		}
		var after *segmentHeader
		if i+1 < len(headers) {
			after = &headers[i+1]
		}
		if err := s.scanSegment(&h, after); err != nil {
			return err
		}
	}
	return s.decide()
}

// headers reads the headers of the segments from the current one on.
func (s *scan) headers(numbers []uint64) ([]segmentHeader, error) {
	var all []segmentHeader
	var lost []uint64
	for _, n := range numbers {
		if n < s.segment {
			continue
		}
		h, err := readSegmentHeader(s.fs, n)
		switch {
		case err != nil && tlog.ClassOf(err) != tlog.Corrupt:
			return nil, err
		case err != nil:
			s.damaged("%w", err)
			lost = append(lost, n)
			h.number = n
		case s.store.IsZero():
			s.store = h.store
		case h.store != s.store:
			s.damaged("segment %d belongs to another store", n)
		}
		all = append(all, h)
	}
	if len(lost) > 0 && !s.store.IsZero() {
		for i := range all {
			if slices.Contains(lost, all[i].number) {
				all[i].first = s.firstFrame(all[i].number)
			}
		}
	}
	return all, nil
}

// openSegment opens a segment that was listed. One that is gone by now is damage:
// somebody wipes the directory beside a reader, which can do without it.
func openSegment(dir fsys, number uint64) (file, error) {
	f, err := dir.open(segmentName(number), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tlog.Corruptf("segment %d was listed, and is gone", number)
	}
	return f, err
}

// readSegmentHeader reads whichever copy of a segment's header is whole.
func readSegmentHeader(fs fsys, number uint64) (segmentHeader, error) {
	var h segmentHeader
	f, err := openSegment(fs, number)
	if err != nil {
		return h, err
	}
	defer f.Close()
	w := window{f: f}
	for _, off := range []int64{0, segmentCopy} {
		v := h.decode(w.at(off, segmentFields))
		switch {
		case v > formatVersion:
			return h, fmt.Errorf("segment %d has format version %d; this program reads up to %d", number, v, formatVersion)
		case v != 0 && h.number == number:
			return h, nil
		}
	}
	return segmentHeader{}, tlog.Corruptf("segment %d: its header is unreadable", number)
}

// firstFrame is the LSN of the first readable frame of a segment whose header
// is lost; 0 if there is none.
func (s *scan) firstFrame(number uint64) uint64 {
	f, err := s.fs.open(segmentName(number), false)
	if err != nil {
		return 0
	}
	defer f.Close()
	r := frameReader{window: window{f: f}, number: number, seed: seedOf(s.store, number)}
	if found, ok := r.search(segmentHeaderSize, 0); ok {
		return found.lsn
	}
	return 0
}

// enter goes on to a segment.
func (s *scan) enter(h segmentHeader) {
	if h.number != s.segment+1 {
		s.damaged("segments %d…%d are missing", s.segment+1, h.number-1)
	} else if h.first > s.next {
		s.damaged("segment %d begins with frame %d instead of %d", h.number, h.first, s.next)
	}
	s.segment, s.off = h.number, segmentHeaderSize
	s.next = max(s.next, h.first)
	s.prove(s.next - 1)
	s.finish(&h)
}

// scanSegment reads the current segment, h, to its end; after is the one behind it.
func (s *scan) scanSegment(h, after *segmentHeader) error {
	f, err := openSegment(s.fs, s.segment)
	if tlog.ClassOf(err) == tlog.Corrupt {
		s.damaged("%w", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if listed, err := s.byContents(f, h, after); listed || err != nil {
		return err
	}
	if s.off == segmentHeaderSize && (s.drafts || s.every) {
		s.draft = newDraft(h)
	}
	r := &frameReader{window: window{f: f}, number: s.segment, seed: seedOf(s.store, s.segment)}
	for {
		if after != nil && after.first != 0 && s.next >= after.first {
			return nil
		}
		h, ok := r.header(s.off)
		if !ok || h.lsn != s.next {
			if h, ok = s.gap(r, after); !ok {
				return nil
			}
		}
		if err := s.accept(h); err != nil {
			return err
		}
	}
}

// gap decides what it means that the next frame is not at s.off, and gives the
// frame to go on with if there is one.
func (s *scan) gap(r *frameReader, after *segmentHeader) (found, bool) {
	here := place{s.segment, s.off}
	r.forget()
	if after == nil && s.searched == here && r.blank(s.off) {
		return found{}, false
	}
	bad := r.bad
	next, ok := r.search(s.off, s.next)
	if after == nil && r.evidenceAfter(next, ok) < s.next && r.bad == bad {
		s.searched = here
		return found{}, false
	}
	// A writer may have gone on since the first look. What is written now as
	// durable was written whole before, so a second look decides.
	r.forget()
	if h, ok := r.header(s.off); ok && h.lsn == s.next {
		return h, true
	}
	if !ok {
		s.damaged("segment %d: frames from %d on are unreadable, from offset %d", s.segment, s.next, s.off)
		return found{}, false
	}
	s.damaged("segment %d: frames %d…%d are unreadable, at offset %d", s.segment, s.next, next.lsn-1, s.off)
	return next, true
}

// accept takes a frame with a valid header, and moves behind it.
func (s *scan) accept(f found) error {
	if f.kind == 0 || f.kind > kindLast {
		return fmt.Errorf("segment %d: frame %d is of unknown kind %d: written by a newer version", s.segment, f.lsn, f.kind)
	}
	s.off, s.next = f.at.off+f.span(), f.lsn+1
	s.pending = append(s.pending, f)
	s.prove(f.durable)
	return nil
}

// prove applies the frames up to lsn, which were durable: whatever their data
// looks like now, they count.
func (s *scan) prove(lsn uint64) {
	s.proven = max(s.proven, lsn)
	n := 0
	for n < len(s.pending) && s.pending[n].lsn <= s.proven {
		s.take(&s.pending[n])
		n++
	}
	s.pending = append(s.pending[:0], s.pending[n:]...)
}

// take applies one frame.
func (s *scan) take(f *found) {
	var data []byte
	if f.kind == kindInit {
		var err error
		if data, err = readManifest(s.fs, f); err != nil {
			s.damaged("frame %d: the manifest: %w", f.lsn, err)
			return
		}
	}
	if err := s.apply(f, data); err != nil {
		s.damaged("%w", err)
	}
	if s.draft != nil {
		s.draft.add(&f.header, f.at)
	}
}

// decide looks at the frames that nothing proves to have been durable: the last
// batch. They count up to the first whose data is not whole.
func (s *scan) decide() error {
	if len(s.pending) == 0 {
		return nil
	}
	f, err := s.fs.open(segmentName(s.segment), false)
	if err != nil {
		return err
	}
	defer f.Close()
	s.undecided = s.pending[0].at
	for i := range s.pending {
		p := &s.pending[i]
		whole, err := dataIsWhole(f, p)
		if err != nil {
			s.damaged("frame %d: %w", p.lsn, err)
		} else if !whole {
			s.off, s.next = p.at.off, p.lsn
			break
		}
		s.take(p)
	}
	s.pending = s.pending[:0]
	return nil
}
