package player

import (
	"context"
	"errors"
	"iter"

	"tlog"
)

// Restore is Log.Restore by the index: it reads the positions that the moment
// needs and no other. What the links of the chain prove there, the index proves
// here: it was compared with the log's chain when it was opened.
//
// It keeps no map of the disk, only which bytes had their turn, as Log.Restore
// does, and a piece of the index: what Config.Memory says, 200 bytes for each 4
// MiB of a disk that is written in blocks of 4 KiB, and about 40 MiB beside
// these. The index is in use until it returns.
func (ix *Index) Restore(ctx context.Context, p Point, t Target, o RestoreOptions) (*Report, error) {
	r := newRestore(ix.log, p, t, o, ix.log.info.DiskSize)
	m := newMapping(ix.log)
	m.zeroed = !o.Fresh
	done := func(pos tlog.Position) (int64, int64) { return int64(p.Position - pos + 1), int64(p.Position) }
	return r.byLayers(ctx, r.zeroing(ix.layers(p, m)), done, func() error {
		r.report.DiskSize, r.done = m.size, m.done
		return r.finish()
	})
}

// Restore is Index.Restore of a moment that is mapped.
func (p *Past) Restore(ctx context.Context, t Target, o RestoreOptions) (*Report, error) {
	r := newRestore(p.log, p.point, t, o, p.size)
	n, total := int64(0), int64(len(p.living)-p.below(o.Below))
	done := func(tlog.Position) (int64, int64) {
		n++
		return n, total
	}
	return r.byLayers(ctx, p.whole(), done, func() error { return r.finishPast(p) })
}

// byLayers restores a moment that comes piece by piece; done tells how far it is
// with a position, and finish does what is left when all data is written.
func (r *restore) byLayers(ctx context.Context, layers iter.Seq2[*layer, error], done func(tlog.Position) (int64, int64), finish func() error) (*Report, error) {
	if err := r.runLayers(ctx, layers, done, finish); err != nil {
		return nil, err
	}
	// All that the moment needs was read: what a few looks find beside it is told.
	if err := r.sample(ctx); err != nil && tlog.ClassOf(err) != tlog.Corrupt && tlog.ClassOf(err) != tlog.Unavailable {
		return nil, err
	}
	r.report.settle()
	return &r.report, nil
}

func (r *restore) runLayers(ctx context.Context, layers iter.Seq2[*layer, error], done func(tlog.Position) (int64, int64), finish func() error) (err error) {
	defer func() { err = errors.Join(err, r.leave(err)) }()
	err = r.log.each(ctx, layers, r.opts.Below, nil, func(f *found) error {
		pos := f.living().pos
		if f.err != nil {
			if !r.passable(ctx, f.err) {
				return f.err
			}
			if err := r.lose(f); err != nil {
				return err
			}
		} else if err := r.live(f); err != nil {
			return restoreError(r.log, pos, err)
		}
		n, of := done(pos)
		return r.step(pos, n, of)
	})
	if err != nil {
		return err
	}
	return finish()
}

// zeroing zeroes what layers say is zero.
func (r *restore) zeroing(layers iter.Seq2[*layer, error]) iter.Seq2[*layer, error] {
	return func(yield func(*layer, error) bool) {
		for y, err := range layers {
			for i := 0; err == nil && i < len(y.zeroes); i++ {
				err = r.zero(y.zeroes[i])
			}
			if !yield(y, err) || err != nil {
				return
			}
		}
	}
}

// live writes the segments of a living position.
func (r *restore) live(f *found) error {
	segments := f.segments()
	for i := range segments {
		data, err := f.bytes(r.log, &segments[i])
		if err != nil {
			return err
		}
		if err := r.put(segments[i].from, data); err != nil {
			return err
		}
		if i == 0 || segments[i].rec != segments[i-1].rec {
			r.report.Records++
		}
	}
	r.report.add(f.damaged)
	return nil
}

// finishPast writes what is still collected, and zeroes what nobody wrote.
func (r *restore) finishPast(p *Past) (err error) {
	if err := r.flush(); err != nil || r.opts.Fresh {
		return err
	}
	p.Extents(0, int64(p.size), func(off, n int64, data bool) bool {
		if !data {
			err = r.target.Zero(off, n)
		}
		return err == nil
	})
	return err
}

// below is the place in living of the first position under pos; 0: of any.
func (p *Past) below(pos tlog.Position) int {
	n := 0
	for pos != 0 && n < len(p.living) && p.living[n].pos >= pos {
		n++
	}
	return n
}
