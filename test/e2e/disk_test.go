//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDisk writes to a disk as users do, and rebuilds it: at the end, at
// earlier moments, and around lost and damaged shard servers.
func TestDisk(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := newStack(t, kind.make(t))
			moments := s.writeAll()
			t.Run("live", func(t *testing.T) { s.checkLatest(t, moments[len(moments)-1]) })
			t.Run("moments", func(t *testing.T) { checkMoments(t, s.pool, moments) })
			if code := s.disk.stop(); code != 0 {
				t.Errorf("tlognbd ended with code %d:\n%s", code, tail(s.disk.out.String()))
			}
			if code := s.server.stop(); code != 0 {
				t.Errorf("tlogserver ended with code %d:\n%s", code, tail(s.server.out.String()))
			}
			last := moments[len(moments)-1]
			t.Run("verify", func(t *testing.T) { run(t, bin(t, "tlogctl"), append([]string{"verify", vdisk}, s.pool.flags...)...) })
			t.Run("damage", func(t *testing.T) { checkDamage(t, s.pool, last) })
		})
	}
}

// writeAll drives the disk with nbdcopy, fio and qemu-io.
func (s *stack) writeAll() []moment {
	t := s.t
	fs := makeFilesystem(t)
	run(t, "nbdcopy", "--flush", fs, uri(s.socket))
	moments := []moment{s.mark("copied.img")}
	for i, job := range [][]string{
		{"--bs=4k", "--rw=randwrite", "--size=8m", "--fsync=16"},
		{"--bs=64k", "--rw=randwrite", "--size=24m", "--fsync=8"},
		{"--bs=4k", "--rw=write", "--size=4m", "--fsync=1"},
	} {
		s.fio(fmt.Sprintf("job%d", i), s.socket, fsSize+int64(i)*(24<<20), job...)
	}
	moments = append(moments, s.mark("fio.img"))
	run(t, "qemu-io", "-f", "raw", "-d", "unmap",
		"-c", "discard 80M 3M", "-c", "write -z 100M 5M", "-c", "write -z -u 110M 1M",
		"-c", "write -f -P 0x5a 120M 64k", "-c", "write -P 0xa5 121M 12345", "-c", "flush",
		"nbd+unix:///?socket="+s.socket)
	moments = append(moments, s.mark("zeroed.img"))
	run(t, "qemu-io", "-f", "raw", "-c", "write -f -P 1 130M 1M", "nbd+unix:///?socket="+s.socket)
	return append(moments, s.mark("last.img"))
}

// fio writes with verification to size bytes of the disk from offset.
func (s *stack) fio(name, socket string, offset int64, args ...string) {
	s.t.Helper()
	run(s.t, "fio", append([]string{"--name=" + name, "--ioengine=nbd", "--uri=" + uri(socket),
		fmt.Sprintf("--offset=%d", offset), "--iodepth=16", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0"}, args...)...)
}

// makeFilesystem makes an ext4 image of a real directory tree.
func makeFilesystem(t testing.TB) string {
	t.Helper()
	root := strings.TrimSpace(run(t, "go", "env", "GOROOT"))
	image := filepath.Join(t.TempDir(), "fs.img")
	run(t, "mke2fs", "-q", "-t", "ext4", "-d", filepath.Join(root, "src", "net"), image, fmt.Sprintf("%dk", fsSize>>10))
	return image
}

func (s *stack) checkLatest(t *testing.T, last moment) {
	image, _ := restore(t, s.pool, "latest")
	equal(t, image, last.image)
	checkFilesystem(t, image)
}

func checkFilesystem(t testing.TB, image string) {
	t.Helper()
	if out, code := try(t, "e2fsck", "-fn", image); code != 0 {
		t.Errorf("e2fsck: exit code %d\n%s", code, out)
	}
}

func checkMoments(t *testing.T, p *pool, moments []moment) {
	for _, m := range moments {
		for _, when := range []string{m.seq, m.at} {
			image, _ := restore(t, p, when)
			equal(t, image, m.image)
			remove(t, image)
		}
	}
}

// checkDamage loses and damages shard servers, more and more.
func checkDamage(t *testing.T, p *pool, last moment) {
	whole := p.save(t)
	p.lose(t, 0, 1)
	image, printed := restore(t, p, "latest")
	equal(t, image, last.image)
	checkFilesystem(t, image)
	named(t, p, printed, 0, 1)

	p.restore(t, whole)
	p.lose(t, 0)
	damaged := p.flip(t)
	image, printed = restore(t, p, "latest")
	equal(t, image, last.image)
	checkFilesystem(t, image)
	named(t, p, printed, 0, damaged)

	p.restore(t, whole)
	p.lose(t, 0, 1, 2)
	refused(t, p)
}

// named checks that the output names the shard servers that were worked around.
func named(t *testing.T, p *pool, printed string, lost ...int) {
	t.Helper()
	for _, i := range lost {
		if !strings.Contains(printed, p.serverName(i)) {
			t.Errorf("the output does not name %s:\n%s", p.serverName(i), printed)
		}
	}
}

// refused checks that a restore that cannot be right is not made at all.
func refused(t *testing.T, p *pool) {
	t.Helper()
	dir := t.TempDir()
	out, code := try(t, bin(t, "tlogctl"), append([]string{"restore", vdisk, "--to", filepath.Join(dir, "no.img")}, p.flags...)...)
	if code != 4 && code != 6 {
		t.Errorf("restore with three servers gone: exit code %d, want 4 or 6\n%s", code, out)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("a refused restore left %v (%v)", left, err)
	}
}
