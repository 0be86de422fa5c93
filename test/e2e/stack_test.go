//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tlog/internal/redistest"
)

// pool is the shard servers of a test.
type pool struct {
	flags   []string // STORAGE
	dir     string   // embedded store
	redis   []*redistest.Server
	flipped int   // the Redis server whose shards are damaged; 0: none
	lost    []int // the Redis servers that were killed
}

// pools are the two kinds of storage that every scenario runs over.
var pools = []struct {
	name string
	make func(t testing.TB) *pool
}{
	{"embedded", newEmbedded},
	{"redis", newRedis},
}

func newEmbedded(t testing.TB) *pool {
	dir := filepath.Join(t.TempDir(), "data")
	return &pool{flags: []string{"--data-dir", dir}, dir: dir}
}

func newRedis(t testing.TB) *pool { return newRedisPool(t, 6) }

// newRedisPool makes a pool of 4+2 shards on so many servers.
func newRedisPool(t testing.TB, servers int) *pool {
	p := &pool{}
	var addrs []string
	for range servers {
		s := redistest.Start(t)
		p.redis = append(p.redis, s)
		addrs = append(addrs, s.Addr)
	}
	p.flags = []string{"--storage-addresses", strings.Join(addrs, ","), "--key-file", filepath.Join(t.TempDir(), "key")}
	run(t, bin(t, "tlogctl"), append([]string{"stores", "init"}, p.flags...)...)
	return p
}

// stack is a running tlogserver and a disk that is protected by it.
type stack struct {
	t         testing.TB
	pool      *pool
	addr      string // of the server
	socket    string // of the disk
	base      string
	diskFlags []string
	server    *process
	disk      *process
}

const (
	vdisk    = "e2e-disk"
	diskSize = 192 << 20
	fsSize   = 64 << 20 // ext4 in the first part of the disk, fio behind it
)

func newStack(t testing.TB, p *pool, diskFlags ...string) *stack {
	dir := t.TempDir()
	s := &stack{t: t, pool: p, diskFlags: diskFlags, addr: freeAddr(t), socket: filepath.Join(dir, "nbd.sock"), base: filepath.Join(dir, "base.img")}
	s.startServer()
	s.startDisk()
	return s
}

func (s *stack) startServer() {
	s.t.Helper()
	s.server = start(s.t, bin(s.t, "tlogserver"), append([]string{"--listen", s.addr}, s.pool.flags...)...)
	eventually(s.t, "tlogserver listens", func() error {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

func (s *stack) startDisk() {
	s.t.Helper()
	args := []string{"serve", vdisk, "--size", "192M", "--server", s.addr, "--base", s.base, "--listen", "unix:" + s.socket}
	args = append(append(args, s.diskFlags...), s.pool.flags...)
	s.disk = start(s.t, bin(s.t, "tlognbd"), args...)
	eventually(s.t, "tlognbd serves", func() error {
		select {
		case <-s.disk.done:
			s.t.Fatalf("tlognbd ended: %s", tail(s.disk.out.String()))
		default:
		}
		c, err := net.Dial("unix", s.socket)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// unfailed wants that the disk answered no request with an error. fio alone
// does not tell: its engine for NBD takes a flush that failed for one that is done.
func (s *stack) unfailed() {
	s.t.Helper()
	for line := range strings.Lines(s.disk.out.String()) {
		if strings.HasPrefix(line, "nbdkit: ") && strings.Contains(line, "error: vdisk: ") {
			s.t.Errorf("a request failed: %s", line)
			return
		}
	}
}

// image copies the disk as its clients see it now.
func (s *stack) image(name string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), name)
	run(s.t, "nbdcopy", uri(s.socket), path)
	return path
}

// moment is a point of a disk's history and what the disk was then.
type moment struct {
	image string
	seq   string // WHEN
	at    string // WHEN
}

// mark flushes the disk and remembers the moment.
func (s *stack) mark(name string) moment {
	s.t.Helper()
	run(s.t, "qemu-io", "-f", "raw", "-c", "flush", "nbd+unix:///?socket="+s.socket)
	m := moment{image: s.image(name), at: time.Now().UTC().Format(time.RFC3339Nano)}
	m.seq = "seq:" + lastSequence(s.t, s.pool)
	return m
}

func lastSequence(t testing.TB, p *pool) string {
	t.Helper()
	out := result(t, bin(t, "tlogctl"), append([]string{"info", vdisk, "--json"}, p.flags...)...)
	var info struct {
		Last json.Number `json:"last_sequence"`
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		t.Fatalf("tlogctl info --json: %v\n%s", err, out)
	}
	return info.Last.String()
}

// restore rebuilds the disk of a moment and returns the image.
func restore(t testing.TB, p *pool, when string) (image, printed string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "restored.img")
	printed = run(t, bin(t, "tlogctl"), append([]string{"restore", vdisk, "--to", image, "--at", when}, p.flags...)...)
	return image, printed
}

func equal(t testing.TB, got, want string) {
	t.Helper()
	if out, code := try(t, "cmp", got, want); code != 0 {
		t.Errorf("images differ: %s", out)
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}
