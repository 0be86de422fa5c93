package player

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tlog"
	"tlog/crypto"
)

// ErrRange says that a moment is not covered by the log; the error around it
// shows what is.
var ErrRange = errors.New("outside the log")

// Point is a moment of a log: its state after all records up to Sequence.
type Point struct {
	Sequence tlog.Sequence // 0: before the first record
	Position tlog.Position // that holds the record; the head for an empty log
	Time     time.Time     // of the record
}

// Resolve finds the last record at or before a moment. A time after the last
// record, but not in the future, is the last record. Costs O(log n) reads of
// headers and one of a position.
func (l *Log) Resolve(ctx context.Context, w When) (Point, error) {
	switch {
	case w.latest || w.time.IsZero() && w.sequence == l.info.Last:
		return Point{l.info.Last, l.info.Positions, l.info.LastTime}, nil
	case w.time.IsZero():
		return l.resolveSequence(ctx, w)
	}
	return l.resolveTime(ctx, w)
}

func (l *Log) resolveSequence(ctx context.Context, w When) (Point, error) {
	if w.sequence == 0 || w.sequence > l.info.Last {
		return Point{}, l.rangeError(ctx, w)
	}
	pos, err := l.search(ctx, func(h *crypto.Header) bool { return h.Last >= w.sequence })
	if err != nil {
		return Point{}, err
	}
	if err := l.needKeys(); err != nil {
		return Point{}, err
	}
	d, err := l.decode(ctx, pos, new(room))
	if err != nil {
		return Point{}, err
	}
	for i := range d.agg.Records {
		if r := &d.agg.Records[i]; r.Sequence == w.sequence {
			return Point{r.Sequence, pos, recordTime(r.Timestamp)}, nil
		}
	}
	return Point{}, tlog.Corruptf("player: vdisk %s: position %d lacks sequence %d, which its header covers", l.info.Vdisk, pos, w.sequence)
}

func (l *Log) resolveTime(ctx context.Context, w When) (Point, error) {
	if w.time.After(w.now) || l.info.Last == 0 {
		return Point{}, l.rangeError(ctx, w)
	}
	if !w.time.Before(l.info.LastTime) {
		return Point{l.info.Last, l.info.Positions, l.info.LastTime}, nil
	}
	if err := l.needKeys(); err != nil {
		return Point{}, err
	}
	at := uint64(max(w.time.UnixNano(), 0))
	// The first position that ends after the moment holds the first record
	// after it; the record before that one is the answer.
	pos, err := l.search(ctx, func(h *crypto.Header) bool { return h.Last > 0 && h.LastTimestamp > at })
	if err != nil {
		return Point{}, err
	}
	d, err := l.decode(ctx, pos, new(room))
	if err != nil {
		return Point{}, err
	}
	best := d.agg.Header.First - 1
	for i := range d.agg.Records {
		r := &d.agg.Records[i]
		if r.Timestamp > at {
			break
		}
		best = r.Sequence
	}
	if best == 0 {
		return Point{}, l.rangeError(ctx, w)
	}
	return l.resolveSequence(ctx, When{text: w.text, sequence: best, now: w.now})
}

// search finds the first position whose header has found, which must be false
// up to some position and true from there to the head.
func (l *Log) search(ctx context.Context, found func(*crypto.Header) bool) (tlog.Position, error) {
	low, high := tlog.Position(1), l.info.Positions
	for low < high {
		mid := low + (high-low)/2
		s, err := l.header(ctx, mid)
		if err != nil {
			return 0, err
		}
		if found(&s.Header) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low, nil
}

// rangeError says what the log covers.
func (l *Log) rangeError(ctx context.Context, w When) error {
	if w.bookmark != "" {
		return fmt.Errorf("moment %q was not looked up: bookmarks are not taken here", w)
	}
	if l.info.Last == 0 {
		return fmt.Errorf("moment %q is %w: vdisk %s has no record yet", w, ErrRange, l.info.Vdisk)
	}
	first := "?"
	if p, err := l.resolveSequence(ctx, When{text: "seq:1", sequence: 1}); err == nil {
		first = p.Time.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Errorf("moment %q is %w: vdisk %s covers seq:1 to seq:%d, %s to %s",
		w, ErrRange, l.info.Vdisk, l.info.Last, first, l.info.LastTime.UTC().Format(time.RFC3339Nano))
}
