package schema

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"tlog"
)

// Sizes of what a Reader reads ahead, in bytes. It starts small and grows while
// small messages fill it. A large frame makes it read small portions again: what
// follows goes straight to where it belongs instead of being copied.
const (
	minWindow  = 4 << 10
	maxWindow  = 64 << 10
	largeFrame = 32 << 10
)

// Reader reads framed messages from a connection. Not safe for concurrent use.
//
// It may read ahead of the message it returns, so nothing else may read from
// the connection. Type may be called again after an error that the connection
// recovers from, such as a read deadline; after any other error the position in
// the stream is unknown, and the Reader must not be used again.
type Reader struct {
	r          io.Reader
	late       *lateReader // of r; nil: it cannot
	buf        []byte      // nil: none is held
	start, end int         // what is buffered
	window     int         // how much the next fill may read
	inside     bool        // a type byte was read, and its frame not yet
	beginning  []byte      // of a long message, in lent memory; nil: none was waited for
}

// NewReader reads from r through a buffer, which a connection holds only while
// something is in it; large bodies go straight from r into the caller's buffer.
func NewReader(r io.Reader) *Reader {
	n := &Reader{r: r, window: minWindow}
	n.late = newLateReader(r, n)
	return n
}

// Type reads the type byte ahead of a client message; io.EOF, as it is, when
// the peer ended the stream between messages.
func (r *Reader) Type() (MessageType, error) {
	if err := r.need(1); err != nil {
		return 0, r.wrap("type", err)
	}
	t := r.buf[r.start]
	r.start++
	r.inside = true
	return MessageType(t), nil
}

// Blocks appends to dst the frames of version-1 blocks that are buffered as a
// whole, up to most: that of the block whose type was read, and of those behind
// it. None is of more than MaxBlock bytes. They alias the Reader's memory until
// it is used again. Nothing is read, and nothing counts as read before Took.
func (r *Reader) Blocks(dst [][]byte, most int) [][]byte {
	for at := r.start; most > 0; most-- {
		b := r.buf[at:r.end]
		f, err := parseFrame(b)
		if err != nil || f.total > MaxBlock {
			break // Frame says what is wrong
		}
		n := int(f.total)
		dst = append(dst, b[:n:n])
		if n == len(b) || MessageType(b[n]) != MsgBlock {
			break
		}
		at += n + 1
	}
	return dst
}

// Took says that frames, the first ones that Blocks gave, were taken.
func (r *Reader) Took(frames [][]byte) {
	for i, f := range frames {
		r.start += len(f)
		if i > 0 {
			r.start++ // its type
		}
		r.adapt(len(f))
	}
	r.inside = false
}

// Frame reads one message of at most max bytes, framing included. alloc gives
// the buffer for n bytes: it may block, or refuse with an error, which Frame
// returns as it is; nil means make. It is called once the announced length has
// passed the limit, and not at all otherwise.
//
// Errors: io.EOF, as it is, when the peer ended the stream between messages;
// io.ErrUnexpectedEOF in an error of class tlog.Protocol inside one; too long
// or too many segments: class tlog.Protocol; what the connection returned.
func (r *Reader) Frame(max int, alloc func(n int) ([]byte, error)) ([]byte, error) {
	if err := r.need(headerSize); err != nil {
		return nil, r.wrap("frame", err)
	}
	r.inside = true
	segments, header, err := tableSize(r.buf[r.start:])
	if err != nil {
		return nil, err
	}
	if err := r.need(header); err != nil {
		return nil, r.wrap("frame", err)
	}
	f := parseTable(r.buf[r.start:r.start+header], segments)
	if max < 0 || f.total > uint64(max) {
		return nil, tlog.Protocolf("schema: frame: %d bytes announced; the limit is %d", f.total, max)
	}
	n := int(f.total)
	frame, err := allocate(alloc, n)
	if err != nil {
		return nil, err
	}
	r.adapt(n)
	if err := r.full(frame[r.begun(frame):]); err != nil {
		return nil, r.wrap("frame", err)
	}
	r.inside = false
	return frame, nil
}

// long is the length from which on a message should have begun to come before it
// is given memory: a few bytes that announce it are not enough.
const long = 512 << 10

// beginnings are lent to messages that are waited for; an eighth of the longest
// block fits.
var beginnings = sync.Pool{New: func() any { return new([(MaxBlock + 7) / 8]byte) }}

// Begin waits, from within Frame's alloc, until an eighth of a long message of n
// bytes has come, or as much as fits in memory that is lent for it. For other
// messages it does nothing. Errors are those of Frame.
func (r *Reader) Begin(n int) error {
	if n < long {
		return nil
	}
	b := beginnings.Get().(*[(MaxBlock + 7) / 8]byte)
	r.beginning = b[:min(n/8, len(b))]
	if err := r.full(r.beginning); err != nil {
		r.begun(nil)
		return r.wrap("frame", err)
	}
	return nil
}

// begun copies what Begin read to where it belongs, and tells its length.
func (r *Reader) begun(frame []byte) int {
	if r.beginning == nil {
		return 0
	}
	n := copy(frame, r.beginning)
	beginnings.Put((*[(MaxBlock + 7) / 8]byte)(r.beginning[:cap(r.beginning)]))
	r.beginning = nil
	return n
}

func allocate(alloc func(n int) ([]byte, error), n int) ([]byte, error) {
	if alloc == nil {
		return make([]byte, n), nil
	}
	b, err := alloc(n)
	if err != nil {
		return nil, err
	}
	if len(b) < n {
		panic("internal error: schema: alloc gave a shorter buffer than it was asked for")
	}
	return b[:n:n], nil
}

// adapt chooses how much the next fills read, by the frame just announced and
// what the last fill got.
func (r *Reader) adapt(n int) {
	switch {
	case n > largeFrame:
		r.window = minWindow
	case r.end >= r.window && r.window < maxWindow:
		r.window *= 2
	}
}

// full fills p, first with what is buffered. What is left of a long p is read
// without a copy.
func (r *Reader) full(p []byte) error {
	for {
		n := copy(p, r.buf[r.start:r.end])
		r.start += n
		p = p[n:]
		if len(p) == 0 {
			return nil
		}
		if len(p) >= r.window {
			_, err := io.ReadFull(r.r, p)
			return err
		}
		if err := r.need(1); err != nil {
			return err
		}
	}
}

// need buffers n bytes, at most a segment table. io.EOF if there is not even
// one, io.ErrUnexpectedEOF if there are fewer.
func (r *Reader) need(n int) error {
	if r.end-r.start >= n {
		return nil
	}
	r.compact()
	for idle := 0; r.end < n; {
		m, err := r.fill(n)
		r.end += m
		if r.end >= n {
			return nil
		}
		if err == io.EOF && r.end > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if idle++; m > 0 {
			idle = 0
		} else if idle == 100 {
			return io.ErrNoProgress
		}
	}
	return nil
}

// fill reads once, behind what is buffered.
func (r *Reader) fill(n int) (int, error) {
	if r.late != nil && r.end == 0 {
		return r.late.read()
	}
	return r.r.Read(r.buf[r.end:max(r.window, n)])
}

// compact moves what is buffered to the front of a buffer of the window's size.
func (r *Reader) compact() {
	if r.late != nil {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
		return
	}
	buf := r.buf
	if len(buf) < r.window {
		buf = make([]byte, r.window)
	}
	r.end = copy(buf, r.buf[r.start:r.end])
	r.start, r.buf = 0, buf
}

// wrap gives an error its place and, for a message that was cut off, its class.
func (r *Reader) wrap(what string, err error) error {
	switch {
	case err == io.EOF && !r.inside:
		return io.EOF
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return tlog.Protocolf("schema: %s: the peer ended inside a message: %w", what, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("schema: %s: %w", what, err)
}
