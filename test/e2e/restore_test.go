//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/client"
)

// history is the records of a small disk, and what they make of it: a model that
// only applies them in order.
type history struct {
	ops []operation
}

const smallDisk = 8 << 20

type operation struct {
	op   tlog.Operation
	off  uint64
	size uint32
	data []byte
}

// write logs n operations through a tlogserver.
func (h *history) write(t testing.TB, addr string, n int, seed uint64) {
	t.Helper()
	c, err := client.Open(t.Context(), client.Config{Vdisk: vdisk, DiskSize: smallDisk, Servers: []string{addr}, Takeover: true, Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	for range n {
		o := operation{op: tlog.OpWrite, off: rng.Uint64N(smallDisk-(128<<10)) &^ 511, size: uint32(1+rng.IntN(64)) << 9}
		switch rng.IntN(8) {
		case 0:
			o.op = tlog.OpTrim
		case 1:
			o.op = tlog.OpZero
		default:
			o.data = make([]byte, o.size)
			for i := range o.data {
				o.data[i] = byte(rng.Uint32())
			}
		}
		if _, err := c.Append(t.Context(), o.op, o.off, o.size, o.data); err != nil {
			t.Fatal(err)
		}
		h.ops = append(h.ops, o)
		if rng.IntN(11) == 0 {
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.ops = append(h.ops, operation{op: tlog.OpFlush})
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// at is the disk after a number of records.
func (h *history) at(sequence int) []byte {
	disk := make([]byte, smallDisk)
	for _, o := range h.ops[:sequence] {
		clear(disk[o.off : o.off+uint64(o.size)])
		copy(disk[o.off:], o.data)
	}
	return disk
}

// withHistory starts a server on a pool, and logs n operations.
func withHistory(t *testing.T, p *pool, n int) (*stack, *history) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // where indexes are kept
	s, h := &stack{t: t, pool: p, addr: freeAddr(t)}, &history{}
	s.startServer()
	h.write(t, s.addr, n, 1)
	return s, h
}

func (s *stack) ctl(args ...string) (string, int) {
	s.t.Helper()
	return try(s.t, bin(s.t, "tlogctl"), append(args, s.pool.flags...)...)
}

func (s *stack) mustCtl(args ...string) string {
	s.t.Helper()
	return run(s.t, bin(s.t, "tlogctl"), append(args, s.pool.flags...)...)
}

func (s *stack) result(args ...string) string {
	s.t.Helper()
	return result(s.t, bin(s.t, "tlogctl"), append(args, s.pool.flags...)...)
}

// TestRestoredMomentsAreTheModel restores 200 moments by the index, while the disk
// is written, by sequence and by time, mounts each of them, and compares both with
// the model.
func TestRestoredMomentsAreTheModel(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s, h := withHistory(t, kind.make(t), 400)
			s.mustCtl("index", vdisk)
			rng := rand.New(rand.NewPCG(2, 2))
			image := filepath.Join(t.TempDir(), "image")
			m := &mounts{t: t, p: s.pool, dir: t.TempDir()}
			for i := range 200 {
				if i%40 == 20 {
					h.write(t, s.addr, 40, uint64(i))
				}
				seq := 1 + rng.IntN(len(h.ops))
				at := fmt.Sprint("seq:", seq)
				if i%4 == 0 {
					at = timeOf(t, s, seq)
				}
				out := s.result("restore", vdisk, "--to", image, "--at", at, "--snap-to", "any", "--force", "--json")
				var r struct {
					Index    bool `json:"by_index"`
					Sequence int  `json:"sequence"`
				}
				if err := json.Unmarshal([]byte(out), &r); err != nil || !r.Index || r.Sequence < seq {
					t.Fatalf("%s: %q, %v", at, out, err)
				}
				got, err := os.ReadFile(image)
				if err != nil || !bytes.Equal(got, h.at(r.Sequence)) {
					t.Fatalf("%s, seq:%d: the image is not the model's (%v)", at, r.Sequence, err)
				}
				m.compare(at, got)
			}
		})
	}
}

// compare mounts a moment and compares it with a disk.
func (m *mounts) compare(at string, want []byte) {
	m.t.Helper()
	d := m.mount(at, "--snap-to", "any")
	path := filepath.Join(m.dir, "copy")
	run(m.t, "nbdcopy", uri(d.socket), path)
	d.stop()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		m.t.Fatalf("%s: the mounted disk is not the model's (%v)", at, err)
	}
}

// timeOf is the time of a record.
func timeOf(t testing.TB, s *stack, seq int) string {
	t.Helper()
	var r struct{ Time time.Time }
	out := s.result("dump", vdisk, "--json", "--from", fmt.Sprint(seq), "--to", fmt.Sprint(seq))
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	return r.Time.UTC().Format(time.RFC3339Nano)
}

// TestRollback rolls a served disk back by 10 minutes of light writing, serves it
// again, and rolls the rollback back.
func TestRollback(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			s := newStack(t, kind.make(t))
			s.fio("fill", s.socket, 0, "--bs=64k", "--rw=write", "--size=64m")
			before := s.mark("before.img")
			s.fio("light", s.socket, 0, "--bs=4k", "--rw=randwrite", "--size=2m", "--fsync=16")
			after := s.mark("after.img")
			args := []string{"rollback", vdisk, "--at", before.seq, "--server", s.addr}
			if out, code := s.ctl(args...); code != 5 || !strings.Contains(out, "--takeover") {
				t.Errorf("rollback of a disk that is served: exit code %d\n%s", code, out)
			}
			s.disk.stop()
			var r struct {
				Data   int64 `json:"data_bytes"`
				Zeroed int64 `json:"zeroed_bytes"`
			}
			out := s.result(append(args, "--takeover", "--json")...)
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err)
			}
			if moved := r.Data + r.Zeroed; moved == 0 || 100*moved > 105*(2<<20) {
				t.Errorf("%d bytes were moved, 2 MiB were touched", moved)
			}
			s.diskFlags = []string{"--takeover"}
			s.startDisk()
			equal(t, s.image("rolled.img"), before.image)
			s.disk.stop()
			s.mustCtl("rollback", vdisk, "--at", after.seq, "--server", s.addr, "--takeover")
			s.startDisk()
			equal(t, s.image("again.img"), after.image)
			for _, m := range []moment{before, after} {
				image, _ := restore(t, s.pool, m.seq)
				equal(t, image, m.image)
			}
		})
	}
}

// TestRestoreKilled kills a restore without mercy, interrupts it, and gives the
// command again each time.
func TestRestoreKilled(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := newStack(t, newEmbedded(t))
	s.fio("fill", s.socket, 0, "--bs=256k", "--rw=randwrite", "--size=160m")
	m := s.mark("all.img")
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	args := append([]string{"restore", vdisk, "--to", image, "--at", m.seq, "--force"}, s.pool.flags...)
	s.cutShort(image, args, func(p *process) { p.kill() })
	out := run(t, bin(t, "tlogctl"), args...)
	if !strings.Contains(out, "going on with the restore") {
		t.Errorf("the restore that was killed did not go on:\n%s", out)
	}
	equal(t, image, m.image)
	remove(t, image)

	s.cutShort(image, args, func(p *process) {
		p.signal(os.Interrupt)
		p.resume()
		<-p.done
		if out := p.out.String(); p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out, "goes on with it") {
			t.Errorf("^C: exit code %d\n%s", p.cmd.ProcessState.ExitCode(), out)
		}
	})
	if out = run(t, bin(t, "tlogctl"), args...); !strings.Contains(out, "going on with the restore") {
		t.Errorf("the restore that was interrupted did not go on:\n%s", out)
	}
	equal(t, image, m.image)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left is %v (%v)", left, err)
	}
}

// cutShort begins a restore until one is cut short, by a function that is given
// the process when it is stopped: it may be done before.
func (s *stack) cutShort(image string, args []string, cut func(*process)) {
	s.t.Helper()
	state := filepath.Join(filepath.Dir(image), ".image.restore.state")
	for range 20 {
		p := start(s.t, bin(s.t, "tlogctl"), args...)
		eventually(s.t, "the restore is saved, or done", func() error {
			if _, err := os.Stat(state); err == nil {
				return nil
			}
			_, err := os.Stat(image)
			return err
		})
		if _, err := os.Stat(image); err == nil {
			<-p.done
			remove(s.t, image)
			continue
		}
		p.pause()
		if _, err := os.Stat(image); err == nil {
			p.resume()
			<-p.done
			remove(s.t, image)
			continue
		}
		cut(p)
		if _, err := os.Stat(state); err != nil {
			s.t.Fatalf("nothing was saved (%v)", err)
		}
		if _, err := os.Stat(image); err == nil {
			s.t.Fatal("half an image has its name")
		}
		return
	}
	s.t.Fatal("twenty restores were done before they could be cut short")
}
