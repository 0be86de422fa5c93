package attach

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"tlog"
	"tlog/client"
	"tlog/cmd/internal/storage"
	"tlog/player"
	"tlog/server"
	"tlog/stor/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const disk = "disk"

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func flags(dir string) *storage.Flags { return &storage.Flags{DataDir: dir, ParityShards: -1} }

func open(t testing.TB, f *Flags, dir string, need Storage) *Access {
	t.Helper()
	a, err := f.Open(t.Context(), flags(dir), need, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// log appends n records without a flush, and detaches.
func log(t testing.TB, a *Access, cfg client.Config, n int) client.Point {
	t.Helper()
	cfg.Vdisk, cfg.DiskSize = disk, 1<<20
	c, err := a.Attach(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := c.Append(t.Context(), tlog.OpWrite, uint64(i)*512, 512, make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Detach(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c.Flushed()
}

// TestLocal logs through a server in the process, twice: everything is stored
// when Detach has returned, and the second session goes on behind the first.
func TestLocal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	me := tlog.UUID{1}
	for round := range 2 {
		a := open(t, &Flags{}, dir, Makes)
		p := log(t, a, client.Config{ID: me}, 700)
		l, err := player.Open(t.Context(), a.Pool, a.Keys, disk, player.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if i := l.Info(); i.Last != tlog.Sequence(700*(round+1)) || i.Last != p.Sequence || i.Chain != p.Chain {
			t.Errorf("round %d: the log ends at %d, acknowledged is %d", round, i.Last, p.Sequence)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNobodyAttached closes what was opened, at once.
func TestNobodyAttached(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for range 20 {
		if err := open(t, &Flags{}, dir, Makes).Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCloseFlushes closes the server while a session is open.
func TestCloseFlushes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	a := open(t, &Flags{}, dir, Makes)
	c, err := a.Attach(t.Context(), client.Config{Vdisk: disk, DiskSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := c.Append(t.Context(), tlog.OpWrite, 0, 512, make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.FlushTo(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Close(ended); err != nil {
		t.Errorf("all was flushed, and closing says: %v", err)
	}
	a = open(t, &Flags{Takeover: true}, dir, Reads)
	defer a.Close()
	if p := log(t, a, client.Config{}, 1); p.Sequence != 11 {
		t.Errorf("the next session ends at %d, want 11", p.Sequence)
	}
}

// TestAnotherClients wants that a vdisk is not taken from its client unasked.
func TestAnotherClients(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	a := open(t, &Flags{}, dir, Makes)
	defer a.Close()
	log(t, a, client.Config{ID: tlog.UUID{1}}, 3)
	_, err := a.Attach(t.Context(), client.Config{Vdisk: disk, DiskSize: 1 << 20, ID: tlog.UUID{2}})
	if !errors.Is(err, client.ErrDenied) || !strings.Contains(err.Error(), "--takeover") || storage.ExitCode(err) != storage.ExitFenced {
		t.Errorf("another client's vdisk: %v (exit code %d)", err, storage.ExitCode(err))
	}
	if p := log(t, a, client.Config{ID: tlog.UUID{2}, Takeover: true}, 1); p.Sequence != 4 {
		t.Errorf("after a takeover the log ends at %d, want 4", p.Sequence)
	}
}

// TestServer opens a storage that a server has: the error says what to do, and
// through the server both work, with and without the storage to read from.
func TestServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	opened, err := flags(dir).OpenWriter(t.Context(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Pool: opened.Pool, Keys: opened.Keys})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(t.Context(), ln) }()
	defer func() {
		if err := errors.Join(srv.Shutdown(context.Background()), <-served, opened.Close()); err != nil {
			t.Error(err)
		}
	}()

	for _, need := range []Storage{Reads, Optional, Makes} {
		_, err = (&Flags{}).Open(t.Context(), flags(dir), need, quiet)
		if !errors.Is(err, file.ErrLocked) || !strings.Contains(err.Error(), "--server") || storage.ExitCode(err) != storage.ExitConfig {
			t.Errorf("a storage that a server has: %v", err)
		}
	}
	f := &Flags{Servers: []string{"unix:" + ln.Addr().String()}}
	a := open(t, f, dir, Reads)
	p := log(t, a, client.Config{ID: tlog.UUID{1}}, 5)
	l, err := player.Open(t.Context(), a.Pool, a.Keys, disk, player.Config{})
	if err != nil || l.Info().Last != 5 || l.Info().Chain != p.Chain {
		t.Errorf("the log read beside the server: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if a, err = f.Open(t.Context(), &storage.Flags{ParityShards: -1}, Optional, quiet); err != nil || a.Pool != nil {
		t.Fatalf("without a storage: %v", err)
	}
	if p := log(t, a, client.Config{ID: tlog.UUID{1}}, 5); p.Sequence != 10 {
		t.Errorf("the log ends at %d, want 10", p.Sequence)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err = f.Open(t.Context(), &storage.Flags{ParityShards: -1}, Reads, quiet); storage.ExitCode(err) != storage.ExitUsage {
		t.Errorf("without a storage that is needed: %v", err)
	}
}
