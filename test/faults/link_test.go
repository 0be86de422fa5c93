//go:build e2e

package faults

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// The two directions of a link.
const (
	forth = 0 // from who connected
	back  = 1
)

// link is a cable between two TCP peers that misbehaves in one direction.
type link struct {
	addr, target string
	l            net.Listener
	wg           sync.WaitGroup

	mu     sync.Mutex
	state  *lineFault
	conns  map[net.Conn]struct{}
	closed bool
}

// lineFault is a fault while it lasts.
type lineFault struct {
	carry func(*flow, []byte) bool // false: the connection ends
	dir   int
	over  chan struct{}
}

// flow is one direction of one connection.
type flow struct {
	link     *link
	src, dst net.Conn
	dir      int
	dead     bool // half-open: nothing gets through any more, ever
}

func newLink(t testing.TB, target string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{addr: l.Addr().String(), target: target, l: l, conns: map[net.Conn]struct{}{}}
	k.wg.Go(k.accept)
	t.Cleanup(k.close)
	return k
}

func (k *link) close() {
	k.mu.Lock()
	k.closed = true
	for c := range k.conns {
		_ = c.Close()
	}
	k.mu.Unlock()
	_ = k.l.Close()
	k.wg.Wait()
}

func (k *link) accept() {
	for {
		c, err := k.l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", k.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		k.mu.Lock()
		closed := k.closed
		k.conns[c], k.conns[up] = struct{}{}, struct{}{}
		k.mu.Unlock()
		if closed {
			_, _ = c.Close(), up.Close()
			return
		}
		k.wg.Go(func() { (&flow{link: k, src: c, dst: up, dir: forth}).run() })
		k.wg.Go(func() { (&flow{link: k, src: up, dst: c, dir: back}).run() })
	}
}

// set makes a fault, or ends it (nil).
func (k *link) set(f *lineFault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = f
}

func (k *link) now(dir int) *lineFault {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == nil || k.state.dir != dir {
		return nil
	}
	return k.state
}

// run carries bytes until either end closes; that is passed on, unless the
// cable is cut.
func (f *flow) run() {
	buf := make([]byte, 16<<10)
	for {
		n, err := f.src.Read(buf)
		if n > 0 && !f.deliver(buf[:n]) {
			break
		}
		if err != nil {
			break
		}
	}
	f.end()
}

func (f *flow) deliver(b []byte) bool {
	if f.dead {
		return true
	}
	if s := f.link.now(f.dir); s != nil {
		return s.carry(f, b)
	}
	_, err := f.dst.Write(b)
	return err == nil
}

func (f *flow) end() {
	if !f.dead {
		_, _ = f.dst.Close(), f.src.Close()
	}
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	if !f.dead {
		delete(f.link.conns, f.src)
		delete(f.link.conns, f.dst)
	}
}

// until waits for d, or for the end of the fault.
func (s *lineFault) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.over:
	}
}

// netFault is one way in which a cable misbehaves.
type netFault struct {
	name  string
	carry func(s *lineFault, f *flow, b []byte) bool
	flips bool // what was sent is not what arrives
}

var netFaults = []netFault{
	{name: "delay and jitter", carry: func(s *lineFault, f *flow, b []byte) bool {
		s.wait(time.Duration(5+rand.IntN(60)) * time.Millisecond)
		return f.pass(b)
	}},
	{name: "half-open", carry: func(_ *lineFault, f *flow, _ []byte) bool {
		f.dead = true // no end hears of it, and new connections are good
		return true
	}},
	{name: "RST inside a frame", carry: func(s *lineFault, f *flow, b []byte) bool {
		s.wait(10 * time.Millisecond)
		f.pass(b[:len(b)/2])
		for _, c := range []net.Conn{f.src, f.dst} {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		return false
	}},
	{name: "FIN inside a frame", carry: func(s *lineFault, f *flow, b []byte) bool {
		s.wait(10 * time.Millisecond)
		f.pass(b[:len(b)/2])
		return false
	}},
	{name: "one direction lost", carry: func(s *lineFault, f *flow, b []byte) bool {
		<-s.over // the other direction goes on; afterwards TCP sends again what was lost
		return f.pass(b)
	}},
	{name: "a peer that never reads", carry: func(s *lineFault, f *flow, _ []byte) bool {
		_ = f.src.(*net.TCPConn).SetReadBuffer(4096)
		<-s.over
		return false // it is killed in the end
	}},
	{name: "one byte at a time", carry: func(s *lineFault, f *flow, b []byte) bool {
		for i := range b {
			s.wait(20 * time.Millisecond)
			if !f.pass(b[i : i+1]) {
				return false
			}
		}
		return true
	}},
	{name: "flipped bits", flips: true, carry: func(_ *lineFault, f *flow, b []byte) bool {
		if rand.IntN(3) == 0 {
			i := rand.IntN(8 * len(b))
			b[i/8] ^= 1 << (i % 8)
		}
		return f.pass(b)
	}},
}

func (f *flow) pass(b []byte) bool {
	_, err := f.dst.Write(b)
	return err == nil
}
