package player

import (
	"context"
	"fmt"
	"iter"

	"tlog"
	"tlog/internal/failpoint"
)

// Each calls fn with every piece of the disk's data that is alive, once, newest
// position first: each position that has some is read once, in parallel and in
// bounded memory. A position is left out if want, which may be nil, says false
// for all its pieces when its turn comes; pieces are asked for once more before
// fn gets them. fn is called by one goroutine at a time; data is lent during the
// call.
func (p *Past) Each(ctx context.Context, want func(off, n int64) bool, fn func(off int64, data []byte) error) error {
	return p.each(ctx, want, func(it *item, at int) error {
		for i, segments := 0, p.of(at); i < len(segments); i++ {
			s := &segments[i]
			if want != nil && !want(int64(s.from), int64(s.n)) {
				continue
			}
			data, err := p.data(s, it.dec.agg)
			if err != nil {
				return err
			}
			if err := fn(int64(s.from), data); err != nil {
				return err
			}
		}
		return nil
	})
}

// each reads the living positions of which something is wanted, and calls fn
// with each and its place in living.
func (p *Past) each(ctx context.Context, want func(off, n int64) bool, fn func(*item, int) error) error {
	at := map[tlog.Position]int{}
	always := func(tlog.Position) bool { return true }
	for it := range p.log.fetch(ctx, p.wanted(want, at), always) {
		if it.err != nil {
			return it.err
		}
		n := at[it.pos]
		delete(at, it.pos)
		if err := p.same(n, it.dec.agg); err != nil {
			return err
		}
		if err := fn(it, n); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// wanted is the living positions of which something is wanted; at gets their
// places. A fetch asks for the next one on the goroutine that consumes.
func (p *Past) wanted(want func(off, n int64) bool, at map[tlog.Position]int) iter.Seq[tlog.Position] {
	return func(yield func(tlog.Position) bool) {
		for n := range p.living {
			if !p.wants(n, want) {
				continue
			}
			at[p.living[n].pos] = n
			if !yield(p.living[n].pos) {
				return
			}
		}
	}
}

func (p *Past) wants(n int, want func(off, n int64) bool) bool {
	if want == nil {
		return true
	}
	for _, s := range p.of(n) {
		if want(int64(s.from), int64(s.n)) {
			return true
		}
	}
	return false
}

// Restore is Log.Restore by the index: it reads the positions that the moment
// needs and no other. What the links of the chain prove there, the index proves
// here: it was compared with the log's chain when it was opened.
func (p *Past) Restore(ctx context.Context, t Target, fresh bool, progress func(Progress)) (*Report, error) {
	r := &restore{log: p.log, target: t, fresh: fresh, out: gather{target: t}, size: p.size}
	r.report = Report{Point: p.point, DiskSize: p.size, Damaged: p.log.view.Damaged()}
	done := int64(0)
	err := p.each(ctx, nil, func(it *item, at int) error {
		if err := r.live(p, it, at); err != nil {
			return fmt.Errorf("player: vdisk %s: restore of position %d: %w", p.log.info.Vdisk, it.pos, err)
		}
		failpoint.Here("restore.position")
		if done++; progress != nil {
			progress(Progress{Done: done, Total: int64(len(p.living)), Bytes: r.report.Bytes})
		}
		return nil
	})
	if err == nil {
		err = r.finishPast(p)
	}
	if failed := r.out.wait(); err == nil {
		err = failed
	}
	if err == nil {
		err = r.sample(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &r.report, nil
}

// live writes the segments of a living position.
func (r *restore) live(p *Past, it *item, at int) error {
	segments := p.of(at)
	for i := range segments {
		data, err := p.data(&segments[i], it.dec.agg)
		if err != nil {
			return err
		}
		if err := r.out.add(segments[i].from, data); err != nil {
			return err
		}
		r.report.Bytes += int64(len(data))
		if i == 0 || segments[i].rec != segments[i-1].rec {
			r.report.Records++
		}
	}
	r.report.add(it.dec.damaged)
	return nil
}

// finishPast writes what is still collected, and zeroes what nobody wrote.
func (r *restore) finishPast(p *Past) (err error) {
	if err := r.out.flush(); err != nil || r.fresh {
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
