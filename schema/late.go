package schema

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// windows are the buffers of connections that have something to read. One that
// waits has none: most connections of a server are idle.
var windows = sync.Pool{New: func() any { return new([maxWindow]byte) }}

// lateReader reads from a connection into a buffer that it takes only when
// there is something to read, and gives back when there is not.
type lateReader struct {
	raw  syscall.RawConn
	try  func(fd uintptr) bool
	from *Reader
	n    int
	err  error
}

// newLateReader is nil if r is not a socket of the operating system itself: what
// wraps one (TLS, a meter, a faulty network of a test) has a Read of its own,
// which must not be passed by, though it may lend its socket's other methods.
func newLateReader(r io.Reader, from *Reader) *lateReader {
	switch r.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil
	}
	if !canReadLate {
		return nil
	}
	raw, err := r.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	l := &lateReader{raw: raw, from: from}
	l.try = l.once // one closure for all reads
	return l
}

// read is an io.Reader's Read into the Reader's empty buffer.
func (l *lateReader) read() (int, error) {
	if err := l.raw.Read(l.try); err != nil {
		l.release()
		return 0, err
	}
	if l.n == 0 && l.err == nil {
		l.err = io.EOF
	}
	return l.n, l.err
}

// once reports whether the read is over; else it is called again when there is
// something to read.
func (l *lateReader) once(fd uintptr) bool {
	r := l.from
	if r.buf == nil {
		r.buf = windows.Get().(*[maxWindow]byte)[:]
	}
	var again bool
	if l.n, again, l.err = readNow(fd, r.buf[:r.window]); again {
		l.release()
	}
	return !again
}

func (l *lateReader) release() {
	if buf := l.from.buf; buf != nil {
		windows.Put((*[maxWindow]byte)(buf))
		l.from.buf = nil
	}
}
