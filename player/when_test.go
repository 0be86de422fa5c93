package player

import (
	"strings"
	"testing"
	"time"

	"tlog/internal/alloctest"
)

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text   string
		latest bool
		seq    uint64
		at     time.Time
		err    string // part of the error; empty: none

		bookmark string
	}{
		{text: "latest", latest: true},
		{text: "", latest: true},
		{text: "seq:17", seq: 17},
		{text: "seq:18446744073709551615", seq: 1<<64 - 1},
		{text: "seq:", err: "wants a number"},
		{text: "seq:-1", err: "wants a number"},
		{text: "seq:18446744073709551616", err: "wants a number"},
		{text: "-5m", at: now.Add(-5 * time.Minute)},
		{text: "-1h30m", at: now.Add(-90 * time.Minute)},
		{text: "-", err: "relative time"},
		{text: "--5m", err: "relative time"},
		{text: "-5", err: "relative time"},
		{text: "2026-05-01T11:59:59.25Z", at: now.Add(-750 * time.Millisecond)},
		{text: "2026-05-01T13:00:00+02:00", at: now.Add(-time.Hour)},
		{text: "2026-05-01T11:00:00", err: "want latest"},
		{text: "yesterday", err: "want latest"},
		{text: "bookmark:", err: "wants a name"},
		{text: "bookmark:x", seq: 1<<64 - 1, bookmark: "x"},
	} {
		w, err := ParseWhen(c.text, now)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("ParseWhen(%q): error %v, want one with %q", c.text, err, c.err)
			}
			continue
		}
		if err != nil || w.latest != c.latest || uint64(w.sequence) != c.seq || w.Bookmark() != c.bookmark || !w.time.Equal(c.at) {
			t.Errorf("ParseWhen(%q) = %+v, %v", c.text, w, err)
		}
	}
}

func FuzzParseWhen(f *testing.F) {
	for _, s := range []string{"latest", "seq:1", "-5m", "2026-05-01T11:00:00Z", "bookmark:a"} {
		f.Add(s)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		var w When
		var err error
		alloctest.Bound(t, len(s), func() { w, err = ParseWhen(s, now) })
		if err == nil && w.String() != s {
			t.Fatalf("ParseWhen(%q) says it was %q", s, w)
		}
	})
}
