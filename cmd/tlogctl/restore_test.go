package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"tlog/cmd/internal/storage"
	"tlog/player"
)

type restored struct {
	Written  int64 `json:"written_bytes"`
	Index    bool  `json:"by_index"`
	Sequence int   `json:"sequence"`
	Missing  []missing
}

func decode[T any](t testing.TB, line string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return v
}

// TestRestoreMoments restores moments to a file and to standard output, without an
// index, with one that has too little, and by one.
func TestRestoreMoments(t *testing.T) {
	l := newLogged(t, 120, 1)
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range 24 {
		seq := 1 + rng.IntN(l.end())
		if i == 8 {
			l.done(t, "restore", loggedName, "--dry-run") // which builds the index
			l.write(t, 30, 3)
		}
		args := []string{"restore", loggedName, "--at", fmt.Sprint("seq:", seq)}
		if i%3 == 0 {
			args = append(args, "--no-index")
		}
		image := l.path(fmt.Sprint(i))
		r := decode[restored](t, l.done(t, append(args, "--to", image, "--json")...))
		if by := i >= 8 && i%3 != 0; r.Index != by || r.Sequence != seq {
			t.Errorf("restore %d: %+v, by index %v wanted", i, r, by)
		}
		want := l.after(seq)
		l.wantFile(t, image, want)
		if out := l.done(t, append(args, "--to", "-")...); out != string(want) {
			t.Errorf("restore %d: %d bytes on standard output are not the disk", i, len(out))
		}
		if err := os.Remove(image); err != nil {
			t.Fatal(err)
		}
	}
	l.wantNames(t)
}

// TestDryRun tells what a restore then does, and leaves nothing behind.
func TestDryRun(t *testing.T) {
	l := newLogged(t, 100, 4)
	p := decode[plan](t, l.done(t, "restore", loggedName, "--to", l.path("x"), "--dry-run", "--json"))
	l.wantNames(t)
	r := decode[restored](t, l.done(t, "restore", loggedName, "--to", l.path("x"), "--json"))
	if p.Data != r.Written || p.Sequence != uint64(r.Sequence) || p.DiskSize != loggedSize || p.Extents == 0 || p.Positions == 0 || p.Read == 0 || p.Seconds <= 0 {
		t.Errorf("planned %+v, restored %+v", p, r)
	}
	if out := l.done(t, "restore", loggedName, "--dry-run"); !strings.Contains(out, fmt.Sprint(p.Extents, " extents")) {
		t.Errorf("dry run says %q", out)
	}
}

// TestRestoreRefused gives targets and moments that must be refused: nothing is
// written, and nothing is left.
func TestRestoreRefused(t *testing.T) {
	l := newLogged(t, 30, 5)
	for name, content := range map[string]string{"there": "precious", "base": "disk", "base.tlog": ""} {
		if err := os.WriteFile(l.path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	busy, err := os.Open(l.path("there"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close() //nolint:errcheck // only locked
	if err := flock(busy); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.path("base.tlog"), markerOf("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"", storage.ExitUsage, "--to FILE is needed"},
		{"--to x --at nonsense", storage.ExitUsage, "moment"},
		{"--to x --snap-to never", storage.ExitUsage, "flush or any"},
		{"--to http://x", storage.ExitUsage, "nbd://"},
		{"--to there", storage.ExitFailed, "--force replaces it"},
		{"--to there --force", storage.ExitFailed, "in use by another process"},
		{"--to base --force", storage.ExitFailed, "is the base image of vdisk other"},
		{"--to data", storage.ExitFailed, "not a regular file"},
		{"--to /dev/null", storage.ExitFailed, "not a regular file"},
		{"--to x --at seq:0", storage.ExitFailed, "covers seq:1 to seq:"},
		{"--to x --at seq:1000000", storage.ExitFailed, "covers seq:1 to seq:"},
		{"--to x --at 2001-01-01T00:00:00Z", storage.ExitFailed, "covers seq:1 to seq:"},
		{"--to x --at 2999-01-01T00:00:00Z", storage.ExitFailed, "covers seq:1 to seq:"},
		{"--to x --dry-run --at seq:1000000", storage.ExitFailed, "covers seq:1 to seq:"},
		{"--to nbd+unix:///?socket=/nonexistent/s", storage.ExitFailed, "nbdinfo"},
	} {
		args := strings.Fields("restore " + loggedName + " " + c.args)
		for i, a := range args {
			if i > 0 && args[i-1] == "--to" && !strings.Contains(a, "/") {
				args[i] = l.path(a)
			}
		}
		if _, code, err := l.ctl(t.Context(), args...); code != c.code || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: exit code %d, %v; want %d with %q", c.args, code, err, c.code, c.says)
		}
		l.wantNames(t, "base", "base.tlog", "there")
	}
	l.wantFile(t, l.path("there"), []byte("precious"))
}

// TestRestoreGoesOn interrupts restores, and gives the command again: the image is
// that of the moment, and what was restored is not written again.
func TestRestoreGoesOn(t *testing.T) {
	l := newLogged(t, 150, 6)
	image := l.path("image")
	last := l.end()
	whole := decode[restored](t, l.done(t, "restore", loggedName, "--to", image, "--json", "--no-index")).Written
	l.interrupt(t, image, last)
	l.wantNames(t, ".image.restore", ".image.restore.state", "image")
	l.wantFile(t, image, l.disk)
	r := decode[restored](t, l.done(t, "restore", loggedName, "--to", image, "--force", "--json"))
	if r.Written >= whole || !r.Index {
		t.Errorf("the restore that went on wrote %d bytes of %d", r.Written, whole)
	}
	l.wantFile(t, image, l.disk)
	l.wantNames(t, "image")

	// Another moment, --fresh, and a state that makes no sense begin anew.
	for i, args := range [][]string{{"--at", "seq:77"}, {"--fresh"}, {"--no-index", "--fresh"}, {}} {
		l.interrupt(t, image, last)
		if len(args) == 0 {
			if err := os.WriteFile(statePath(image), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := decode[restored](t, l.done(t, append([]string{"restore", loggedName, "--to", image, "--force", "--json"}, args...)...))
		want := l.after(r.Sequence)
		l.wantFile(t, image, want)
		if i > 0 && r.Written != whole {
			t.Errorf("%v: %d bytes written, want %d", args, r.Written, whole)
		}
		l.wantNames(t, "image")
	}
}

// interrupt leaves a restore of a moment half done.
func (l *logged) interrupt(t testing.TB, image string, seq int) {
	t.Helper()
	src, closing := l.source(t, seq, false)
	defer closing()
	to, err := createImage(image, true, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = to.write(ctx, src, player.RestoreOptions{Progress: func(p player.Progress) {
		if p.Bytes > loggedSize/4 {
			cancel()
		}
	}})
	if err = to.leave(err); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), fmt.Sprintf("--at seq:%d goes on", seq)) {
		t.Fatalf("interrupted restore: %v", err)
	}
}

// source finds a moment as the verbs do.
func (l *logged) source(t testing.TB, seq int, byIndex bool) (*source, func()) {
	t.Helper()
	tool := &tool{storage: storage.Flags{DataDir: l.flags[1], ParityShards: -1}, log: slog.New(slog.DiscardHandler)}
	log, closing, err := tool.open(t.Context(), loggedName, true)
	if err != nil {
		t.Fatal(err)
	}
	at, err := (&moment{at: fmt.Sprint("seq:", seq)}).parse()
	if err != nil {
		t.Fatal(err)
	}
	src, err := tool.source(t.Context(), log, at, wants{index: byIndex, mapped: byIndex})
	if err != nil {
		t.Fatal(err)
	}
	return src, func() { src.close(); closing() }
}

// TestStream reads disks in order, in pieces of any size, and to a reader that
// goes away.
func TestStream(t *testing.T) {
	l := newLogged(t, 100, 8)
	for _, seq := range []int{1, 50, l.end()} {
		want := l.after(seq)
		src, closing := l.source(t, seq, true)
		for _, piece := range []int64{64 << 10, 1000003, loggedSize, 2 * loggedSize} {
			var out bytes.Buffer
			s := &stream{out: &out, piece: piece}
			if _, err := s.inOrder(t.Context(), src.past, player.RestoreOptions{Progress: func(player.Progress) {}}); err != nil || !bytes.Equal(out.Bytes(), want) {
				t.Errorf("seq:%d in pieces of %d: %d bytes are the disk: %v, %v", seq, piece, out.Len(), bytes.Equal(out.Bytes(), want), err)
			}
			s.out = &leaving{left: 2 * piece}
			if _, err := s.inOrder(t.Context(), src.past, player.RestoreOptions{Progress: func(player.Progress) {}}); piece < loggedSize/2 && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("a reader that goes away: %v", err)
			}
		}
		if small := (&stream{piece: 4096}); seq > 50 && small.cheap(src.past) {
			t.Error("a disk of random writes is cheap to read in order in small pieces")
		}
		closing()
	}
}

// leaving takes so much.
type leaving struct{ left int64 }

func (l *leaving) Write(b []byte) (int, error) {
	if l.left -= int64(len(b)); l.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

// lastAlive is the position of the last write that the disk still has something of,
// but for the end of the log, without which no log opens. How records fall into
// positions is different each time.
func (l *logged) lastAlive(t testing.TB) uint64 {
	t.Helper()
	for s := l.end(); s > 0; s-- {
		if !l.alive(s) {
			continue
		}
		src, done := l.source(t, s, true)
		pos, head := src.point.Position, src.log.Info().Positions
		done()
		if pos+5 < head {
			return uint64(pos)
		}
	}
	t.Fatal("nothing is alive")
	return 0
}

// alive reports whether the disk still has something of a record.
func (l *logged) alive(s int) bool {
	before := l.after(s - 1)
	for i, b := range l.after(s) {
		if b != 0 && b != before[i] && b == l.disk[i] {
			return true
		}
	}
	return false
}

// TestRestoreBestEffort damages the log behind an index. A restore ends, naming the
// position; of best effort it says, beside the image and by its exit code, what
// is missing, until the next whole one.
func TestRestoreBestEffort(t *testing.T) {
	l := newLogged(t, 120, 9)
	l.done(t, "index", loggedName)
	image := l.path("image")
	whole := l.save(t)
	pos := l.lastAlive(t)
	l.damage(t, pos)
	for _, args := range [][]string{{"restore", loggedName, "--to", image}, {"restore", loggedName, "--to", image, "--no-index"}, {"restore", loggedName, "--to", "-"}} {
		if out, code, err := l.ctl(t.Context(), args...); code != storage.ExitIntegrity || !strings.Contains(err.Error(), fmt.Sprintf("position %d:", pos)) || out != "" {
			t.Errorf("%v of a damaged log: exit code %d, %v", args, code, err)
		}
		if _, err := os.Stat(image); err == nil {
			t.Errorf("%v left an image", args)
		}
	}
	for _, args := range [][]string{nil, {"--no-index"}} {
		out, code, err := l.ctl(t.Context(), append([]string{"restore", loggedName, "--to", image, "--force", "--fresh", "--best-effort", "--json"}, args...)...)
		if code != storage.ExitIntegrity || !strings.Contains(err.Error(), "image.missing") {
			t.Fatalf("%v: exit code %d, %v", args, code, err)
		}
		r := decode[restored](t, out)
		listed, err := os.ReadFile(missingPath(image))
		if err != nil || len(r.Missing) == 0 || bytes.Count(listed, []byte("\n")) != len(r.Missing) {
			t.Errorf("%v: %d parts are missing, listed is %q, %v", args, len(r.Missing), listed, err)
		}
		got, err := os.ReadFile(image)
		if err != nil || bytes.Equal(got, l.disk) {
			t.Errorf("%v: the loss made no difference (%v)", args, err)
		}
		for _, m := range r.Missing {
			if m.Position != pos || m.Content == "zeroes" == (args != nil) || m.Content == "zeroes" && !fresh(got[m.Offset:m.Offset+m.Size]) {
				t.Errorf("%v: %+v", args, m)
			}
			copy(got[m.Offset:], l.disk[m.Offset:m.Offset+m.Size])
		}
		if !bytes.Equal(got, l.disk) {
			t.Errorf("%v: more is missing than is listed", args)
		}
	}
	l.recover(t, whole)
	l.done(t, "restore", loggedName, "--to", image, "--force")
	l.wantFile(t, image, l.disk)
	l.wantNames(t, "image", "whole")
}

// TestRestoreOfNothing restores a disk that nobody wrote to.
func TestRestoreOfNothing(t *testing.T) {
	l := newLogged(t, 0, 1)
	for i, args := range [][]string{{"--no-index"}, {"--dry-run"}, {}, {"--best-effort"}} {
		image := l.path(fmt.Sprint(i))
		l.done(t, append([]string{"restore", loggedName, "--to", image}, args...)...)
		if i != 1 {
			l.wantFile(t, image, make([]byte, loggedSize))
		}
	}
}

// TestSnap moves times to flush marks, and sequences where it is told to.
func TestSnap(t *testing.T) {
	l := newLogged(t, 60, 11)
	marks := map[int]bool{}
	for line := range strings.Lines(l.done(t, "dump", loggedName, "--json")) {
		r := decode[struct {
			Sequence  int
			Operation string
		}](t, line)
		marks[r.Sequence] = r.Operation == "flush"
	}
	last := 0
	for seq := 1; seq <= l.end(); seq++ {
		if marks[seq] {
			last = seq
		}
		want := last
		if want == 0 {
			want = seq
		}
		if seq%7 != 0 {
			continue
		}
		p := decode[plan](t, l.done(t, "restore", loggedName, "--dry-run", "--json", "--at", fmt.Sprint("seq:", seq), "--snap-to", "flush"))
		if int(p.Sequence) != want {
			t.Errorf("seq:%d snaps to seq:%d, want seq:%d", seq, p.Sequence, want)
		}
	}
	if last == 0 {
		t.Fatal("no flush mark")
	}
}
