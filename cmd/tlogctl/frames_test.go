package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/stor"
	"tlog/stor/file"
)

// TestEveryFrame damages a frame that nobody reads, in a segment whose contents
// are in a file: verify finds it, a restore need not.
func TestEveryFrame(t *testing.T) {
	l := newLogged(t, 20, 1)
	dir := filepath.Join(l.flags[1], "shard-03")
	foreign := tlog.UUID{0xf0}
	fenceOften(t, dir, foreign)
	segment := filepath.Join(dir, "00000000000000000002.seg")
	if _, err := os.Stat(strings.TrimSuffix(segment, ".seg") + ".toc"); err != nil {
		t.Fatal(err)
	}
	l.done(t, "verify", loggedName)
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndex(string(b[:32<<10]), string(foreign[:]))
	b[at+100] ^= 1
	if err := os.WriteFile(segment, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l.done(t, "restore", loggedName, "--to", "-")
	if out, code, err := l.ctl(t.Context(), "verify", loggedName); code != storage.ExitIntegrity || !strings.Contains(out, dir) {
		t.Errorf("exit code %d, %v, want %d and the directory\n%s", code, err, storage.ExitIntegrity, out)
	}
}

// fenceOften has a directory's active segment be sealed, by frames of another
// vdisk, and the one behind it, which has no others: 512 fill one.
func fenceOften(t *testing.T, dir string, vdisk tlog.UUID) {
	t.Helper()
	s, err := file.Open(dir, file.Options{SegmentBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	cookie, m, err := s.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for epoch := tlog.Epoch(1); epoch <= 1200; epoch++ {
		r := &stor.FenceRequest{Identity: stor.Identity{Cookie: cookie, ConfigVersion: m.ConfigVersion},
			Owner: stor.Owner{Epoch: epoch, ID: tlog.UUID{1}}, Vdisk: vdisk}
		if _, err := s.Fence(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
