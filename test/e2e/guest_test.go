//go:build e2e

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tlog/test/guest"
)

// guestPoints is larger for `make guest`.
var guestPoints = flag.Int("points", 20, "how many flush points a guest makes at least")

// boots is how often a guest's power is switched on, and cut.
const boots = 2

// rig is what guests boot from.
type rig struct {
	kernel    *guest.Kernel
	initramfs string
}

func newRig(t testing.TB) *rig {
	t.Helper()
	k, err := guest.Find(bin(t, "guest"))
	if err != nil {
		t.Fatal(err)
	}
	initramfs, err := guest.Initramfs(k, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &rig{k, initramfs}
}

// TestGuest runs a Debian kernel on a tlog disk: mkfs, mount, a database and
// files that are fsynced, until its power is cut, twice. Then every flush point
// of the log is mounted: its file system must be clean once its journal is
// replayed, its database whole, and what the guest was told is durable by then
// must be there. test/guest/init is what runs in the guest.
func TestGuest(t *testing.T) {
	r := newRig(t)
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := newStack(t, kind.make(t))
			said := r.run(t, "commit", *guestPoints/(2*boots), s.socket)
			s.unfailed()
			// The power of the host goes too: what is in the log is all there is.
			s.disk.kill()
			s.server.kill()
			marks := flushMarks(t, s.pool, vdisk)
			if len(marks) < *guestPoints {
				t.Errorf("the guest made %d flush points, want %d", len(marks), *guestPoints)
			}
			j := &judge{pool: s.pool, said: said, marks: marks, index: t.TempDir()}
			j.all(t)
			fmt.Println(j)
		})
	}
}

// run boots a guest on disks and cuts its power when it has said something so many
// times, again and again, and returns all that it said.
func (r *rig) run(t testing.TB, kind string, times int, sockets ...string) []guest.Line {
	t.Helper()
	var said []guest.Line
	args, before := []string{"format"}, 0
	for i := range boots {
		m, err := guest.Boot(r.kernel, r.initramfs, sockets, args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Cut() })
		lines := work(t, m, kind, times+1+rand.IntN(5))
		said = append(said, append(lines, m.Cut()...)...)
		// One more transaction than was told may have been committed.
		if n := newest(lines, "resumed"); i > 0 && kind == "commit" && n != before && n != before+1 {
			t.Errorf("the guest found its database at %d, it had committed %d", n, before)
		}
		args, before = nil, newest(said, "commit")
	}
	return said
}

// work lets a guest say something so many times, and then go on for a moment
// that has nothing to do with what it is doing.
func work(t testing.TB, m *guest.Machine, kind string, times int) (lines []guest.Line) {
	t.Helper()
	limit := time.After(5 * time.Minute)
	for {
		select {
		case l, ok := <-m.Lines:
			if !ok || strings.HasPrefix(l.Text, "fail") || strings.Contains(l.Text, "Kernel panic") {
				t.Fatalf("the guest ended by itself:\n%s", text(append(lines, l)))
			}
			lines = append(lines, l)
			if times -= strings.Count(l.Text, kind+" "); times == 0 {
				limit = time.After(time.Duration(rand.IntN(300)) * time.Millisecond)
			}
		case <-limit:
			if times > 0 {
				t.Fatalf("the guest is too slow; it said:\n%s", text(lines))
			}
			return lines
		}
	}
}

func text(lines []guest.Line) string {
	var s strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&s, l.At.Format(time.StampMicro), l.Text)
	}
	return tail(s.String())
}

// newest is the number of the last line of a kind.
func newest(lines []guest.Line, kind string) (n int) {
	for _, l := range lines {
		_, _ = fmt.Sscanf(l.Text, kind+" %d", &n) // another kind leaves n
	}
	return n
}

// flushMark is a flush point of a log.
type flushMark struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
}

// flushMarks reads the flush points of a log, and wants that tlogctl points, which
// has them from the index, lists the same.
func flushMarks(t testing.TB, p *pool, vdisk string) []flushMark {
	t.Helper()
	marks := decodeMarks(t, result(t, bin(t, "tlogctl"), append([]string{"dump", vdisk, "--json"}, p.flags...)...))
	listed := decodeMarks(t, result(t, bin(t, "tlogctl"), append([]string{"points", vdisk, "--json", "--index", t.TempDir()}, p.flags...)...))
	if !slices.EqualFunc(marks, listed, func(a, b flushMark) bool { return a.Sequence == b.Sequence && a.Time.Equal(b.Time) }) {
		t.Errorf("the log of %s has %d flush points, tlogctl points lists %d, or others", vdisk, len(marks), len(listed))
	}
	return marks
}

func decodeMarks(t testing.TB, out string) (marks []flushMark) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var line struct {
			flushMark
			Operation string `json:"operation"` // of dump
			Kind      string `json:"kind"`      // of points
		}
		if err := d.Decode(&line); err != nil {
			t.Fatalf("tlogctl --json: %v", err)
		}
		if line.Operation == "flush" || line.Kind == "flush" {
			marks = append(marks, line.flushMark)
		}
	}
	return marks
}
