package schema

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

// connected is two ends of a TCP connection.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // nothing is lost
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// A connection that waits for a message holds no buffer, however large the one
// was that it had, and goes on after its deadline passed.
func TestIdleReaderHoldsNoBuffer(t *testing.T) {
	a, b := connected(t)
	r := NewReader(b)
	if r.late == nil {
		t.Fatal("a TCP connection cannot be read late")
	}
	for range 3 {
		var message []byte
		for range 11 {
			message = AppendCommand(message, MsgForceFlush, 7)
		}
		if _, err := a.Write(message); err != nil {
			t.Fatal(err)
		}
		for range 11 {
			readCommand(t, r, 7)
		}
		if err := b.SetReadDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Type(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read past the deadline: %v", err)
		}
		if r.buf != nil {
			t.Fatalf("it holds %d bytes", len(r.buf))
		}
		if err := b.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Type(); err != io.EOF {
		t.Fatalf("after the end: %v", err)
	}
}

// wrapped is a connection with a Read of its own, and all else of a socket.
type wrapped struct {
	*net.TCPConn
	reads int
}

func (w *wrapped) Read(b []byte) (int, error) {
	w.reads++
	return w.TCPConn.Read(b)
}

// Who wraps a connection sees everything that is read from it.
func TestWrappedConnectionIsNotPassedBy(t *testing.T) {
	a, b := connected(t)
	w := &wrapped{TCPConn: b.(*net.TCPConn)}
	r := NewReader(w)
	if _, err := a.Write(AppendCommand(nil, MsgForceFlush, 7)); err != nil {
		t.Fatal(err)
	}
	if readCommand(t, r, 7); w.reads == 0 {
		t.Error("read behind the back of a connection's own Read")
	}
}

func readCommand(t *testing.T, r *Reader, want uint64) {
	t.Helper()
	typ, err := r.Type()
	if err != nil || typ != MsgForceFlush {
		t.Fatalf("type %d, %v", typ, err)
	}
	frame, err := r.Frame(MaxCommand, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, s, err := DecodeCommand(frame); err != nil || s != want {
		t.Fatalf("command for %d, %v; want %d", s, err, want)
	}
}

// Messages that arrive in pieces, on many connections at once, which hand
// buffers to each other, come out whole.
func TestLateReadersShareBuffers(t *testing.T) {
	for range 8 {
		a, b := connected(t)
		seed := rand.Uint64()
		go func() {
			defer a.Close() //nolint:errcheck // its end is what counts
			random := rand.New(rand.NewPCG(seed, 1))
			var stream []byte
			for i := range uint64(300) {
				stream = AppendCommand(stream, MsgForceFlush, seed+i)
			}
			for len(stream) > 0 {
				n := min(1+random.IntN(200), len(stream))
				if _, err := a.Write(stream[:n]); err != nil {
					return
				}
				stream = stream[n:]
			}
		}()
		t.Run("", func(t *testing.T) {
			t.Parallel()
			r := NewReader(b)
			for i := range uint64(300) {
				readCommand(t, r, seed+i)
			}
			if _, err := r.Type(); err != io.EOF {
				t.Fatalf("after the end: %v", err)
			}
		})
	}
}
