//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/schema"
)

// network is three network namespaces: stores in one, and a tlogserver in each
// of the others, a and b. Each server has two cables to the stores, and each
// half of the stores answers on the address of one of them, so that pulling a
// cable cuts one server off from one half: packets vanish, nobody is told.
// Clients come through unix sockets, which no partition cuts.
type network struct {
	t      testing.TB
	stores string
	hosts  [2]string
	halves [2]string // address of each half
}

func newNetwork(t testing.TB) *network {
	id := fmt.Sprint(os.Getpid())
	n := &network{t: t, stores: "tlog-s" + id, hosts: [2]string{"tlog-a" + id, "tlog-b" + id}}
	for _, ns := range append(n.hosts[:], n.stores) {
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { run(t, "ip", "netns", "del", ns) })
		run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	for half := range 2 {
		n.halves[half] = fmt.Sprintf("10.77.%d.1", half)
		run(t, "ip", "-n", n.stores, "addr", "add", n.halves[half]+"/32", "dev", "lo")
		for host := range 2 {
			n.connect(host, half)
		}
	}
	return n
}

// connect lays the cable of one host to one half of the stores.
func (n *network) connect(host, half int) {
	n.t.Helper()
	here, there := n.cable(host, half), fmt.Sprintf("h%d", half)
	ns := n.hosts[host]
	run(n.t, "ip", "-n", n.stores, "link", "add", here, "type", "veth", "peer", "name", there, "netns", ns)
	store, server := fmt.Sprintf("10.78.%d%d.1", host, half), fmt.Sprintf("10.78.%d%d.2", host, half)
	run(n.t, "ip", "-n", n.stores, "addr", "add", store+"/24", "dev", here)
	run(n.t, "ip", "-n", ns, "addr", "add", server+"/24", "dev", there)
	run(n.t, "ip", "-n", n.stores, "link", "set", here, "up")
	run(n.t, "ip", "-n", ns, "link", "set", there, "up")
	run(n.t, "ip", "-n", ns, "route", "add", n.halves[half]+"/32", "via", store)
}

func (n *network) cable(host, half int) string { return fmt.Sprintf("c%d%d", host, half) }

// pull takes the cable out at the stores' end, plug puts it back.
func (n *network) pull(host, half int) {
	run(n.t, "ip", "-n", n.stores, "link", "set", n.cable(host, half), "down")
}

func (n *network) plug(host, half int) {
	run(n.t, "ip", "-n", n.stores, "link", "set", n.cable(host, half), "up")
}

// start starts a program in a namespace. The process becomes the program.
func (n *network) start(ns, name string, args ...string) *process {
	return start(n.t, "ip", append([]string{"netns", "exec", ns, name}, args...)...)
}

func (n *network) run(ns, name string, args ...string) string {
	n.t.Helper()
	return run(n.t, "ip", append([]string{"netns", "exec", ns, name}, args...)...)
}

// redis starts servers in the stores' namespace, a half on each address.
func (n *network) redis(count int) *pool {
	var addrs []string
	for i := range count {
		addr, dir := n.halves[i*2/count], n.t.TempDir()
		port := fmt.Sprint(7000 + i) // nobody else lives in the namespace
		n.start(n.stores, "redis-server", "--bind", addr, "--protected-mode", "no", "--port", port, "--dir", dir,
			"--logfile", filepath.Join(dir, "redis.log"), "--appendonly", "yes", "--appendfsync", "always", "--save", "")
		addrs = append(addrs, net.JoinHostPort(addr, port))
	}
	p := &pool{flags: []string{"--storage-addresses", strings.Join(addrs, ","), "--key-file", filepath.Join(n.t.TempDir(), "key")}}
	eventually(n.t, "the pool is initialised", func() error {
		out, code := try(n.t, "ip", append([]string{"netns", "exec", n.stores, bin(n.t, "tlogctl"), "stores", "init"}, p.flags...)...)
		if code != 0 {
			return errors.New(out)
		}
		return nil
	})
	return p
}

// TestPartition cuts the server that has the disk off from half of the shard
// servers. It can acknowledge nothing, and cannot disturb the one that can; the
// disk finds that one, no request fails, and when the cable is back, so is the
// first server, as any other.
func TestPartition(t *testing.T) {
	t.Run("three of seven left", func(t *testing.T) {
		n, p, addrs, a := newPartition(t)
		seen := a.again(alice)
		n.pull(0, 0)
		a.send("on one side") // three shards, which is no record
		b := attach(t, addrs[1], seen)
		b.write("acknowledged by one")
		for range 2 { // also what A tries does not take the vdisk from B
			n.refused(addrs[0], b.again(alice))
			b.write("still acknowledged")
		}
		n.plug(0, 0)
		if ok, got := a.answers(2); ok {
			t.Errorf("the server that was cut off acknowledged a record that is not in the log: %v", got)
		}
		n.whole(p, addrs, b)
	})
	// Four shards are k: what A sent may be adopted, but not by A's word. And A
	// hears from the four that it lost the vdisk, lets go of it, and tries to take
	// it over: with so few servers it may not even fence them.
	t.Run("four of seven left", func(t *testing.T) {
		n, p, addrs, a := newPartition(t)
		seen := a.again(alice)
		n.pull(0, 1)
		a.send("on one side")
		<-time.After(2 * time.Second) // and to the spare, for who does not answer
		b := attach(t, addrs[1], seen)
		b.write("acknowledged by one")
		a.send("to those that know better")
		if ok, got := a.answers(2); ok {
			t.Errorf("the server that was cut off acknowledged a record: %v", got)
		}
		eventually(t, "the server that is cut off tries to take the vdisk over", func() error {
			w := n.refused(addrs[0], b.again(alice))
			b.write("still acknowledged")
			if !strings.Contains(w.Message, "4 of 7 shard servers answer") {
				return errors.New(w.Message)
			}
			return nil
		})
		n.plug(0, 1)
		n.whole(p, addrs, b)
	})
}

// newPartition is two tlogservers that reach every store, and a client of the
// first that has written a record.
func newPartition(t *testing.T) (n *network, p *pool, addrs [2]string, a *peer) {
	n = newNetwork(t)
	p = n.redis(7)
	dir := t.TempDir()
	for i := range addrs {
		addrs[i] = "unix:" + filepath.Join(dir, fmt.Sprintf("server%d.sock", i))
		n.start(n.hosts[i], bin(t, "tlogserver"), append([]string{"--listen", addrs[i]}, p.flags...)...)
		eventually(t, "tlogserver listens", func() error {
			_, err := os.Stat(strings.TrimPrefix(addrs[i], "unix:"))
			return err
		})
	}
	a = attach(t, addrs[0], schema.Hello{Client: alice})
	a.write("on both sides")
	return n, p, addrs, a
}

// refused says hello to a server that is cut off.
func (n *network) refused(addr string, h schema.Hello) schema.Welcome {
	n.t.Helper()
	w := greet(n.t, addr, h).welcome
	if w.Status != tlog.HandshakeUnavailable && w.Status != tlog.HandshakeMoved {
		n.t.Errorf("the server that is cut off: %v: %s", w.Status, w.Message)
	}
	return w
}

// whole goes back to the first server, with all cables in.
func (n *network) whole(p *pool, addrs [2]string, b *peer) {
	n.t.Helper()
	back := attach(n.t, addrs[0], b.again(alice))
	if back.last != b.last || back.chain != b.chain {
		n.t.Errorf("back at record %d, want %d", back.last, b.last)
	}
	back.write("and on it goes")
	n.run(n.stores, bin(n.t, "tlogctl"), append([]string{"verify", vdisk}, p.flags...)...)
}
