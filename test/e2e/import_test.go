//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// randomImage makes a raw image of size bytes: data, with holes and zeroes in it.
func randomImage(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rng := rand.NewChaCha8([32]byte{1})
	block := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(block)) {
		if _, err := rng.Read(block); err != nil {
			t.Fatal(err)
		}
		switch block[0] % 8 {
		case 0:
			continue
		case 1:
			clear(block[:len(block)/2])
		}
		if _, err := f.WriteAt(block[:min(size-off, int64(len(block)))], off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

// restored rebuilds a vdisk's latest disk.
func (p *pool) restored(t *testing.T, vdisk string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restored.img")
	p.ctl(t, 0, "restore", vdisk, "--to", path)
	return path
}

// last is a vdisk's last sequence; 0: it has no log yet.
func (p *pool) last(t testing.TB, vdisk string) uint64 {
	t.Helper()
	var out, beside output
	code := finish(t, &out, &beside, bin(t, "tlogctl"), append([]string{"info", vdisk, "--json"}, p.flags...)...)
	var info struct {
		Last uint64 `json:"last_sequence"`
	}
	if code != 0 || json.Unmarshal([]byte(out.String()), &info) != nil {
		return 0
	}
	return info.Last
}

// TestImportInterrupted ends imports with ^C and with kill -9 and goes on with
// them: the disk is the image.
func TestImportInterrupted(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			p := kind.make(t)
			image := randomImage(t, 256<<20)
			for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
				vdisk := fmt.Sprint("vm-", int(sig))
				importing := start(t, bin(t, "tlogctl"), append([]string{"import", image, vdisk}, p.flags...)...)
				eventually(t, "records are logged", func() error {
					importing.pause() // it is not done before anybody has looked
					n := p.last(t, vdisk)
					if n < 5 {
						importing.resume()
						return fmt.Errorf("%d records", n)
					}
					return nil
				})
				importing.signal(sig)
				if sig != syscall.SIGKILL {
					importing.resume()
				}
				<-importing.done
				if code := importing.cmd.ProcessState.ExitCode(); sig == syscall.SIGINT && (code != 1 || !strings.Contains(importing.out.String(), "--resume")) {
					t.Errorf("^C: exit code %d: %s", code, importing.out.String())
				}
				before := p.last(t, vdisk)
				if out := p.ctl(t, 1, "import", image, vdisk); !strings.Contains(out, fmt.Sprintf("has %d records already", before)) {
					t.Errorf("an import over one that was interrupted: %s", out)
				}
				p.ctl(t, 0, "import", image, vdisk, "--resume")
				if after := p.last(t, vdisk); after <= before {
					t.Errorf("%v came too late: %d records before, %d after --resume", sig, before, after)
				}
				equal(t, p.restored(t, vdisk), image)
				p.ctl(t, 0, "verify", vdisk)
			}
		})
	}
}

// TestImportServed imports what an NBD server serves, through a tlogserver, and
// serves the vdisk then: the disk is the image, and goes on from there.
func TestImportServed(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := &stack{t: t, pool: kind.make(t), addr: freeAddr(t)}
			s.startServer()
			image := randomImage(t, diskSize)
			socket := filepath.Join(t.TempDir(), "image.sock")
			qcow2 := filepath.Join(t.TempDir(), "image.qcow2")
			run(t, "qemu-img", "convert", "-O", "qcow2", image, qcow2)
			if out := s.pool.ctl(t, 1, "import", qcow2, vdisk, "--server", s.addr); !strings.Contains(out, "qemu-nbd --persistent --read-only -f qcow2") {
				t.Errorf("an image that is not raw: %s", out)
			}
			start(t, "qemu-nbd", "--persistent", "--read-only", "-f", "qcow2", "--socket", socket, qcow2)
			eventually(t, "qemu-nbd serves", func() error { _, err := nbdSize(t, socket); return err })
			run(t, bin(t, "tlogctl"), "import", uri(socket), vdisk, "--server", s.addr)

			if s.pool.dir == "" {
				s.pool.ctl(t, 0, "import", image, "other") // beside a server that has another vdisk
			} else if out := s.pool.ctl(t, 3, "import", image, "other"); !strings.Contains(out, "--server") {
				t.Errorf("the storage of a server that runs: %s", out)
			}
			dir := t.TempDir()
			s.socket, s.base, s.diskFlags = filepath.Join(dir, "nbd.sock"), filepath.Join(dir, "base.img"), []string{"--takeover"}
			s.startDisk()
			equal(t, s.image("served.img"), image)
			s.fio("more", s.socket, 16<<20, "--bs=4k", "--rw=randwrite", "--size=2m", "--fsync=8")
			m := s.mark("more.img")
			got, _ := restore(t, s.pool, m.seq)
			equal(t, got, m.image)
			if out := s.pool.ctl(t, 1, "import", image, vdisk, "--server", s.addr); !strings.Contains(out, "records already") {
				t.Errorf("an import into a disk that is served: %s", out)
			}
		})
	}
}

// nbdSize asks an NBD server for the size of its disk.
func nbdSize(t testing.TB, socket string) (string, error) {
	t.Helper()
	out, code := try(t, "nbdinfo", "--size", uri(socket))
	if code != 0 {
		return "", fmt.Errorf("nbdinfo: %s", out)
	}
	return strings.TrimSpace(out), nil
}

// TestCopy copies a moment of a disk that is being served and written to, and
// serves the copy beside it.
func TestCopy(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := newStack(t, kind.make(t))
			p := s.pool
			s.fio("before", s.socket, 16<<20, "--bs=16k", "--rw=randwrite", "--size=8m", "--fsync=32")
			m := s.mark("before.img")
			copying := start(t, bin(t, "tlogctl"), append([]string{"copy", vdisk, "the-copy", "--at", m.seq, "--server", s.addr}, p.flags...)...)
			s.fio("more", s.socket, 16<<20, "--bs=4k", "--rw=randwrite", "--size=8m", "--fsync=32")
			if <-copying.done; copying.err != nil {
				t.Fatalf("tlogctl copy: %v: %s", copying.err, copying.out.String())
			}
			equal(t, p.restored(t, "the-copy"), m.image)
			p.ctl(t, 0, "verify", "the-copy")
			socket := filepath.Join(t.TempDir(), "copy.sock")
			start(t, bin(t, "tlognbd"), append([]string{"serve", "the-copy", "--size", "192M", "--server", s.addr, "--takeover",
				"--base", filepath.Join(t.TempDir(), "copy.img"), "--listen", "unix:" + socket}, p.flags...)...)
			eventually(t, "the copy is served", func() error {
				_, err := nbdSize(t, socket)
				return err
			})
			served := filepath.Join(t.TempDir(), "served.img")
			run(t, "nbdcopy", uri(socket), served)
			equal(t, served, m.image)
			s.unfailed()
		})
	}
}
