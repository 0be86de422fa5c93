package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/player"
	"tlog/player/index"
)

// TestTimeline draws a history of which one half has all the writing.
func TestTimeline(t *testing.T) {
	begin := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(s int) player.Point { return player.Point{Time: begin.Add(time.Duration(s) * time.Second)} }
	l := newTimeline(at(0), at(40), 4)
	add := func(s int, op tlog.Operation, size uint32) {
		l.add(1, &index.Record{Time: uint64(at(s).Time.UnixNano()), Operation: op, Size: size})
	}
	add(0, tlog.OpWrite, 4<<20)
	add(9, tlog.OpWrite, 4<<20)
	add(9, tlog.OpTrim, 1<<30)
	add(12, tlog.OpWrite, 1<<20)
	add(12, tlog.OpFlush, 0)
	add(40, tlog.OpFlush, 0)
	add(40, tlog.OpFlush, 0)
	row := l.row(at(25).Time)
	row.names = append(row.names, "before")
	var out bytes.Buffer
	if err := l.draw(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		"FROM WRITTEN RATE FLUSHES",
		"2026-11-28T12:00:00.000Z 8.0 MiB 819 KiB/s 0 " + strings.Repeat("█", barWidth),
		"2026-11-28T12:00:10.000Z 1.0 MiB 102 KiB/s 1 ███",
		"2026-11-28T12:00:20.000Z 0 B 0 B/s 0 bookmark:before",
		"2026-11-28T12:00:30.000Z 0 B 0 B/s 2",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
}
