package player

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tlog"
	"tlog/player/index"
)

// Snap says to which kind of point a moment is moved.
type Snap uint8

const (
	// SnapDefault is SnapFlush for times, and SnapAny for what names a record.
	SnapDefault Snap = iota
	// SnapAny takes the last record at or before the moment.
	SnapAny
	// SnapFlush takes the last completed FLUSH or FUA of the guest at or before
	// the moment; where there was none yet, it is SnapAny.
	SnapFlush
)

// ParseSnap reads --snap-to: flush, any, or nothing for the default.
func ParseSnap(s string) (Snap, error) {
	switch s {
	case "":
		return SnapDefault, nil
	case "any":
		return SnapAny, nil
	case "flush":
		return SnapFlush, nil
	}
	return 0, fmt.Errorf("snap to %q: want flush or any", s)
}

// flush reports whether the moment is moved to a flush mark.
func (s Snap) flush(w When) bool {
	return s == SnapFlush || s == SnapDefault && !w.time.IsZero()
}

// ResolveSnap is Resolve, and then the point that snap moves it to.
func (l *Log) ResolveSnap(ctx context.Context, w When, snap Snap) (Point, error) {
	p, err := l.Resolve(ctx, w)
	if err != nil || !snap.flush(w) || p.Sequence == 0 {
		return p, err
	}
	if err := l.needKeys(); err != nil {
		return p, err
	}
	always := func(tlog.Position) bool { return true }
	for it := range l.fetch(ctx, downwards(p.Position, 1), always) {
		if it.err != nil {
			return p, it.err
		}
		records := it.dec.agg.Records
		for i := len(records) - 1; i >= 0; i-- {
			if r := &records[i]; r.Operation == tlog.OpFlush && r.Sequence <= p.Sequence {
				return Point{r.Sequence, it.pos, recordTime(r.Timestamp)}, nil
			}
		}
	}
	return p, context.Cause(ctx)
}

// Resolve is Log.ResolveSnap by the index. Costs at most a few of its pages.
func (ix *Index) Resolve(ctx context.Context, w When, snap Snap) (Point, error) {
	p, err := ix.resolve(ctx, w)
	if err != nil || !snap.flush(w) {
		return p, err
	}
	err = ix.Down(p.Sequence, func(s tlog.Sequence, r *index.Record, at *index.Position) bool {
		if r.Operation != tlog.OpFlush {
			return true
		}
		p = Point{s, at.Position, recordTime(r.Time)}
		return false
	})
	return p, err
}

func (ix *Index) resolve(ctx context.Context, w When) (Point, error) {
	info := &ix.log.info
	switch {
	case w.latest || !w.time.IsZero() && !w.time.After(w.now) && info.Last > 0 && !w.time.Before(info.LastTime):
		return Point{info.Last, info.Positions, info.LastTime}, nil
	case w.time.IsZero() && w.sequence > 0 && w.sequence <= info.Last:
		return ix.Point(w.sequence)
	case w.time.IsZero() || w.time.After(w.now) || info.Last == 0:
		return Point{}, ix.log.rangeError(ctx, w)
	}
	s, err := ix.before(uint64(max(w.time.UnixNano(), 0)))
	if err != nil {
		return Point{}, err
	}
	if s == 0 {
		return Point{}, ix.log.rangeError(ctx, w)
	}
	return ix.Point(s)
}

// before is the last record at or before a time; 0 if there is none.
func (ix *Index) before(time uint64) (tlog.Sequence, error) {
	n := ix.file.PageAfter(time)
	if n == ix.file.Pages() {
		return ix.log.info.Last, nil
	}
	if err := ix.load(n); err != nil {
		return 0, err
	}
	s := ix.page.First - 1
	for i := range ix.page.Records {
		if ix.page.Records[i].Time > time {
			break
		}
		s++
	}
	return s, nil
}

var errNotIndexed = errors.New("not in the index")

// Point is the place and time of a record.
func (ix *Index) Point(s tlog.Sequence) (Point, error) {
	p := Point{Sequence: s}
	err := ix.Down(s, func(_ tlog.Sequence, r *index.Record, at *index.Position) bool {
		p.Position, p.Time = at.Position, recordTime(r.Time)
		return false
	})
	if err == nil && p.Position == 0 {
		err = fmt.Errorf("player: vdisk %s: record %d: %w", ix.log.info.Vdisk, s, errNotIndexed)
	}
	return p, err
}

// First is the time of the log's first record; zero if there is none.
func (ix *Index) First() (t time.Time, err error) {
	err = ix.Up(0, 1<<63, func(_ tlog.Sequence, r *index.Record) bool {
		t = recordTime(r.Time)
		return false
	})
	return t, err
}
