//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/schema"
)

// shape is a way to cut two servers off from seven shard servers, of which
// half 0 has four and half 1 has three; six are needed to write.
type shape struct {
	name       string
	cut        func(n *network)
	heal       func(n *network)
	other      bool // the server that did not have the disk can write meanwhile
	keepsGoing bool // so can the one that has it
}

var shapes = []shape{
	{"owner from the larger half", pulls([2]int{0, 0}), plugs([2]int{0, 0}), true, false},
	{"owner from the smaller half", pulls([2]int{0, 1}), plugs([2]int{0, 1}), true, false},
	{"owner from all", pulls([2]int{0, 0}, [2]int{0, 1}), plugs([2]int{0, 0}, [2]int{0, 1}), true, false},
	{"crosswise", pulls([2]int{0, 0}, [2]int{1, 1}), plugs([2]int{0, 0}, [2]int{1, 1}), false, false},
	{"answers only", func(n *network) { n.mute(0, 0, "add") }, func(n *network) { n.mute(0, 0, "del") }, true, false},
	{"the other server from the larger half", pulls([2]int{1, 0}), plugs([2]int{1, 0}), false, true},
}

func pulls(cables ...[2]int) func(*network) {
	return func(n *network) {
		for _, c := range cables {
			n.pull(c[0], c[1])
		}
	}
}

func plugs(cables ...[2]int) func(*network) {
	return func(n *network) {
		for _, c := range cables {
			n.plug(c[0], c[1])
		}
	}
}

// mute loses what the stores answer on a cable; what they are sent arrives.
func (n *network) mute(host, half int, verb string) {
	n.t.Helper()
	run(n.t, "ip", "-n", n.stores, "route", verb, "blackhole", fmt.Sprintf("10.78.%d%d.2/32", host, half))
}

// TestPartitionShapes: what either side acknowledges during a partition is in
// the log after it, nothing else is, and then both servers serve.
func TestPartitionShapes(t *testing.T) {
	list := shapes
	if !*long { // one of them, another one every day
		list = shapes[time.Now().YearDay()%len(shapes):][:1]
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t)
			p := n.redis(7)
			dir := t.TempDir()
			var addrs [2]string
			for i := range addrs {
				addrs[i] = "unix:" + filepath.Join(dir, fmt.Sprintf("server%d.sock", i))
				n.start(n.hosts[i], bin(t, "tlogserver"), append([]string{"--listen", addrs[i]}, p.flags...)...)
				eventually(t, "tlogserver listens", func() error {
					_, err := os.Stat(strings.TrimPrefix(addrs[i], "unix:"))
					return err
				})
			}
			a := attach(t, addrs[0], schema.Hello{Client: alice})
			a.write("on both sides")
			last := a.again(alice)
			c.cut(n)
			switch {
			case c.keepsGoing:
				a.write("goes on")
				last = a.again(alice)
				refusedMoving(t, addrs[1], last)
				a.write("undisturbed")
				last = a.again(alice)
			case c.other:
				a.send("on one side")
				b := attach(t, addrs[1], last)
				b.write("on the other")
				refusedMoving(t, addrs[0], b.again(alice))
				b.write("undisturbed")
				last = b.again(alice)
			default:
				a.send("on one side")
				refusedMoving(t, addrs[1], last)
			}
			c.heal(n)
			settles(t, a, c)
			for _, addr := range []string{addrs[0], addrs[1], addrs[0]} {
				g := attachAt(t, addr, last)
				g.write("after it by way of " + addr)
				last = g.again(alice)
			}
			n.run(n.stores, bin(t, "tlogctl"), append([]string{"verify", vdisk}, p.flags...)...)
		})
	}
}

// settles hears what became of the record that was sent during the cut: where
// another server wrote, it must not be acknowledged.
func settles(t *testing.T, a *peer, c shape) {
	if c.keepsGoing {
		return
	}
	if ok, got := a.answers(2); ok && c.other {
		t.Errorf("record 2 was acknowledged by the server that was cut off: %v", got)
	}
}

// refusedMoving asks a server that cannot have the disk for it.
func refusedMoving(t *testing.T, addr string, h schema.Hello) {
	t.Helper()
	if w := greet(t, addr, h).welcome; w.Status == tlog.HandshakeOK {
		t.Errorf("%s took the disk over from behind a partition", addr)
	}
}

// attachAt is attach of a client that may have more acknowledged than it knows:
// its record of the time of the cut.
func attachAt(t *testing.T, addr string, h schema.Hello) *peer {
	t.Helper()
	begin := time.Now()
	p := attach(t, addr, h)
	if p.last < h.LastFlushed {
		t.Fatalf("%s: the log ends at record %d, %d is acknowledged (after %v)", addr, p.last, h.LastFlushed, time.Since(begin))
	}
	return p
}
