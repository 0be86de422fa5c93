//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNewHost loses the host of a disk, base image and all, and brings the
// disk up again from its log alone.
func TestNewHost(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := newStack(t, kind.make(t))
			s.fio("fill", s.socket, 16<<20, "--bs=64k", "--rw=randwrite", "--size=32m", "--fsync=16")
			m := s.mark("before.img")
			s.disk.kill()
			remove(t, s.base) // who the disk is, the file beside it still knows
			s.startDisk()
			equal(t, s.image("same-host.img"), m.image)
			s.disk.kill()
			s.base = filepath.Join(t.TempDir(), "new-host.img")
			s.diskFlags = []string{"--takeover"}
			s.startDisk()
			equal(t, s.image("new-host.img"), m.image)
			if out := s.disk.out.String(); !strings.Contains(out, "100 %") {
				t.Errorf("no progress was shown:\n%s", out)
			}
			// It goes on as the same disk.
			s.fio("more", s.socket, 64<<20, "--bs=4k", "--rw=randwrite", "--size=2m", "--fsync=8")
			m = s.mark("more.img")
			image, _ := restore(t, s.pool, "latest")
			equal(t, image, m.image)
		})
	}
}

// TestTwoDisksOnOneBase refuses a second process on a base image.
func TestTwoDisksOnOneBase(t *testing.T) {
	s := newStack(t, newEmbedded(t))
	args := append([]string{"serve", vdisk, "--size", "192M", "--server", s.addr, "--base", s.base,
		"--listen", "unix:" + filepath.Join(t.TempDir(), "second.sock")}, s.pool.flags...)
	out, code := try(t, bin(t, "tlognbd"), args...)
	if code != 3 || !strings.Contains(out, s.base) {
		t.Errorf("second tlognbd on one base: exit code %d\n%s", code, out)
	}
}

// TestStalledStores stops a shard server of a pool without a spare: nothing
// can become durable, a flush fails instead of hanging, reads go on, and when
// the server is back, so is the disk.
func TestStalledStores(t *testing.T) {
	p := newRedis(t)
	s := newStack(t, p, "--flush-deadline", "2s")
	s.fio("before", s.socket, 16<<20, "--bs=4k", "--rw=randwrite", "--size=4m", "--fsync=8")
	p.lose(t, 3)
	begin := time.Now()
	out, code := try(t, "qemu-io", "-f", "raw", "-c", "write -P 7 8M 64k", "-c", "flush", uri(s.socket))
	if !strings.Contains(out, "Input/output error") {
		t.Errorf("flush with a shard server gone: exit code %d\n%s", code, out)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the flush took %v to fail, its deadline is 2 s", took)
	}
	run(t, "qemu-io", "-f", "raw", "-c", "read -P 7 8M 64k", uri(s.socket))
	p.restore(t, "")
	eventually(t, "a flush succeeds again", func() error {
		out, code := try(t, "qemu-io", "-f", "raw", "-c", "flush", uri(s.socket))
		if code != 0 || strings.Contains(out, "error") {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	m := s.mark("after.img")
	image, _ := restore(t, p, "latest")
	equal(t, image, m.image)
}

// TestRefusals holds wrong requests against a real log: each gets a clear
// error and changes nothing.
func TestRefusals(t *testing.T) {
	s := newStack(t, newEmbedded(t))
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 7 8M 64k", "-c", "flush", uri(s.socket))
	dir := t.TempDir()
	there := filepath.Join(dir, "there.img")
	other := filepath.Join(dir, "other-key")
	if err := os.WriteFile(there, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, bin(t, "tlogctl"), "key", "new", other)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"restore", vdisk, "--to", there}, 1, "--force"},
		{[]string{"restore", vdisk, "--to", filepath.Join(dir, "x.img"), "--at", "seq:99999"}, 1, "covers seq:1 to seq:"},
		{[]string{"restore", vdisk, "--to", filepath.Join(dir, "x.img"), "--at", "seq:0"}, 1, "covers seq:1 to seq:"},
		{[]string{"restore", vdisk, "--to", filepath.Join(dir, "x.img"), "--at", "-48h"}, 1, "covers seq:1 to seq:"},
		{[]string{"restore", vdisk, "--to", filepath.Join(dir, "x.img"), "--at", "2999-01-01T00:00:00Z"}, 1, "covers seq:1 to seq:"},
		{[]string{"restore", "no-such-disk", "--to", filepath.Join(dir, "x.img")}, 1, "no such vdisk"},
		{[]string{"restore", vdisk, "--to", filepath.Join(dir, "x.img"), "--key-file", other}, 3, "key"},
		{[]string{"restore", vdisk, "--to", filepath.Join(dir, "no", "x.img")}, 1, "no such file or directory"},
	} {
		out, code := try(t, bin(t, "tlogctl"), append(c.args, s.pool.flags...)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v: exit code %d, want %d and %q:\n%s", c.args, code, c.code, c.says, out)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("refused restores left %v (%v)", left, err)
	}
	if b, err := os.ReadFile(there); err != nil || string(b) != "precious" {
		t.Errorf("a refused restore changed the file: %q, %v", b, err)
	}
	out, code := try(t, bin(t, "tlognbd"), append([]string{"serve", vdisk, "--size", "64M", "--server", s.addr,
		"--base", filepath.Join(dir, "new.img"), "--listen", "unix:" + filepath.Join(dir, "s.sock")}, s.pool.flags...)...)
	if code == 0 || !strings.Contains(out, "size") {
		t.Errorf("tlognbd with another size: exit code %d\n%s", code, out)
	}
}
