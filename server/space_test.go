package server_test

import (
	"errors"
	"testing"
	"time"

	"tlog/server"
	"tlog/stor"
)

// Each step is a minute after the one before.
func TestSpaceWatch(t *testing.T) {
	const gb = 1e9
	steps := []struct {
		used, total uint64
		percent     int
		lasts       time.Duration
		passed      bool
	}{
		{used: 70 * gb, total: 100 * gb, percent: 70},
		{used: 76 * gb, total: 100 * gb, percent: 76, lasts: 4 * time.Minute},                // 6 GB a minute
		{used: 82 * gb, total: 100 * gb, percent: 82, lasts: 3 * time.Minute, passed: true},  // 80
		{used: 82 * gb, total: 100 * gb, percent: 82, lasts: 200 * time.Second},              // rate falls by a tenth
		{used: 96 * gb, total: 100 * gb, percent: 96, lasts: 38 * time.Second, passed: true}, // 90 and 95 at once
		{used: 88 * gb, total: 100 * gb, percent: 88, lasts: 150 * time.Second},              // pruned
		{used: 96 * gb, total: 100 * gb, percent: 96, lasts: 46 * time.Second, passed: true}, // again
		{used: 10 * gb, total: 100 * gb, percent: 10},                                        // shrinks: lasts for ever
	}
	var w server.SpaceWatch
	at := time.Unix(1e9, 0)
	for i, s := range steps {
		status := []stor.ServerStatus{
			{Slot: 0, Name: "other", Space: stor.Space{Used: gb, Total: 100 * gb}},
			{Slot: 1, Name: "full", Space: stor.Space{Used: s.used, Total: s.total}},
			{Slot: 2, Name: "down", Err: errors.New("down"), Space: stor.Space{Used: 99, Total: 100}},
			{Slot: 3, Name: "unknown"},
		}
		least, passed := w.Observe(at, status)
		if least.Server != "full" || least.Percent() != s.percent {
			t.Errorf("step %d: fullest is %s at %d %%, want full at %d %%", i, least.Server, least.Percent(), s.percent)
		}
		if d := least.Lasts - s.lasts; d < -2*time.Second || d > 2*time.Second {
			t.Errorf("step %d: lasts %v, want %v", i, least.Lasts, s.lasts)
		}
		if (len(passed) == 1) != s.passed {
			t.Errorf("step %d: announced %v, want %v", i, passed, s.passed)
		}
		at = at.Add(time.Minute)
	}
}

func TestSpaceOfUnknownSize(t *testing.T) {
	var w server.SpaceWatch
	least, passed := w.Observe(time.Unix(0, 0), []stor.ServerStatus{{Name: "unknown"}})
	if got, want := least.String(), "size of the shard servers is unknown"; got != want || passed != nil {
		t.Errorf("got %q and %v, want %q and nothing", got, passed, want)
	}
}
