//go:build e2e

package e2e

import (
	"errors"
	"flag"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/schema"
)

// long is for `make proof`.
var long = flag.Bool("long", false, "run the tests under faults for five minutes each")

// pauseTime is longer than every time-out of client, server and store.
const pauseTime = 14 * time.Second

// fleet is two tlogservers on one pool.
type fleet struct {
	t       testing.TB
	pool    *pool
	addrs   [2]string
	servers [2]*process
}

func newFleet(t testing.TB, p *pool) *fleet {
	f := &fleet{t: t, pool: p}
	for i := range f.servers {
		f.addrs[i] = freeAddr(t)
		f.start(i)
	}
	return f
}

func (f *fleet) start(i int) {
	f.t.Helper()
	f.servers[i] = start(f.t, bin(f.t, "tlogserver"), append([]string{"--listen", f.addrs[i]}, f.pool.flags...)...)
	eventually(f.t, "tlogserver listens", func() error {
		c, err := net.Dial("tcp", f.addrs[i])
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// pause stops a server from running until resume.
func (f *fleet) pause(i int) { f.servers[i].pause() }

func (f *fleet) resume(i int) { f.servers[i].resume() }

// disk starts a disk that knows both servers.
func (f *fleet) disk(flags ...string) *stack {
	dir := f.t.TempDir()
	s := &stack{t: f.t, pool: f.pool, diskFlags: flags, addr: strings.Join(f.addrs[:], ","), socket: filepath.Join(dir, "nbd.sock"), base: filepath.Join(dir, "base.img")}
	s.startDisk()
	return s
}

// attaches is how often the disk found a server.
func (s *stack) attaches() int { return strings.Count(s.disk.out.String(), "msg=attached") }

// at is the server the disk is, or was last, attached to.
func (f *fleet) at(s *stack) int {
	f.t.Helper()
	out := s.disk.out.String()
	last := out[strings.LastIndex(out, "msg=attached"):]
	for i, addr := range f.addrs {
		if strings.Contains(strings.SplitN(last, "\n", 2)[0], addr) {
			return i
		}
	}
	f.t.Fatalf("the disk does not say where it is attached: %s", tail(out))
	return 0
}

// TestFailover kills and pauses, in turn, the server that has the disk, while
// fio writes to it. Neither fio nor the log may notice: the disk goes A, B, A,
// B …, no request fails, and what a restore gives is the disk.
func TestFailover(t *testing.T) {
	f := newFleet(t, newRedisPool(t, 7))
	s := f.disk()
	stop := make(chan struct{})
	wrote := make(chan int)
	go func() { wrote <- s.fioUntil(s.socket, stop) }()
	last := time.Now().Add(35 * time.Second)
	if *long {
		last = time.Now().Add(5 * time.Minute)
	}
	for n := 0; n < 2 || time.Now().Before(last); n++ {
		<-time.After(2 * time.Second)
		f.strike(s, n%2 == 1)
	}
	close(stop)
	if n := <-wrote; n == 0 {
		t.Error("fio never finished a round")
	}
	m := s.mark("disk.img")
	s.unfailed()
	if code := s.disk.stop(); code != 0 {
		t.Errorf("tlognbd ended with code %d", code)
	}
	image, _ := restore(t, f.pool, "latest")
	equal(t, image, m.image)
	run(t, bin(t, "tlogctl"), append([]string{"verify", vdisk}, f.pool.flags...)...)
}

// strike takes the disk's server from it, and gives that back when the disk
// has found the other one.
func (f *fleet) strike(s *stack, pause bool) {
	f.t.Helper()
	i, before := f.at(s), s.attaches()
	begin := time.Now()
	if pause {
		f.pause(i)
	} else {
		f.servers[i].kill()
	}
	eventually(f.t, "the disk finds the other server", func() error {
		if s.attaches() == before || f.at(s) == i {
			return errors.New(tail(s.disk.out.String()))
		}
		return nil
	})
	f.t.Logf("paused=%v: attached to the other server after %v", pause, time.Since(begin))
	if pause {
		<-time.After(time.Until(begin.Add(pauseTime)))
		f.resume(i)
	} else {
		f.start(i)
	}
}

var alice, bob = tlog.UUID{0xa1}, tlog.UUID{0xb0}

// TestZombie pauses a server with records on their way to it, lets another one
// take the vdisk, and wakes it: it acknowledges nothing any more, and sends its
// clients away. Then it may take the vdisk again, as anyone.
func TestZombie(t *testing.T) {
	f := newFleet(t, newRedisPool(t, 7))
	a := attach(t, f.addrs[0], schema.Hello{Client: alice})
	a.write("first")
	seen := a.again(alice)
	f.pause(0)
	paused := time.Now()
	a.send("into the void")
	b := attach(t, f.addrs[1], seen)
	if b.last != 1 || b.chain != seen.Chain {
		t.Fatalf("the second server starts at record %d", b.last)
	}
	b.write("another second record")
	<-time.After(time.Until(paused.Add(pauseTime)))
	f.resume(0)
	if ok, got := a.answers(2); ok {
		t.Errorf("a server that lost the vdisk acknowledged a record: %v", got)
	}
	b.write("the third")
	// A client that missed all that is sent away, or gets the history as it is.
	w := greet(t, f.addrs[0], seen).welcome
	if w.Status == tlog.HandshakeOK && w.LastFlushed < b.last {
		t.Errorf("the zombie welcomes at record %d, durable are %d", w.LastFlushed, b.last)
	}
	back := attach(t, f.addrs[0], b.again(alice))
	if back.last != b.last || back.chain != b.chain || back.welcome.Epoch <= b.welcome.Epoch {
		t.Errorf("back at the first server: record %d in epoch %d, want %d and above %d", back.last, back.welcome.Epoch, b.last, b.welcome.Epoch)
	}
	back.write("the fourth")
	if b.send("too late"); b.last != back.last {
		t.Fatalf("records %d and %d", b.last, back.last)
	}
	if ok, got := b.answers(b.last); ok {
		t.Errorf("the second server acknowledged what the first one has: %v", got)
	}
	run(t, bin(t, "tlogctl"), append([]string{"verify", vdisk}, f.pool.flags...)...)
}

// TestZombieOfAnotherClient is the same with a second client that takes the
// vdisk at the other server: the first one is told that it is fenced.
func TestZombieOfAnotherClient(t *testing.T) {
	f := newFleet(t, newRedisPool(t, 7))
	a := attach(t, f.addrs[0], schema.Hello{Client: alice})
	a.write("first")
	seen := a.again(alice)
	if w := greet(t, f.addrs[1], schema.Hello{Client: bob}).welcome; w.Status != tlog.HandshakeDenied || !strings.Contains(w.Message, "--takeover") {
		t.Errorf("second client, without takeover: %v: %s", w.Status, w.Message)
	}
	a.write("not disturbed by that")
	f.pause(0)
	b := attach(t, f.addrs[1], schema.Hello{Client: bob, Takeover: true})
	b.write("bob's")
	a.send("into the void")
	f.resume(0)
	if ok, got := a.answers(a.last); ok {
		t.Errorf("a server that lost the vdisk acknowledged a record: %v", got)
	}
	for _, addr := range f.addrs {
		eventually(t, "the first client is fenced at "+addr, func() error {
			w := greet(t, addr, seen).welcome
			if w.Status == tlog.HandshakeOK {
				t.Fatalf("%s: the first client is let in again", addr)
			}
			if w.Status != tlog.HandshakeFenced {
				return errors.New(w.Status.String() + ": " + w.Message)
			}
			return nil
		})
	}
}
