package player

import (
	"context"
	"iter"
	"sort"

	"tlog"
)

// Each calls fn with every piece of the disk's data that is alive, once, newest
// position first: each position that has some is read once, in parallel and in
// bounded memory. A position is left out if want, which may be nil, says false
// for all its pieces when its turn comes; pieces are asked for once more before
// fn gets them. fn is called by one goroutine at a time; data is lent during the
// call.
func (p *Past) Each(ctx context.Context, want func(off, n int64) bool, fn func(off int64, data []byte) error) error {
	return p.each(ctx, 0, want, func(it *item, at int) error {
		if it.err != nil {
			return it.err
		}
		for i, segments := 0, p.of(at); i < len(segments); i++ {
			s := &segments[i]
			if want != nil && !want(int64(s.from), int64(s.n)) {
				continue
			}
			data, err := p.bytes(s, it)
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

// each reads the living positions from a place in living on of which something
// is wanted, and calls fn with each and its place. An item may have an error.
func (p *Past) each(ctx context.Context, from int, want func(off, n int64) bool, fn func(*item, int) error) error {
	load := func(tlog.Position) func(context.Context, *item) { return p.load }
	for it := range p.log.fetchBy(ctx, p.wanted(from, want), load) {
		if err := fn(it, p.below(it.pos+1)); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// below is the place in living of the first position under pos; 0: of any.
func (p *Past) below(pos tlog.Position) int {
	if pos == 0 {
		return 0
	}
	return sort.Search(len(p.living), func(i int) bool { return p.living[i].pos < pos })
}

// wanted is the living positions of which something is wanted. A fetch asks for
// the next one on the goroutine that consumes.
func (p *Past) wanted(from int, want func(off, n int64) bool) iter.Seq[tlog.Position] {
	return func(yield func(tlog.Position) bool) {
		for n := from; n < len(p.living); n++ {
			if p.wants(n, want) && !yield(p.living[n].pos) {
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

// live writes the segments of a living position.
func (r *restore) live(p *Past, it *item, at int) error {
	segments := p.of(at)
	for i := range segments {
		data, err := p.bytes(&segments[i], it)
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
	if it.dec != nil {
		r.report.add(it.dec.damaged)
	}
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
