//go:build e2e

package e2e

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

var errNotYet = errors.New("not yet")

// serveOnce starts a disk that is refused, and returns how.
func (s *stack) serveOnce(base string, flags ...string) (out string, code int) {
	s.t.Helper()
	args := []string{"serve", vdisk, "--size", "192M", "--server", s.addr, "--base", base,
		"--listen", "unix:" + filepath.Join(s.t.TempDir(), "other.sock")}
	return try(s.t, bin(s.t, "tlognbd"), append(append(args, flags...), s.pool.flags...)...)
}

func (s *stack) writeByte(pattern string) {
	s.t.Helper()
	out := run(s.t, "qemu-io", "-f", "raw", "-c", "write -P "+pattern+" 8M 64k", "-c", "flush", uri(s.socket))
	if strings.Contains(out, "error") {
		s.t.Fatalf("write: %s", out)
	}
}

// TestSecondDisk has two disks of one vdisk: the second is refused, unless it
// is told to take the vdisk; then the first one fails its writes and says why.
func TestSecondDisk(t *testing.T) {
	f := newFleet(t, newRedisPool(t, 7))
	first := f.disk()
	first.writeByte("1")
	if out, code := first.serveOnce(filepath.Join(t.TempDir(), "second.img")); code != 5 || !strings.Contains(out, "--takeover") {
		t.Errorf("a second disk: exit code %d, want 5 and what to do:\n%s", code, out)
	}
	first.writeByte("2")
	second := f.disk("--takeover")
	run(t, "qemu-io", "-f", "raw", "-c", "read -P 2 8M 64k", uri(second.socket))
	second.writeByte("3")
	eventually(t, "the first disk fails its writes", func() error {
		out, _ := try(t, "qemu-io", "-f", "raw", "-c", "write -P 4 8M 64k", "-c", "flush", uri(first.socket))
		if !strings.Contains(out, "Input/output error") {
			return errNotYet
		}
		return nil
	})
	if out := first.disk.out.String(); !strings.Contains(out, "another client took the vdisk") {
		t.Errorf("the first disk does not say why:\n%s", tail(out))
	}
	second.writeByte("5")
	m := second.mark("second.img")
	image, _ := restore(t, f.pool, "latest")
	equal(t, image, m.image)
}

// TestRolledBackLog puts an older copy of the whole store under a disk: the
// log lacks what the disk saw acknowledged. Written on from there by another
// copy of the disk, it has another history. Both are refused, and said so.
func TestRolledBackLog(t *testing.T) {
	s := newStack(t, newEmbedded(t))
	older, copies := filepath.Join(t.TempDir(), "older.img"), filepath.Join(t.TempDir(), "copies")
	run(t, "mkdir", copies)
	copyBase := func(to string) {
		for _, end := range []string{"", ".tlog"} {
			run(t, "cp", "--sparse=always", s.base+end, to+end)
		}
	}
	stop := func() {
		if code := s.disk.stop(); code != 0 {
			t.Fatalf("tlognbd ended with code %d", code)
		}
		if code := s.server.stop(); code != 0 {
			t.Fatalf("tlogserver ended with code %d", code)
		}
	}
	s.writeByte("1")
	stop()
	copyBase(older)
	saved := s.pool.save(t)
	s.startServer()
	s.startDisk()
	s.writeByte("2")
	stop()
	newer := filepath.Join(copies, "newer.img")
	copyBase(newer)

	s.pool.restore(t, saved)
	s.startServer()
	if out, code := s.serveOnce(newer); code != 4 || !strings.Contains(out, "the log lacks records") {
		t.Errorf("log behind: exit code %d\n%s", code, out)
	}
	s.base = older
	s.startDisk()
	s.writeByte("3")
	s.writeByte("4")
	s.disk.stop()
	if out, code := s.serveOnce(newer); code != 4 || !strings.Contains(out, "another history") || !strings.Contains(out, "move it and its marker (.tlog) away") {
		t.Errorf("diverged: exit code %d\n%s", code, out)
	}
	s.startDisk() // the disk that belongs to the log goes on
	run(t, "qemu-io", "-f", "raw", "-c", "read -P 4 8M 64k", uri(s.socket))
}
