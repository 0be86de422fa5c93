package player_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/client"
	"tlog/group"
	"tlog/player"
)

// entry is a record of a log that a test makes up: at so many seconds, by a
// stamp, a write unless another operation is named.
type entry struct {
	at    uint64
	stamp group.Stamp
	op    tlog.Operation
}

const second = uint64(time.Second)

// stampOf is the stamp of a run, 0 for a closed one, by a clock made at `made` seconds.
func stampOf(name string, made, run uint64) group.Stamp {
	return group.Stamp(uint64(group.NameID(name))<<36 | made<<8 | run)
}

// log writes a log.
func (p *pair) log(t *testing.T, name tlog.VdiskID, entries []entry) {
	t.Helper()
	c, err := client.Open(t.Context(), client.Config{Servers: []string{p.addr}, Vdisk: name, DiskSize: diskSize})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var data []byte
		if e.op == 0 {
			e.op, data = tlog.OpWrite, []byte{1}
		}
		if _, err := c.AppendStamped(t.Context(), client.Stamp{Time: e.at * second, Group: e.stamp}, e.op, 0, uint32(len(data)), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) index(t *testing.T, name tlog.VdiskID) *player.Index {
	t.Helper()
	l, err := player.Open(t.Context(), p.store.open(t, true), p.keys, name, player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ix, err := l.OpenIndex(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() }) //nolint:errcheck // forgotten
	return ix
}

// Each rule by which a moment is taken, moved or refused.
func TestCutRules(t *testing.T) {
	const flush, mark = tlog.OpFlush, tlog.OpWatermark
	one, two, end := stampOf("g", 90, 1), stampOf("g", 90, 2), stampOf("g", 90, 0)
	boot, host := stampOf("g", 150, 1), stampOf("g", 95, 9)
	other := stampOf("h", 90, 1)
	for _, c := range []struct {
		name string
		a, b []entry
		at   string // seconds, or latest
		snap player.Snap
		over bool   // Exact
		want string // the time and the sequences; or what the error says
	}{
		{"between records", []entry{{100, one, 0}, {110, one, 0}}, []entry{{101, two, 0}, {111, two, 0}}, "105", 0, false, "105: 1 1"},
		{"at a record", []entry{{100, one, 0}, {110, one, 0}}, []entry{{101, two, 0}, {110, two, 0}, {112, two, 0}}, "110", 0, false, "110: 2 2"},
		{"latest, one goes on", []entry{{100, one, 0}, {110, one, 0}}, []entry{{101, two, 0}, {105, two, mark}}, "latest", 0, false, "105: 1 2 moved: b after 105"},
		{"latest, all are closed", []entry{{100, one, 0}, {110, end, mark}}, []entry{{101, two, 0}, {105, end, mark}}, "latest", 0, false, "110: 2 2"},
		{"the group rests", []entry{{100, one, 0}, {110, one, 0}}, []entry{{101, two, 0}, {110, two, mark}}, "115", 0, false, "110: 2 2"},
		{"killed", []entry{{100, one, 0}, {103, one, 0}, {120, stampOf("g", 90, 3), mark}}, []entry{{101, two, 0}, {110, two, 0}, {130, two, 0}}, "115", 0, false, "103: 2 1 moved: a after 103"},
		{"killed, and that is wanted", []entry{{100, one, 0}, {103, one, 0}, {120, stampOf("g", 90, 3), mark}}, []entry{{101, two, 0}, {110, two, 0}, {130, two, 0}}, "115", 0, true, "115: 2 2"},
		{"ended, and begun again", []entry{{100, one, 0}, {103, end, mark}, {120, stampOf("g", 90, 3), mark}}, []entry{{101, two, 0}, {110, two, 0}, {130, two, 0}}, "115", 0, false, "115: 2 2"},
		{"both killed", []entry{{100, one, 0}, {103, one, 0}}, []entry{{101, two, 0}, {102, two, 0}, {110, two, 0}}, "latest", 0, false, "103: 2 2 moved: a after 103"},
		{"to the newest flush of any", []entry{{100, one, 0}, {102, one, flush}, {110, one, 0}}, []entry{{101, two, 0}, {104, two, flush}, {111, two, 0}}, "109", player.SnapFlush, false, "104: 2 2"},
		{"no flush yet", []entry{{100, one, 0}, {110, one, 0}}, []entry{{101, two, 0}, {111, two, 0}}, "105", player.SnapFlush, false, "105: 1 1"},
		{"flush from before the group", []entry{{100, 0, flush}, {101, one, 0}, {110, one, 0}}, []entry{{101, two, 0}, {111, two, 0}}, "105", player.SnapFlush, false, "105: 2 1"},
		{"host booted between", []entry{{100, one, 0}, {103, end, mark}, {160, boot, 0}}, []entry{{101, two, 0}, {104, end, mark}, {161, stampOf("g", 150, 2), 0}}, "120", 0, false, "120: 2 2"},
		{"booted, one has not written", []entry{{100, one, 0}, {103, end, mark}}, []entry{{101, two, 0}, {104, end, mark}, {161, boot, 0}, {170, boot, 0}}, "165", 0, false, "165: 2 3"},
		{"two hosts at once", []entry{{100, one, 0}, {103, one, 0}, {110, one, 0}}, []entry{{101, host, 0}, {104, host, 0}, {111, host, 0}}, "105", 0, false, "by two clocks"},
		{"the boot's clock was set back", []entry{{200, one, 0}, {260, boot, 0}, {261, boot, 0}}, []entry{{201, two, 0}, {230, end, mark}, {231, stampOf("g", 240, 5), 0}}, "230", 0, true, "by two clocks"},
		{"not yet there", []entry{{100, one, 0}, {110, one, 0}}, []entry{{107, two, 0}, {111, two, 0}}, "105", 0, false, "105: 1 - absent"},
		{"joined later", []entry{{100, one, 0}, {110, one, 0}}, []entry{{101, 0, 0}, {108, two, 0}}, "105", 0, false, "b was not in group g then, by its record 1"},
		{"in another group", []entry{{100, one, 0}, {110, one, 0}}, []entry{{101, other, 0}, {108, other, 0}}, "105", 0, false, "b was not in group g then"},
		{"before all", []entry{{100, one, 0}}, []entry{{101, two, 0}}, "99", 0, false, "no disk of group g had a record yet"},
		{"a sequence", []entry{{100, one, 0}}, []entry{{101, two, 0}}, "seq:1", 0, false, "a sequence is one disk's"},
		{"in the future", []entry{{100, one, 0}}, []entry{{101, two, 0}}, "9999999999", 0, false, "in the future"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			p.log(t, "a", c.a)
			p.log(t, "b", c.b)
			p.stop()
			text := c.at
			var s int64
			if n, _ := fmt.Sscan(c.at, &s); n == 1 {
				text = time.Unix(s, 0).UTC().Format(time.RFC3339)
			}
			w, err := player.ParseWhen(text, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			cut, err := player.NewCut([]*player.Index{p.index(t, "a"), p.index(t, "b")},
				player.CutConfig{Group: "g", When: w, Snap: max(c.snap, player.SnapAny), Exact: c.over})
			if got := describe(cut, err); got != c.want && (err == nil || !strings.Contains(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if err != nil && c.want == "by two clocks" && !errors.Is(err, player.ErrCut) {
				t.Errorf("%v is not ErrCut", err)
			}
		})
	}
}

func describe(c *player.Cut, err error) string {
	if err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("%d:", c.Time.Unix())
	for _, p := range c.Points {
		s += fmt.Sprintf(" %d", p.Sequence)
	}
	for range c.Absent {
		s += " - absent"
	}
	for i, m := range c.Moved {
		if i == 0 {
			s += " moved:"
		}
		s += fmt.Sprintf(" %s after %d", m.Vdisk, m.Until.Unix())
	}
	return s
}
