//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nbdTarget serves an empty disk in memory.
func nbdTarget(t testing.TB, size string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	start(t, "nbdkit", "-f", "-U", socket, "memory", size)
	awaitSocket(t, socket)
	return socket
}

func awaitSocket(t testing.TB, socket string) {
	t.Helper()
	eventually(t, "nbdkit serves", func() error {
		c, err := net.Dial("unix", socket)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// TestRestoreTargets restores to a disk that another program serves, to one that
// is too small, to the disk itself, to its base image, and to standard output.
func TestRestoreTargets(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := newStack(t, newEmbedded(t))
	s.fio("fill", s.socket, 0, "--bs=64k", "--rw=randwrite", "--size=32m")
	m := s.mark("disk.img")
	large := nbdTarget(t, "200M")
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 7 0 200M", uri(large))
	for _, args := range [][]string{nil, {"--best-effort"}} {
		s.mustCtl(append([]string{"restore", vdisk, "--at", m.seq, "--to", uri(large)}, args...)...)
		image := filepath.Join(t.TempDir(), "copied.img")
		run(t, "nbdcopy", uri(large), image)
		if err := os.Truncate(image, diskSize); err != nil {
			t.Fatal(err)
		}
		equal(t, image, m.image)
		s.mustCtl("index", vdisk)
	}
	for to, says := range map[string]string{
		uri(nbdTarget(t, "100M")): "it does not fit",
		uri(s.socket):             "is vdisk e2e-disk itself",
		s.base:                    "is the base image of vdisk e2e-disk",
	} {
		if out, code := s.ctl("restore", vdisk, "--force", "--to", to); code != 1 || !strings.Contains(out, says) {
			t.Errorf("restore to %s: exit code %d, want 1 and %q:\n%s", to, code, says, out)
		}
	}
	for _, index := range []string{"--no-index", "--dry-run=false"} {
		image := filepath.Join(t.TempDir(), "streamed.img")
		run(t, "sh", append([]string{"-c", `to=$1; shift; exec "$@" >"$to"`, "sh", image, bin(t, "tlogctl"), "restore", vdisk, "--to", "-", "--at", m.seq, index}, s.pool.flags...)...)
		equal(t, image, m.image)
	}
}

// loop is a block device; it needs root.
func loop(t testing.TB, size int64) string {
	t.Helper()
	return loopIn(t, t.TempDir(), size)
}

// loopIn is one whose file is in dir.
func loopIn(t testing.TB, dir string, size int64) string {
	t.Helper()
	file := filepath.Join(dir, "device")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	device := strings.TrimSpace(run(t, "losetup", "--find", "--show", file))
	t.Cleanup(func() { run(t, "losetup", "--detach", device) })
	return device
}

// TestRestoreDevice restores to block devices: one that is larger and full of
// something else, one that is too small, and one that is mounted.
func TestRestoreDevice(t *testing.T) {
	s, h := withHistory(t, newEmbedded(t), 200)
	want := filepath.Join(t.TempDir(), "want")
	if err := os.WriteFile(want, h.at(len(h.ops)), 0o600); err != nil {
		t.Fatal(err)
	}
	large := loop(t, smallDisk+(1<<20))
	for _, index := range []string{"--no-index", ""} {
		run(t, "sh", "-c", "tr '\\0' x </dev/zero | head -c $2 >$1", "sh", large, fmt.Sprint(smallDisk+(1<<20)))
		args := []string{"restore", vdisk, "--to", large, "--force"}
		if index != "" {
			args = append(args, index)
		}
		s.mustCtl(args...)
		run(t, "cmp", "-n", fmt.Sprint(smallDisk), large, want)
		if out := run(t, "tail", "-c", "4", large); out != "xxxx" {
			t.Errorf("behind the disk the device has %q", out)
		}
		s.mustCtl("index", vdisk)
	}
	mounted := loop(t, smallDisk+(1<<20))
	run(t, "mke2fs", "-q", mounted)
	dir := t.TempDir()
	run(t, "mount", mounted, dir)
	defer run(t, "umount", dir)
	for to, says := range map[string]string{
		mounted:                  "is in use",
		loop(t, smallDisk-4096):  "it does not fit",
		loop(t, smallDisk) + " ": "--force overwrites",
	} {
		args := []string{"restore", vdisk, "--to", strings.TrimSpace(to)}
		if !strings.HasSuffix(to, " ") {
			args = append(args, "--force")
		}
		if out, code := s.ctl(args...); code != 1 || !strings.Contains(out, says) {
			t.Errorf("restore to %s: exit code %d, want 1 and %q:\n%s", to, code, says, out)
		}
	}
}

// TestRestoreDiskFull fills a file system half-way; with more room the restore
// goes on.
func TestRestoreDiskFull(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := newStack(t, newEmbedded(t))
	s.fio("fill", s.socket, 0, "--bs=256k", "--rw=randwrite", "--size=160m")
	m := s.mark("all.img")
	s.mustCtl("index", vdisk)
	dir := t.TempDir()
	run(t, "mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", dir)
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	image := filepath.Join(dir, "image")
	out, code := s.ctl("restore", vdisk, "--at", m.seq, "--to", image)
	if code != 1 || !strings.Contains(out, "more are needed") || !strings.Contains(out, "goes on with it") {
		t.Errorf("restore to a file system that fills up: exit code %d\n%s", code, out)
	}
	if _, err := os.Stat(image); err == nil {
		t.Error("half an image has its name")
	}
	run(t, "mount", "-o", "remount,size=300m", dir)
	if out := s.mustCtl("restore", vdisk, "--at", m.seq, "--to", image); !strings.Contains(out, "going on with the restore") {
		t.Errorf("the restore did not go on:\n%s", out)
	}
	equal(t, image, m.image)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left is %v (%v)", left, err)
	}
	s.deviceGoesOn(t, m)
	s.targetGoesOn(t, m)
}

// deviceGoesOn restores to a device that cannot hold all of the disk at first.
func (s *stack) deviceGoesOn(t *testing.T, m moment) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	run(t, "mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", dir)
	t.Cleanup(func() { run(t, "umount", dir) })
	device := loopIn(t, dir, diskSize)
	args := []string{"restore", vdisk, "--at", m.seq, "--to", device, "--force", "--state", state}
	if out, code := s.ctl(args...); code != 1 || !strings.Contains(out, "the same command with --at "+m.seq+" goes on") {
		t.Errorf("restore to a device that fails half-way: exit code %d\n%s", code, out)
	}
	run(t, "mount", "-o", "remount,size=300m", dir)
	if out := s.mustCtl(args...); !strings.Contains(out, "going on with the restore") {
		t.Errorf("the restore to a device did not go on:\n%s", out)
	}
	equal(t, device, m.image)
	if _, err := os.Stat(state); err == nil {
		t.Error("the state of a restore that is whole is left")
	}
}

// targetGoesOn restores to an NBD target that refuses writes at first.
func (s *stack) targetGoesOn(t *testing.T, m moment) {
	dir := t.TempDir()
	refuses, socket := filepath.Join(dir, "refuses"), filepath.Join(dir, "s")
	if err := os.WriteFile(refuses, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "nbdkit", "-f", "-U", socket, "--filter=error", "memory", fmt.Sprint(diskSize), "error-pwrite-rate=100%", "error-file="+refuses)
	awaitSocket(t, socket)
	states := t.TempDir()
	args := []string{"restore", vdisk, "--at", m.seq, "--to", uri(socket), "--state", filepath.Join(states, "state")}
	if out, code := s.ctl(args...); code != 1 || !strings.Contains(out, "goes on with it") {
		t.Errorf("restore to a target that refuses: exit code %d\n%s", code, out)
	}
	if err := os.Remove(refuses); err != nil {
		t.Fatal(err)
	}
	if out := s.mustCtl(args...); !strings.Contains(out, "going on with the restore") {
		t.Errorf("the restore to a target did not go on:\n%s", out)
	}
	image := filepath.Join(dir, "copied.img")
	run(t, "nbdcopy", uri(socket), image)
	equal(t, image, m.image)
	if left, err := os.ReadDir(states); err != nil || len(left) != 0 {
		t.Errorf("left is %v (%v)", left, err)
	}
}
