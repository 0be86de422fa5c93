package player

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"tlog"
)

// When names a moment of a log before it is looked up.
type When struct {
	text     string
	latest   bool
	sequence tlog.Sequence // if not latest and time is zero
	time     time.Time
	now      time.Time
	bookmark string // to be looked up: sequence is one that no log has
}

// String is the text that was parsed.
func (w When) String() string { return w.text }

// Bookmark is the name of the bookmark that w is, or empty. One who resolves w
// looks that up first (package bookmark): a log knows no names.
func (w When) Bookmark() string { return w.bookmark }

// AtSequence is seq:N.
func AtSequence(n tlog.Sequence) When {
	return When{text: fmt.Sprintf("seq:%d", n), sequence: n}
}

// ParseWhen reads WHEN as the command lines take it:
//
//	latest | seq:N | RFC 3339 time with zone | -5m (before now) | bookmark:NAME
//
// now is the reader's clock, which relative times count from and which no
// moment may lie beyond.
func ParseWhen(s string, now time.Time) (When, error) {
	w := When{text: s, now: now}
	switch {
	case s == "" || s == "latest":
		w.latest = true
		return w, nil
	case strings.HasPrefix(s, "seq:"):
		n, err := strconv.ParseUint(s[len("seq:"):], 10, 64)
		if err != nil {
			return w, fmt.Errorf("moment %q: seq: wants a number", s)
		}
		w.sequence = tlog.Sequence(n)
		return w, nil
	case strings.HasPrefix(s, "bookmark:"):
		w.bookmark, w.sequence = s[len("bookmark:"):], 1<<64-1
		if w.bookmark == "" {
			return w, fmt.Errorf("moment %q: bookmark: wants a name", s)
		}
		return w, nil
	case strings.HasPrefix(s, "-"):
		d, err := time.ParseDuration(s[1:])
		if err != nil || d < 0 {
			return w, fmt.Errorf("moment %q: a relative time looks like -90s, -5m or -1h30m", s)
		}
		w.time = now.Add(-d)
		return w, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return w, fmt.Errorf("moment %q: want latest, seq:N, a time such as 2006-01-02T15:04:05Z, -5m or bookmark:NAME", s)
	}
	w.time = t
	return w, nil
}
