package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"tlog/cmd/internal/storage"
)

type rolled struct {
	At, Before, After int
	Data, Zeroed      int64
	Extents           []changed
}

// rolledBack reads what rollback --json says.
func rolledBack(t testing.TB, line string) rolled {
	t.Helper()
	r := decode[struct {
		At      int       `json:"at_sequence"`
		Before  int       `json:"before_sequence"`
		After   int       `json:"after_sequence"`
		Data    int64     `json:"data_bytes"`
		Zeroed  int64     `json:"zeroed_bytes"`
		Extents []changed `json:"extents"`
	}](t, line)
	return rolled(r)
}

func (l *logged) last(t testing.TB) int {
	t.Helper()
	return decode[struct {
		Last int `json:"last_sequence"`
	}](t, l.done(t, "info", loggedName, "--json")).Last
}

// TestDiffCommand makes the disk of one moment of that of another by what diff
// lists; by content it lists no block that is equal.
func TestDiffCommand(t *testing.T) {
	l := newLogged(t, 100, 20)
	rng := rand.New(rand.NewPCG(21, 1))
	for range 12 {
		a, b := 1+rng.IntN(l.end()), 1+rng.IntN(l.end())
		was, is := l.after(a), l.after(b)
		for _, args := range [][]string{nil, {"--content"}} {
			got := bytes.Clone(was)
			out := l.done(t, append([]string{"diff", loggedName, fmt.Sprint("seq:", a), fmt.Sprint("seq:", b), "--json"}, args...)...)
			for line := range strings.Lines(out) {
				c := decode[changed](t, line)
				if c.Content == "data" {
					copy(got[c.Offset:c.end()], is[c.Offset:])
				} else {
					clear(got[c.Offset:c.end()])
				}
				if args != nil && bytes.Equal(was[c.Offset:c.end()], is[c.Offset:c.end()]) {
					t.Errorf("seq:%d to %d: %+v is equal", a, b, c)
				}
			}
			if !bytes.Equal(got, is) {
				t.Errorf("diff %v of seq:%d and seq:%d does not make one of the other", args, a, b)
			}
		}
	}
	if out := l.done(t, "diff", loggedName, "latest", "latest"); out != "" {
		t.Errorf("latest differs from itself: %q", out)
	}
	if _, code, err := l.ctl(t.Context(), "diff", loggedName, "seq:1", "seq:99999"); code != storage.ExitFailed || !strings.Contains(err.Error(), "covers seq:1") {
		t.Errorf("a moment after the log: %d, %v", code, err)
	}
}

// TestRollback rolls a disk back, and the rollback back, and looks at all moments
// on the way: history is never cut.
func TestRollback(t *testing.T) {
	l := newLogged(t, 120, 22)
	before := l.last(t)
	now := bytes.Clone(l.disk)
	at := before / 2
	args := []string{"rollback", loggedName, "--at", fmt.Sprint("seq:", at), "--json"}
	planned := rolledBack(t, l.done(t, append(args, "--plan")...))
	if l.last(t) != before || planned.After != 0 || planned.Data == 0 || planned.Before != before || planned.At != at {
		t.Fatalf("plan: %+v, and the log ends at %d, want %d", planned, l.last(t), before)
	}
	if _, code, err := l.ctl(t.Context(), args...); code != storage.ExitFenced || !strings.Contains(err.Error(), "--takeover") {
		t.Errorf("rollback of another client's vdisk: exit code %d, %v", code, err)
	}
	if _, code, err := l.ctl(t.Context(), "rollback", loggedName, "--at", "seq:99999", "--takeover"); code != storage.ExitFailed || !strings.Contains(err.Error(), "covers seq:1") {
		t.Errorf("rollback to a moment after the log: exit code %d, %v", code, err)
	}
	if got := l.last(t); got != before {
		t.Fatalf("refused rollbacks wrote up to seq:%d, want %d", got, before)
	}
	done := rolledBack(t, l.done(t, append(args, "--takeover")...))
	if done.Data != planned.Data || done.Zeroed != planned.Zeroed || len(done.Extents) != len(planned.Extents) || done.Before != before || done.After != l.last(t) {
		t.Errorf("done %+v, planned %+v, the log ends at %d", done, planned, l.last(t))
	}
	l.wantMoment(t, "latest", l.after(at))
	l.wantMoment(t, fmt.Sprint("seq:", before), now)

	// Back again, without asking: the vdisk is the tool's own now.
	undone := rolledBack(t, l.done(t, "rollback", loggedName, "--at", fmt.Sprint("seq:", before), "--json"))
	l.wantMoment(t, "latest", now)
	l.wantMoment(t, fmt.Sprint("seq:", done.After), l.after(at))
	again := rolledBack(t, l.done(t, "rollback", loggedName, "--at", fmt.Sprint("seq:", before), "--json"))
	if len(again.Extents) != 0 || l.last(t) != undone.After {
		t.Errorf("a disk that is what it was is written to: %+v", again)
	}
	out := l.done(t, "points", loggedName, "--list", "--json")
	if !strings.Contains(out, fmt.Sprintf(`"kind":"flush","sequence":%d,`, done.After)) {
		t.Errorf("no flush mark at seq:%d, the end of the rollback", done.After)
	}
}

func (l *logged) wantMoment(t testing.TB, at string, want []byte) {
	t.Helper()
	if out := l.done(t, "restore", loggedName, "--to", "-", "--at", at); out != string(want) {
		t.Errorf("%s is not the disk as the model has it", at)
	}
}

// TestRollbackIsSmall moves no more than what was touched since.
func TestRollbackIsSmall(t *testing.T) {
	l := newLogged(t, 150, 23)
	before := l.last(t)
	l.write(t, 6, 24)
	r := rolledBack(t, l.done(t, "rollback", loggedName, "--at", fmt.Sprint("seq:", before), "--takeover", "--json"))
	touched := int64(0)
	for line := range strings.Lines(l.done(t, "dump", loggedName, "--json", "--from", fmt.Sprint(before+1), "--to", fmt.Sprint(r.Before))) {
		touched += decode[struct {
			Size int64 `json:"size"`
		}](t, line).Size
	}
	if moved := r.Data + r.Zeroed; moved == 0 || 100*moved > 105*touched {
		t.Errorf("%d bytes are written back, %d were touched", moved, touched)
	}
	l.wantMoment(t, "latest", l.after(before))
}

func TestRollbackUsage(t *testing.T) {
	for args, says := range map[string]string{
		"rollback v --data-dir none":                                   "--at WHEN is needed",
		"rollback v --at x --data-dir none":                            "moment",
		"rollback v --at latest --snap-to x --data-dir none":           "flush or any",
		"diff v latest --data-dir none":                                "arg",
		"diff v latest x --data-dir none":                              "moment",
		"restore v --to x --at bookmark: --data-dir none":              "bookmark",
		"rollback v/w --at latest --data-dir none":                     "vdisk",
		"restore v/w --to x --data-dir none":                           "vdisk",
		"restore --group g --to x --best-effort --data-dir none":       "--best-effort does not go with --group",
		"restore --group g --to x --dry-run --data-dir none":           "--dry-run does not go with --group",
		"restore v --to ftp://x/y --data-dir none --key-file no --at ": "flag",
	} {
		l := &logged{}
		if _, code, err := l.ctl(t.Context(), strings.Fields(args)...); code != storage.ExitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("tlogctl %s: exit code %d, %v, want %q", args, code, err, says)
		}
	}
}
