package appending_test

import (
	"fmt"
	"strings"
	"testing"

	"tlog"
	"tlog/internal/core/appending"
)

// Scripts read: "event → actions". Events and actions are words:
//
//	publish 1            publish 1 0+ 1- .    (held: index 0 good, 1 damaged, nothing)
//	s2 ok 1.0            server 2 stored position 1, index 0
//	s2 index 1.0 2       … but holds index 2
//	s2 fenced 1 7        … refuses 1: it holds epoch 7
//	s2 busy 1, s2 full 1, s2 unknown 1, s2 conflict 1, s2 unusable 1, s2 nodata 1
//	late 1, due 2, probed 2, unprobed 2, fenced 2, unfenced 2, close
//
// and 1.0>2 (send position 1, index 0 to server 2; * without data, ! replacing),
// hedge 1, wait 2 (and how often it failed; slow), probe 2, fence 2,
// committed 1, failed 1, release 1, dead reason.
type script struct {
	t *testing.T
	m *appending.Machine
}

func run(t *testing.T, cfg appending.Config, lines string) {
	t.Helper()
	s := script{t, appending.New(cfg)}
	for line := range strings.Lines(lines) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		if line == "" {
			continue
		}
		event, want, _ := strings.Cut(line, "→")
		var got []string
		for _, a := range stepTwins(t, s.m, parse(t, event)) {
			got = append(got, describe(a))
		}
		if g, w := strings.Join(got, ", "), strings.TrimSpace(want); g != w {
			t.Fatalf("%s\n got %s\nwant %s", event, g, w)
		}
	}
}

var outcomes = map[string]appending.Outcome{
	"ok": appending.Stored, "index": appending.HasIndex, "fenced": appending.Fenced, "nodata": appending.NoData,
	"conflict": appending.Conflict, "busy": appending.Busy, "full": appending.Full, "unusable": appending.Unusable, "unknown": appending.Unknown,
}

func parse(t *testing.T, text string) appending.Event {
	t.Helper()
	w := strings.Fields(text)
	num := func(i int) (n int) {
		if i < len(w) {
			fmt.Sscan(w[i], &n)
		}
		return n
	}
	switch {
	case w[0] == "publish":
		e := appending.Publish{Position: tlog.Position(num(1))}
		for _, h := range w[2:] {
			held := appending.Holding{Index: -1}
			if h != "." {
				fmt.Sscanf(h, "%d", &held.Index)
				held.Valid = strings.HasSuffix(h, "+")
			}
			e.Held = append(e.Held, held)
		}
		return e
	case w[0] == "late":
		return appending.Late{Position: tlog.Position(num(1))}
	case w[0] == "due":
		return appending.Due{Server: num(1)}
	case w[0] == "probed", w[0] == "unprobed":
		return appending.Probed{Server: num(1), OK: w[0] == "probed"}
	case w[0] == "fenced":
		return appending.FenceReplied{Server: num(1), Outcome: appending.Stored}
	case w[0] == "outbid":
		return appending.FenceReplied{Server: num(1), Outcome: appending.Fenced, Epoch: tlog.Epoch(num(2))}
	case w[0] == "unfenced":
		return appending.FenceReplied{Server: num(1), Outcome: appending.Unknown}
	case w[0] == "close":
		return appending.Close{}
	}
	outcome, ok := outcomes[w[1]]
	if w[0][0] != 's' || !ok {
		t.Fatalf("what is %q?", text)
	}
	e := appending.Replied{Outcome: outcome}
	fmt.Sscanf(w[0], "s%d", &e.Server)
	fmt.Sscanf(w[2], "%d.%d", &e.Position, &e.Index)
	if outcome == appending.HasIndex {
		e.Index = num(3)
	}
	e.Epoch = tlog.Epoch(num(3))
	return e
}

func describe(a appending.Action) string {
	switch a.Kind {
	case appending.Send:
		s := fmt.Sprintf("%d.%d", a.Position, a.Index)
		if !a.Data {
			s += "*"
		}
		if a.Replace {
			s += "!"
		}
		if a.Commit > 0 {
			s += fmt.Sprintf("(c%d)", a.Commit)
		}
		return fmt.Sprintf("%s>%d", s, a.Server)
	case appending.Fence:
		return fmt.Sprintf("fence %d", a.Server)
	case appending.Probe:
		return fmt.Sprintf("probe %d", a.Server)
	case appending.Wait:
		if a.Slow {
			return fmt.Sprintf("wait %d slow %d", a.Server, a.Failures)
		}
		return fmt.Sprintf("wait %d %d", a.Server, a.Failures)
	case appending.StartHedge:
		return fmt.Sprintf("hedge %d", a.Position)
	case appending.Committed:
		return fmt.Sprintf("committed %d", a.Position)
	case appending.Failed:
		return fmt.Sprintf("failed %d", a.Position)
	case appending.Release:
		return fmt.Sprintf("release %d", a.Position)
	case appending.Dead:
		return "dead " + []string{"", "closed", "fenced", "conflict"}[a.Reason]
	}
	return fmt.Sprintf("%T", a)
}
