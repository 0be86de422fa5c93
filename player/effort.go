package player

import (
	"cmp"
	"context"
	"slices"

	"tlog"
	"tlog/internal/failpoint"
)

// RestoreOptions say how a restore is done; the zero value is the ordinary way.
type RestoreOptions struct {
	// Fresh says that the target reads as zeroes: nothing is zeroed in it.
	Fresh bool
	// Progress, if set, is called after each position.
	Progress func(Progress)
	// Save, if set, is called now and then, and at last when a restore ends with
	// an error that is not the target's: all of the positions from floor up was
	// written to the target, which the caller makes durable before it notes the
	// floor.
	Save func(floor tlog.Position) error
	// SaveEvery is how much is written, in bytes, before Save is called first; then
	// half as much again as was written before, up to 16 times SaveEvery: that is
	// what an interruption costs. 0: 64 MiB, and so 1 GiB at most.
	SaveEvery int64
	// Below goes on with a restore of the same moment: the last floor that was
	// saved. 0: from the beginning. Only by an index that goes.
	Below tlog.Position
	// BestEffort goes around positions that cannot be read, instead of ending with
	// the first. An index knows which parts of the disk they had, which are zeroes
	// then and Missing; without an index all that was written before a lost
	// position is in doubt: it is restored, and Missing says that it may be older
	// than the moment.
	BestEffort bool
}

// Lost is a position that a restore of best effort went around.
type Lost struct {
	Position tlog.Position
	Err      error
}

// Missing is a part of a restored disk that is not, or may not be, what it was.
type Missing struct {
	Offset, Size uint64        // bytes
	Position     tlog.Position // that was lost
	Older        bool          // it has what it had before that position; false: zeroes
}

const defaultSaveEvery = 64 << 20

// pause is how much is written between the save at so many bytes and the next. A
// file system is better at large pieces: the fewer syncs, the fewer extents an
// image ends in.
func pause(every, saved int64) int64 { return min(max(every, saved/2), 16*every) }

// step notes that a position is done.
func (r *restore) step(pos tlog.Position, done, total int64) error {
	failpoint.Here("restore.position")
	r.floor = pos
	if r.saves() && r.report.Bytes-r.asOf >= pause(r.opts.SaveEvery, r.asOf) {
		if err := r.save(); err != nil {
			return err
		}
	}
	if r.opts.Progress != nil {
		r.opts.Progress(Progress{Done: done, Total: total, Bytes: r.report.Bytes})
	}
	return nil
}

// saves reports whether how far the restore came is saved: not behind a lost
// position, of which a restore that goes on would know nothing.
func (r *restore) saves() bool { return r.opts.Save != nil && len(r.report.Lost) == 0 }

func (r *restore) save() error {
	if err := r.flush(); err != nil {
		return err
	}
	r.asOf = r.report.Bytes
	return r.opts.Save(r.floor)
}

func (r *restore) flush() error {
	err := r.out.flush()
	r.broken = r.broken || err != nil
	return err
}

// leave ends the writes to the target. A restore that failed saves how far it
// came, unless the target did not take everything.
func (r *restore) leave(failed error) error {
	if err := r.out.wait(); err != nil {
		r.broken = true
		return err
	}
	if failed == nil || !r.saves() || r.broken || r.report.Bytes == r.asOf {
		return nil
	}
	return r.save()
}

// passable reports whether a restore of best effort goes around a failed read.
func (r *restore) passable(ctx context.Context, err error) bool {
	class := tlog.ClassOf(err)
	return r.opts.BestEffort && ctx.Err() == nil && (class == tlog.Corrupt || class == tlog.Unavailable)
}

// around goes on behind a position that cannot be read, without an index.
func (r *restore) around(ctx context.Context, it *item, chain *links) error {
	if !r.passable(ctx, it.err) {
		return it.err
	}
	if head, err := r.log.header(ctx, it.pos); err == nil {
		it.head = head
		if err := chain.add(it.link()); err != nil {
			return err
		}
	} else {
		chain.seen = false // what is below it cannot be compared with what is above
	}
	// Behind the moment only its link counts.
	if it.pos <= r.report.Point.Position && (r.size == 0 || r.done.bytes < r.size) {
		r.unsure = it.pos
		r.report.Lost = append(r.report.Lost, Lost{it.pos, it.err})
	}
	return nil
}

// older notes a part of the disk below a lost position.
func (r *restore) older(g span) {
	if r.unsure > 0 {
		r.report.Missing = append(r.report.Missing, Missing{g.from, g.to - g.from, r.unsure, true})
	}
}

// lose notes what a lost position had that is alive, and zeroes it.
func (r *restore) lose(f *found) error {
	pos := f.living().pos
	r.report.Lost = append(r.report.Lost, Lost{pos, f.err})
	for _, s := range f.segments() {
		r.report.Missing = append(r.report.Missing, Missing{s.from, uint64(s.n), pos, false})
		if err := r.zero(span{s.from, s.end()}); err != nil {
			return err
		}
	}
	return nil
}

// settle puts Missing in order, neighbours together.
func (r *Report) settle() {
	slices.SortFunc(r.Missing, func(a, b Missing) int { return cmp.Compare(a.Offset, b.Offset) })
	merged := r.Missing[:0]
	for _, m := range r.Missing {
		if n := len(merged); n > 0 && merged[n-1].Offset+merged[n-1].Size == m.Offset && merged[n-1].Position == m.Position {
			merged[n-1].Size += m.Size
			continue
		}
		merged = append(merged, m)
	}
	r.Missing = merged
}
