//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tlog/test/guest"
	"tlog/test/guest/slot"
)

// pair is the vdisks of one consistency group; what is on the second depends on
// what is on the first.
var pair = []string{"guest-first", "guest-second"}

// TestGuestPair runs a guest on two disks of a consistency group. It puts each
// file on the first, fsyncs it, and then on the second. Then the group is
// restored at every flush point of either disk, and at moments in between: both
// file systems must be clean once their journals are replayed, no file may be
// newer on the second disk than on the first, and those that the guest was told
// are durable by then must be on both.
func TestGuestPair(t *testing.T) {
	r := newRig(t)
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := &stack{t: t, pool: kind.make(t), addr: freeAddr(t)}
			s.startServer()
			clock := t.TempDir()
			first, second := s.startMember(pair[0], clock), s.startMember(pair[1], clock)
			said := r.run(t, "file", *guestPoints/(8*boots), first.socket, second.socket)
			first.disk.kill()
			second.disk.kill()
			s.server.kill()
			marks := flushMarks(t, s.pool, pair[0])
			marks = append(marks, flushMarks(t, s.pool, pair[1])...)
			c := &cuts{pool: s.pool, said: said, index: t.TempDir()}
			c.all(t, marks)
			fmt.Println(c)
		})
	}
}

// startMember starts a disk of the group.
func (s *stack) startMember(name, clock string) *stack {
	s.t.Helper()
	m := *s
	m.socket = filepath.Join(s.t.TempDir(), "nbd.sock")
	m.disk = start(s.t, bin(s.t, "tlognbd"), append([]string{"serve", name, "--size", "64M", "--server", s.addr, "--base", filepath.Join(s.t.TempDir(), "base.img"),
		"--listen", "unix:" + m.socket, "--group", "guest", "--group-dir", clock}, s.pool.flags...)...)
	eventually(s.t, "tlognbd serves "+name, func() error {
		c, err := net.Dial("unix", m.socket)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return &m
}

// cuts is what is looked at of the group.
type cuts struct {
	pool  *pool
	said  []guest.Line
	index string // directory

	mu     sync.Mutex
	points int
	bad    int
}

// String is the line for machines.
func (c *cuts) String() string {
	return fmt.Sprintf("guest pair: points=%d violations=%d", c.points, c.bad)
}

// all looks at the group at every flush point since there are file systems, and
// at as many moments between them.
func (c *cuts) all(t *testing.T, marks []flushMark) {
	formatted := slices.IndexFunc(c.said, func(l guest.Line) bool { return l.Text == "formatted" })
	marks = slices.DeleteFunc(marks, func(m flushMark) bool { return m.Time.Before(c.said[formatted].At) })
	slices.SortFunc(marks, func(a, b flushMark) int { return a.Time.Compare(b.Time) })
	t.Run("points", func(t *testing.T) {
		for i, m := range marks {
			c.look(t, m.Time, "flush")
			if i+1 < len(marks) {
				gap := marks[i+1].Time.Sub(m.Time)
				c.look(t, m.Time.Add(time.Duration(rand.Int64N(int64(gap)+1))), "any")
			}
		}
	})
	if c.points < *guestPoints {
		t.Errorf("%d points were looked at, want %d", c.points, *guestPoints)
	}
}

// look looks at one moment, beside other tests.
func (c *cuts) look(t *testing.T, at time.Time, snap string) {
	t.Run(at.Format("15:04:05.000000000")+" "+snap, func(t *testing.T) {
		t.Parallel()
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.points++; t.Failed() {
				c.bad++
			}
		}()
		dir := t.TempDir()
		cut := c.restore(t, filepath.Join(dir, "cut"), at, snap)
		var have []int
		for _, name := range pair {
			have = append(have, newestFile(t, filepath.Join(dir, "cut", name+".img")))
		}
		want := newest(c.saidBefore(cut), "file")
		if have[1] > have[0] || have[1] < want {
			t.Errorf("cut %v: file %d is on the first disk, %d on the second, the guest was told of %d", cut, have[0], have[1], want)
		}
	})
}

// restore restores the group into dir and returns the cut's time.
func (c *cuts) restore(t *testing.T, dir string, at time.Time, snap string) time.Time {
	out := result(t, bin(t, "tlogctl"), append([]string{"restore", "--group", "guest", "--at", at.Format(time.RFC3339Nano), "--snap-to", snap,
		"--to", dir, "--json", "--index", c.index}, c.pool.flags...)...)
	var cut struct {
		Time time.Time `json:"cut_time"`
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&cut); err != nil { // the first disk's
		t.Fatalf("tlogctl restore --json: %v\n%s", err, out)
	}
	return cut.Time
}

func (c *cuts) saidBefore(at time.Time) []guest.Line {
	n := slices.IndexFunc(c.said, func(l guest.Line) bool { return !l.At.Before(at) })
	if n < 0 {
		return c.said
	}
	return c.said[:n]
}

// newestFile looks at a disk of the group, and returns the newest file on it.
func newestFile(t *testing.T, image string) int {
	if err := filesystem(t, image); err != nil {
		t.Error(err)
		return 0
	}
	dir := t.TempDir()
	run(t, "debugfs", "-R", fmt.Sprintf("rdump /files %q", dir), image)
	n, err := slot.Newest(filepath.Join(dir, "files"))
	if err != nil && !strings.Contains(err.Error(), "no such file") { // the first directory was not yet synced
		t.Error(err)
	}
	return n
}
