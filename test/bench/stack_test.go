//go:build e2e

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"

	"tlog"
	"tlog/client"
	"tlog/crypto"
	"tlog/internal/redistest"
	"tlog/server"
	"tlog/stor"
	"tlog/stor/discard"
	"tlog/stor/file"
	"tlog/stor/redis"
)

// The pool of every benchmark: the default, without its spare for Redis.
const (
	dataShards   = 4
	parityShards = 2
	shards       = dataShards + parityShards

	vdisk    = tlog.VdiskID("bench")
	diskSize = 1 << 30
)

// store is an initialised pool with its keys.
type store struct {
	pool  *stor.Pool
	keys  *crypto.Keyring
	redis []int // pids of its processes
}

// openStore makes a pool of kind null, file or redis, which ends with b.
func openStore(b *testing.B, kind string) *store {
	b.Helper()
	s := &store{}
	var err error
	if s.keys, err = crypto.NewKeyring(); err != nil {
		b.Fatal(err)
	}
	var servers []stor.Server
	switch kind {
	case "redis":
		for range shards {
			r := startRedis(b)
			s.redis = append(s.redis, r.Pid)
			c, err := redis.Dial(r.Addr, redis.Options{})
			if err != nil {
				b.Fatal(err)
			}
			servers = append(servers, c)
		}
	default:
		dir := b.TempDir()
		for i := range shards + 1 {
			f, err := file.Open(filepath.Join(dir, fmt.Sprintf("shard-%02d", i)), file.Options{})
			if err != nil {
				b.Fatal(err)
			}
			servers = append(servers, f)
			if kind == "null" {
				servers[i] = discard.New(f)
			}
		}
	}
	cfg := stor.Config{K: dataShards, M: parityShards, Check: check}
	if _, err := stor.Init(b.Context(), cfg, servers); err != nil {
		b.Fatal(err)
	}
	if s.pool, err = stor.Open(b.Context(), cfg, servers); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.pool.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// startRedis starts a server that syncs every write. It does not rewrite its
// file behind a measurement's back.
func startRedis(b *testing.B) *redistest.Server {
	return redistest.Start(b, "--auto-aof-rewrite-percentage", "0")
}

func check(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body}, nil
}

// host is a server of a store, on loopback.
type host struct {
	addr   string
	server *server.Server
	served chan error
}

func (s *store) serve(b *testing.B) *host {
	b.Helper()
	srv, err := server.New(server.Config{Pool: s.pool, Keys: s.keys})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	h := &host{addr: ln.Addr().String(), server: srv, served: make(chan error, 1)}
	go func() { h.served <- srv.Serve(context.Background(), ln) }()
	return h
}

func (h *host) open(b *testing.B, id tlog.VdiskID) *client.Client {
	b.Helper()
	c, err := client.Open(b.Context(), client.Config{Servers: []string{h.addr}, Vdisk: id, DiskSize: diskSize})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (h *host) stop(b *testing.B) {
	b.Helper()
	if err := errors.Join(h.server.Shutdown(context.Background()), <-h.served); err != nil {
		b.Fatal(err)
	}
}

// attach starts a server on s and a client on it. stop makes everything durable
// and ends both.
func (s *store) attach(b *testing.B) (c *client.Client, stop func()) {
	b.Helper()
	h := s.serve(b)
	c = h.open(b, vdisk)
	return c, func() {
		b.Helper()
		if err := c.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
		h.stop(b)
	}
}

// content is incompressible, and longer than a processor's second-level cache
// and than what a compressor looks back.
var content = random(16 << 20)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// writer logs records of one size, one behind the other over the disk.
type writer struct {
	c    *client.Client
	size int
	at   int
}

func (w *writer) write(b *testing.B) {
	data := content[w.at%len(content):][:w.size]
	if _, err := w.c.Append(context.Background(), tlog.OpWrite, uint64(w.at), uint32(w.size), data); err != nil {
		b.Fatal(err)
	}
	w.at = (w.at + w.size) % diskSize
}
