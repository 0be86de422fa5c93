package file

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"tlog"
	"tlog/internal/failpoint"
)

// Sizes of segments, in bytes.
const (
	defaultSegmentBytes = 64 << 20
	minSegmentBytes     = 64 << 10
	firstAllocation     = 256 << 10 // a new segment's; an empty pool stays small
	maxAllocation       = 16 << 20  // what a segment grows by at most
)

const newSegment = "new" // a segment's name until it is whole

// log is the writing end. It is owned by the committer.
type log struct {
	fs    fsys
	limit int64 // a segment takes no batch that would end behind it, except the first

	store   tlog.UUID
	segment uint64 // the active one; 0: none yet
	seed    uint32
	f       file
	end     int64 // where the next frame goes
	size    int64 // what is allocated
	next    uint64
	durable uint64
	cut     int64 // bytes that recovery zeroed
	marked  bool  // the last frame says that all before it is durable

	stage  stage       // of the batch
	draft  *draft      // of the active segment
	sealed chan *draft // of those before it, to be written by somebody else
}

// errFull says that there is no space; nothing was changed.
var errFull = errors.New("no space left")

// reserve makes sure that n bytes can be written into the active segment.
// Errors but errFull mean that the directory can no longer be trusted to keep
// what it is given.
func (l *log) reserve(n int64) error {
	if l.segment == 0 || l.end+n > max(l.limit, segmentHeaderSize+n) {
		return l.roll(n)
	}
	if l.end+n <= l.size {
		return nil
	}
	size, err := allocate(l.f, l.size, l.end+n, l.size)
	l.size = size
	return err
}

// allocate lets f, of size bytes, grow to want bytes, or by about step if
// there is space for that, and gives its new size.
func allocate(f file, size, want, step int64) (int64, error) {
	step = min(max(step, firstAllocation), maxAllocation)
	for _, to := range []int64{max(want, size+step), want} {
		to = (to + segmentHeaderSize - 1) &^ (segmentHeaderSize - 1)
		err := f.allocate(size, to-size)
		if err == nil {
			return to, nil
		}
		if !isFull(err) {
			return size, err
		}
	}
	return size, errFull
}

// roll starts the next segment, with room for n bytes. A segment gets its name
// when it is durably whole, and its name is proof that every frame of the
// segments before it was durable: so a batch never spans two.
func (l *log) roll(n int64) error {
	if l.segment == 0 && l.store.IsZero() {
		if _, err := rand.Read(l.store[:]); err != nil {
			return err
		}
	}
	h := segmentHeader{number: l.segment + 1, first: l.next, store: l.store}
	f, size, err := l.prepare(&h, n)
	if err != nil {
		if rerr := l.fs.remove(newSegment); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return rerr
		}
		if isFull(err) {
			return errFull
		}
		return err
	}
	failpoint.Here("file.prepared")
	err = l.fs.rename(newSegment, segmentName(h.number))
	failpoint.Here("file.renamed")
	if err == nil {
		err = l.fs.sync()
	}
	if err != nil {
		f.Close()
		return err
	}
	l.close()
	l.seal(&h)
	l.segment, l.seed = h.number, seedOf(l.store, h.number)
	l.f, l.end, l.size = f, segmentHeaderSize, size
	return nil
}

// seal hands over the draft of the segment in front of h, and begins another.
// Nobody waits for a contents file: if the writing of them is behind, the next
// one to open the directory for writing makes this one.
func (l *log) seal(h *segmentHeader) {
	if l.draft != nil {
		select {
		case l.sealed <- l.draft:
		default:
		}
	}
	l.draft = newDraft(h)
}

// prepare makes a segment under a passing name.
func (l *log) prepare(h *segmentHeader, n int64) (f file, size int64, err error) {
	f, err = l.fs.create(newSegment)
	if err != nil {
		return nil, 0, err
	}
	step := int64(firstAllocation)
	if h.number > 1 { // a directory that filled a segment fills another
		step = l.limit / 4
	}
	if size, err = allocate(f, 0, segmentHeaderSize+n, step); err == nil {
		err = f.writeAt([][]byte{h.encode()}, 0)
	}
	if err == nil {
		err = f.sync()
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// write gives frames their LSNs and writes them behind one another into the
// room that was reserved. It fills in the header of each.
func (l *log) write(frames []frame) error {
	l.marked = false
	if err := l.stage.seek(l.f, l.end); err != nil {
		return err
	}
	for i := range frames {
		f := &frames[i]
		f.header.lsn, f.header.durable = l.next, l.durable
		f.at = place{l.segment, l.end}
		if err := l.stage.frame(f, l.seed); err != nil {
			return err
		}
		l.draft.add(&f.header, f.at)
		l.end += f.header.span()
		l.next++
	}
	return l.stage.write(true)
}

// sync makes everything that was written durable.
func (l *log) sync() error {
	if err := l.f.sync(); err != nil {
		return err
	}
	l.durable = l.next - 1
	return nil
}

// mark writes and syncs two frames that say what is durable, so that bit rot in
// the last batch is told apart from a torn write even if nothing follows it.
// The second is in another block, so that one bad block does not take with it
// the last claim and the proof of it. Having no room for them is no error.
func (l *log) mark() error {
	frames := []frame{
		{header: header{kind: kindMark, length: uint32(len(markData))}, data: [2][]byte{markData[:]}},
		{header: header{kind: kindMark}},
	}
	err := l.reserve(frames[0].header.span() + frames[1].header.span())
	if errors.Is(err, errFull) {
		return nil
	}
	if err == nil {
		err = l.write(frames)
	}
	if err == nil {
		err = l.sync()
	}
	if err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	l.marked = true
	return nil
}

// markData keeps two marks a block apart. It is read only.
var markData [4096]byte

func (l *log) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}
