//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// mounted is a moment of a disk that tlognbd serves.
type mounted struct {
	*process
	socket string
}

// mounts is where the moments of a pool are mounted.
type mounts struct {
	t   testing.TB
	p   *pool
	dir string
	n   int
}

func (m *mounts) args(socket, when string, flags ...string) []string {
	args := []string{"mount", vdisk, "--at", when, "--listen", "unix:" + socket, "--index", filepath.Join(m.dir, "index")}
	return append(append(args, flags...), m.p.flags...)
}

func (m *mounts) mount(when string, flags ...string) *mounted {
	m.t.Helper()
	m.n++
	d := &mounted{socket: filepath.Join(m.dir, fmt.Sprintf("%d.sock", m.n))}
	d.process = start(m.t, bin(m.t, "tlognbd"), m.args(d.socket, when, flags...)...)
	eventually(m.t, "the mount serves", func() error {
		select {
		case <-d.done:
			m.t.Fatalf("tlognbd mount ended: %s", tail(d.out.String()))
		default:
		}
		if !strings.Contains(d.out.String(), "serving on") {
			return fmt.Errorf("no line yet")
		}
		c, err := net.Dial("unix", d.socket)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return d
}

// image copies the mounted disk.
func (d *mounted) image(name string) string {
	d.t.Helper()
	path := filepath.Join(d.t.TempDir(), name)
	run(d.t, "nbdcopy", uri(d.socket), path)
	return path
}

func (d *mounted) io(commands ...string) {
	d.t.Helper()
	args := []string{"-f", "raw", "-d", "unmap", "-t", "writeback"} // its default is to force every write
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	run(d.t, "qemu-io", append(args, "nbd+unix:///?socket="+d.socket)...)
}

// unflushed is a client that has done a command, and does not flush behind it
// as qemu-io does when it ends.
func (d *mounted) unflushed(command string) *process {
	d.t.Helper()
	p := start(d.t, "stdbuf", "-oL", "qemu-io", "-f", "raw", "-t", "writeback", "-c", command, "-c", "sleep 60000", "nbd+unix:///?socket="+d.socket)
	eventually(d.t, command, func() error {
		if !strings.Contains(p.out.String(), "wrote ") {
			return fmt.Errorf("not done: %s", p.out.String())
		}
		return nil
	})
	return p
}

// says waits for a line of the process.
func (d *mounted) says(parts ...string) {
	d.t.Helper()
	eventually(d.t, "tlognbd says "+strings.Join(parts, "…"), func() error {
		for line := range strings.Lines(d.out.String()) {
			all := true
			for _, p := range parts {
				all = all && strings.Contains(line, p)
			}
			if all {
				return nil
			}
		}
		return fmt.Errorf("not in %s", tail(d.out.String()))
	})
}

// TestMount mounts moments of a disk while it is written, several at once.
func TestMount(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := newStack(t, kind.make(t))
			moments := s.writeAll()
			stop, wrote := make(chan struct{}), make(chan int)
			go func() { wrote <- s.fioUntil(s.socket, stop) }()
			m := &mounts{t: t, p: s.pool, dir: t.TempDir()}
			t.Run("three at once", func(t *testing.T) { m.threeAtOnce(t, moments) })
			t.Run("overlay", func(t *testing.T) { m.overlay(t, moments) })
			t.Run("refused", m.refused)
			close(stop)
			if n := <-wrote; n == 0 {
				t.Error("fio never finished a round")
			}
			s.unfailed()
			if s.pool.dir != "" {
				t.Run("damaged", func(t *testing.T) { m.damaged(t, moments[0]) })
			}
		})
	}
}

func (m *mounts) threeAtOnce(t *testing.T, moments []moment) {
	m.t = t
	cache := []string{"--cache", filepath.Join(m.dir, "cache")}
	disks := []*mounted{m.mount(moments[0].seq), m.mount(moments[1].at, cache...), m.mount(moments[2].at, "--hydrate=false")}
	var wg sync.WaitGroup
	for i, d := range disks {
		d.says("tlognbd: vdisk "+vdisk+" at seq:", "192 MiB, serving on nbd+unix:///?socket="+d.socket+"; read only")
		for n := range 2 { // with hydration on its way
			image := filepath.Join(t.TempDir(), fmt.Sprint(i, n))
			wg.Go(func() {
				if out, code := try(t, "nbdcopy", uri(d.socket), image); code != 0 {
					t.Errorf("nbdcopy: %s", out)
				}
				equal(t, image, moments[i].image)
			})
		}
	}
	wg.Wait()
	for i, d := range disks {
		if i < 2 {
			d.says("tlognbd: vdisk "+vdisk+" at seq:", "hydrated: 100 %")
			equal(t, d.image("hydrated.img"), moments[i].image)
		}
		if out, code := try(t, "qemu-io", "-f", "raw", "-c", "write 0 4k", "nbd+unix:///?socket="+d.socket); code == 0 {
			t.Errorf("a moment was written to: %s", out)
		}
		checkHoles(t, d.socket)
		if code := d.stop(); code != 0 {
			t.Errorf("tlognbd mount ended with code %d", code)
		}
	}
	again := m.mount(moments[1].seq, cache...)
	again.says("hydrated: 100 %")
	equal(t, again.image("again.img"), moments[1].image)
	again.stop()
}

// checkHoles wants a client to see what need not be copied: much of the disk
// was never written.
func checkHoles(t *testing.T, socket string) {
	t.Helper()
	out := run(t, "nbdinfo", "--map", "--totals", uri(socket))
	total := map[string]int64{}
	for line := range strings.Lines(out) { // bytes, percent, type, name
		var n int64
		var percent, kind, name string
		if _, err := fmt.Sscan(line, &n, &percent, &kind, &name); err != nil {
			t.Fatalf("nbdinfo: %q: %v", line, err)
		}
		total[name] += n
	}
	if data, holes := total["data"], total["hole,zero"]; data+holes != diskSize || holes < diskSize/4 || data < 1<<20 {
		t.Errorf("%d bytes of data and %d of holes:\n%s", data, holes, out)
	}
}

// overlay writes to a moment, kills nbdkit in the midst of it, and goes on.
func (m *mounts) overlay(t *testing.T, moments []moment) {
	m.t = t
	file := filepath.Join(m.dir, "overlay")
	cow := []string{"--cow", file}
	d := m.mount(moments[1].seq, cow...)
	d.says("writes go to " + file)
	s := &stack{t: t}
	s.fio("flushed", d.socket, fsSize, "--bs=4k", "--rw=randwrite", "--size=16m", "--fsync=32")
	d.io("discard 0 8M", "write -z 9M 1M", "write -P 7 10000001 12345", "flush")
	flushed := d.image("flushed.img")
	for round := range 4 {
		begun := overlaid(t, file)
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			try(t, "timeout", "-s", "KILL", "120", "fio", "--name=unflushed", "--ioengine=nbd", "--uri="+uri(d.socket), "--bs=8k", "--rw=randwrite",
				fmt.Sprintf("--offset=%d", diskSize/2), "--size=64m", "--iodepth=8", "--time_based", "--runtime=100", fmt.Sprintf("--randseed=%d", round))
		}()
		eventually(t, "the overlay grows", func() error {
			if n := overlaid(t, file); n < begun+(1<<20) {
				return fmt.Errorf("%d bytes after %d", n, begun)
			}
			return nil
		})
		d.kill()
		<-wrote
		d = m.mount(moments[1].seq, cow...)
		sameOutside(t, d.image("again.img"), flushed, diskSize/2, diskSize/2+64<<20)
	}
	// FUA is a promise of its own, and SIGTERM flushes.
	client := d.unflushed("write -f -P 0x5a 170M 64k")
	d.kill()
	client.kill()
	d = m.mount(moments[1].seq, cow...)
	d.io("read -P 0x5a 170M 64k", "read -P 0 171M 64k")
	d.unflushed("write -P 0xa5 171M 12345").kill()
	if code := d.stop(); code != 0 {
		t.Errorf("tlognbd mount ended with code %d", code)
	}
	d = m.mount(moments[1].seq, cow...)
	d.io("read -P 0x5a 170M 64k", "read -P 0xa5 171M 12345", "read -P 0 0 8M", "read -P 7 10000001 12345")
	clean := m.mount(moments[1].seq)
	equal(t, clean.image("moment.img"), moments[1].image)
	m.refuse(t, 3, "in use by another process", moments[1].seq, cow...)
	d.stop()
	clean.stop()
	m.refuse(t, 3, "is the overlay of vdisk "+vdisk+" at "+moments[1].seq, moments[0].seq, cow...)
}

// overlaid is how many bytes a file takes.
func overlaid(t testing.TB, file string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// sameOutside compares two images but for from…to.
func sameOutside(t *testing.T, got, want string, from, to int64) {
	t.Helper()
	a, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) || !bytes.Equal(a[:from], b[:from]) || !bytes.Equal(a[to:], b[to:]) {
		t.Error("what was flushed is not there after kill -9")
	}
}

func (m *mounts) refuse(t *testing.T, want int, says, when string, flags ...string) {
	t.Helper()
	out, code := try(t, bin(t, "tlognbd"), m.args(filepath.Join(m.dir, "no.sock"), when, flags...)...)
	if code != want || !strings.Contains(out, says) {
		t.Errorf("mount --at %s %v: exit code %d, want %d and %q\n%s", when, flags, code, want, says, out)
	}
}

func (m *mounts) refused(t *testing.T) {
	m.refuse(t, 2, "covers seq:1 to seq:", "seq:999999999")
	m.refuse(t, 2, "covers seq:1 to seq:", "2001-01-01T00:00:00Z")
	m.refuse(t, 2, "latest, seq:N", "yesterday")
	image := filepath.Join(m.dir, "image")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m.refuse(t, 3, "neither an overlay nor a cache", "latest", "--cow", image)
	m.refuse(t, 3, "no such file", "latest", "--cow", filepath.Join(m.dir, "none", "o"))
}

// damaged damages more of the store than can be worked around, under a mount:
// reads fail, and the log says where; what needs no data is still read.
func (m *mounts) damaged(t *testing.T, at moment) {
	m.t = t
	d := m.mount(at.seq, "--hydrate=false")
	for server := range 5 {
		m.p.flipFiles(t, server)
	}
	if out, code := try(t, "nbdcopy", uri(d.socket), filepath.Join(t.TempDir(), "no.img")); code == 0 {
		t.Errorf("a damaged moment was copied: %s", out)
	}
	d.says("error: ", "position ")
	run(t, "qemu-io", "-r", "-f", "raw", "-c", "read -P 0 191M 1M", "nbd+unix:///?socket="+d.socket)
	d.stop()
}
