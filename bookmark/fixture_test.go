package bookmark_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"go.uber.org/goleak"

	"tlog"
	"tlog/bookmark"
	"tlog/client"
	"tlog/crypto"
	"tlog/player"
	"tlog/server"
	"tlog/stor"
	"tlog/stor/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const disk = "disk"

// store is a pool of three shard servers in memory, 2+1.
type store struct {
	pool *stor.Pool
	keys *crypto.Keyring
}

func check(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body}, nil
}

func newStore(t testing.TB) *store {
	t.Helper()
	s := new(store)
	var err error
	if s.keys, err = crypto.NewKeyring(); err != nil {
		t.Fatal(err)
	}
	var servers []stor.Server
	for range 3 {
		m, err := memory.New()
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, m)
	}
	cfg := stor.Config{K: 2, M: 1, Durability: stor.DurabilityMemory, Check: check}
	if _, err := stor.Init(t.Context(), cfg, servers); err != nil {
		t.Fatal(err)
	}
	if s.pool, err = stor.Open(t.Context(), cfg, servers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serve starts a server of its own on the pool, and returns its address.
func (s *store) serve(t testing.TB) string {
	t.Helper()
	srv, err := server.New(server.Config{Pool: s.pool, Keys: s.keys})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// write logs n records of the disk.
func (s *store) write(t testing.TB, addr string, n int) {
	t.Helper()
	c, err := client.Open(t.Context(), client.Config{Servers: []string{addr}, Vdisk: disk, DiskSize: 1 << 20, ID: tlog.UUID{1}, Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := c.Append(t.Context(), tlog.OpWrite, 0, 512, make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s *store) log(t testing.TB) *player.Log {
	t.Helper()
	l, err := player.Open(t.Context(), s.pool, s.keys, disk, player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// mark is a bookmark of a record of the disk.
func (s *store) mark(t testing.TB, name string, n tlog.Sequence) bookmark.Bookmark {
	t.Helper()
	l := s.log(t)
	p, err := l.Resolve(t.Context(), player.AtSequence(n))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := l.DigestAt(t.Context(), p.Position)
	if err != nil {
		t.Fatal(err)
	}
	return bookmark.Bookmark{Vdisk: disk, UUID: l.Info().UUID, Name: name, Sequence: n, Position: p.Position, Digest: digest, Time: p.Time, Made: p.Time}
}

func (s *store) read(t testing.TB) *bookmark.Book {
	t.Helper()
	b, err := bookmark.Read(t.Context(), s.pool, s.keys)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// shelf reaches the bookmark log through a server.
type shelf struct {
	*store
	addr string
	// meddle, if set, is called with each session, for the test to stand between.
	meddle func(*client.Client) bookmark.Session
}

func (s *shelf) Attach(ctx context.Context) (bookmark.Session, error) {
	c, err := client.Open(ctx, client.Config{Servers: []string{s.addr}, Vdisk: bookmark.Vdisk, Adopt: true, Takeover: true})
	if err != nil || s.meddle == nil {
		return c, err
	}
	return s.meddle(c), nil
}

func (s *shelf) Open(ctx context.Context) (*player.Log, error) {
	return player.Open(ctx, s.pool, s.keys, bookmark.Vdisk, player.Config{})
}
