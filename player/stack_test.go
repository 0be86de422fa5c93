package player_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tlog"
	"tlog/aggregate"
	"tlog/client"
	"tlog/crypto"
	"tlog/player"
	"tlog/server"
	"tlog/stor"
	"tlog/stor/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	disk     = "disk"
	diskSize = 1 << 20
)

// store is a pool of five directories, 2+2 and a spare.
type store struct {
	dirs []string
	keys *crypto.Keyring
}

func newStore(t testing.TB) *store {
	t.Helper()
	dir := t.TempDir()
	keys, err := crypto.CreateKeyFile(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	s := &store{keys: keys}
	for i := range 5 {
		s.dirs = append(s.dirs, filepath.Join(dir, fmt.Sprint("shard-", i)))
	}
	servers := s.servers(t, false)
	if _, err := stor.Init(t.Context(), stor.Config{K: 2, M: 2, Check: check}, servers); err != nil {
		t.Fatal(err)
	}
	for _, f := range servers {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func check(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body}, nil
}

func (s *store) servers(t testing.TB, readOnly bool) []stor.Server {
	t.Helper()
	var list []stor.Server
	for _, d := range s.dirs {
		f, err := file.Open(d, file.Options{ReadOnly: readOnly, SegmentBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}

func (s *store) open(t testing.TB, readOnly bool) *stor.Pool {
	t.Helper()
	pool, err := stor.Open(t.Context(), stor.Config{Check: check}, s.servers(t, readOnly))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}

// player opens the log as a tool would.
func (s *store) player(t testing.TB) *player.Log {
	t.Helper()
	l, err := player.Open(t.Context(), s.open(t, true), s.keys, disk, player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// model is what was logged, of which the simplest code makes the disk after
// each record.
type model struct {
	disk   []byte   // after all of them
	log    []change // by sequence, from 1
	points []client.Point
}

// change is what a record does to a disk; a flush does nothing.
type change struct {
	op   tlog.Operation
	off  uint64
	size uint32
	data []byte
}

func (c *change) apply(disk []byte) {
	switch c.op {
	case tlog.OpWrite:
		copy(disk[c.off:], c.data)
	case tlog.OpTrim, tlog.OpZero:
		clear(disk[c.off : c.off+uint64(c.size)])
	}
}

func newModel() *model { return &model{disk: make([]byte, diskSize), log: make([]change, 1)} }

func (m *model) apply(c change) {
	c.apply(m.disk)
	m.log = append(m.log, c)
}

// last is the sequence of the last record.
func (m *model) last() int { return len(m.log) - 1 }

// after is the disk after a record. The disks are not kept: under the race
// detector those of 600 records took 3 GiB.
func (m *model) after(seq int) []byte {
	disk := make([]byte, diskSize)
	for i := range m.log[:seq+1] {
		m.log[i].apply(disk)
	}
	return disk
}

// write runs a server and a client and logs n random operations of the seed.
func (s *store) write(t testing.TB, n int, seed uint64) *model {
	t.Helper()
	return s.writeAs(t, client.Config{}, n, seed)
}

// writeMore is write for a log that may have records; the model begins empty.
func (s *store) writeMore(t testing.TB, n int, seed uint64) *model {
	t.Helper()
	return s.writeAs(t, client.Config{Takeover: true, Adopt: true}, n, seed)
}

func (s *store) writeAs(t testing.TB, cfg client.Config, n int, seed uint64) *model {
	t.Helper()
	addr, stop := s.serve(t, 7)
	cfg.Servers = []string{addr}
	m := logOperations(t, cfg, n, seed)
	stop()
	return m
}

// serve runs a server on the store, with so many records an aggregation at most.
// stop ends it, and may be called again.
func (s *store) serve(t testing.TB, maxRecords int) (addr string, stop func()) {
	t.Helper()
	pool, err := stor.Open(t.Context(), stor.Config{Check: check}, s.servers(t, false))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Pool: pool, Keys: s.keys, Aggregate: aggregate.Config{MaxRecords: maxRecords},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	return ln.Addr().String(), sync.OnceFunc(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
}

func logOperations(t testing.TB, cfg client.Config, n int, seed uint64) *model {
	t.Helper()
	clock := time.Now().Add(-time.Hour)
	cfg.Vdisk, cfg.DiskSize = disk, diskSize
	cfg.Now = func() time.Time { clock = clock.Add(time.Second); return clock }
	c, err := client.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	m := newModel()
	for range n {
		op, off, size, data := operation(rng)
		if _, err := c.Append(t.Context(), op, off, size, data); err != nil {
			t.Fatal(err)
		}
		m.apply(change{op, off, size, data})
		if rng.IntN(9) == 0 {
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.apply(change{op: tlog.OpFlush})
			m.points = append(m.points, c.Flushed())
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func operation(rng *rand.Rand) (tlog.Operation, uint64, uint32, []byte) {
	size := uint32(1 + rng.IntN(20000))
	off := rng.Uint64N(diskSize - uint64(size))
	switch rng.IntN(6) {
	case 0:
		return tlog.OpTrim, off, size, nil
	case 1:
		return tlog.OpZero, off, size, nil
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return tlog.OpWrite, off, size, data
}

// target is a disk in memory that fails the test when a byte is written twice.
type target struct {
	t       testing.TB
	b       []byte
	written []byte // 1: it was
}

func newTarget(t testing.TB, fill byte) *target {
	return &target{t: t, b: bytes.Repeat([]byte{fill}, diskSize), written: make([]byte, diskSize)}
}

func (g *target) WriteAt(b []byte, off int64) (int, error) {
	g.once(off, int64(len(b)))
	return copy(g.b[off:], b), nil
}

func (g *target) Zero(off, n int64) error {
	g.once(off, n)
	clear(g.b[off : off+n])
	return nil
}

// ones is what a disk's target has written when it is whole.
var ones = bytes.Repeat([]byte{1}, diskSize)

// once goes by no byte of its own: under the race detector that takes minutes.
func (g *target) once(off, n int64) {
	if i := bytes.IndexByte(g.written[off:off+n], 1); i >= 0 {
		g.t.Errorf("byte %d is written twice", off+int64(i))
		return
	}
	copy(g.written[off:off+n], ones)
}

func remove(t testing.TB, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}
