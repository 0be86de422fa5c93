package player

import (
	"context"
	"iter"
	"slices"

	"tlog"
	"tlog/stor"
)

// found is a living position, read: whole, or only its live records.
type found struct {
	*layer
	at      int      // its place in the layer's living
	data    [][]byte // of each of its live records
	dec     *decoded // or this
	damaged []stor.Damage
	err     error
}

func (f *found) living() *living { return &f.layer.living[f.at] }

func (f *found) segments() []segment { return f.of(f.at) }

// bytes is the data of one of its segments.
func (f *found) bytes(l *Log, s *segment) (data []byte, err error) {
	rec := &f.records[s.rec]
	if f.dec != nil {
		data, err = l.dataOf(rec, f.living(), f.dec.agg)
	} else {
		data = f.data[s.rec-f.living().record]
	}
	if err != nil {
		return nil, err
	}
	return data[s.from-rec.off:][:s.n], nil
}

// Each calls fn with every piece of the disk's data that is alive, once, newest
// position first: each position that has some is read once, in parallel and in
// bounded memory. A position is left out if want, which may be nil, says false
// for all its pieces when its turn comes; pieces are asked for once more before
// fn gets them. fn is called by one goroutine at a time; data is lent during the
// call.
func (p *Past) Each(ctx context.Context, want func(off, n int64) bool, fn func(off int64, data []byte) error) error {
	return p.log.each(ctx, p.whole(), 0, want, func(f *found) error {
		if f.err != nil {
			return f.err
		}
		for i, segments := 0, f.segments(); i < len(segments); i++ {
			s := &segments[i]
			if want != nil && !want(int64(s.from), int64(s.n)) {
				continue
			}
			data, err := f.bytes(p.log, s)
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

// whole is the moment as one layer.
func (p *Past) whole() iter.Seq2[*layer, error] {
	return func(yield func(*layer, error) bool) { yield(&p.layer, nil) }
}

// each reads the living positions below one (0: all) of which something is
// wanted, and calls fn with each, newest first. One that could not be read has an
// error.
func (l *Log) each(ctx context.Context, layers iter.Seq2[*layer, error], below tlog.Position, want func(off, n int64) bool, fn func(*found) error) error {
	var failed error
	jobs := func(yield func(tlog.Position, loader) bool) {
		for y, err := range layers {
			if err != nil {
				failed = err
				return
			}
			if !y.jobs(l, below, want, yield) {
				return
			}
		}
	}
	for it := range l.fetchBy(ctx, jobs) {
		if it.err != nil {
			return it.err
		}
		for i := range it.found {
			if err := fn(&it.found[i]); err != nil {
				return err
			}
		}
	}
	if failed != nil {
		return failed
	}
	return context.Cause(ctx)
}

// What is read together of positions that are read record by record: a request to
// each server has a cost of its own, and so does waiting for it.
const (
	togetherBytes     = 512 << 10
	togetherPositions = 256
)

// jobs yields what loads the layer's positions: one by one, or, of neighbours
// that are read record by record, many. It reports whether more are asked for.
func (y *layer) jobs(l *Log, below tlog.Position, want func(off, n int64) bool, yield func(tlog.Position, loader) bool) bool {
	var together []int
	bytes := 0
	flush := func() bool {
		if len(together) == 0 {
			return true
		}
		places := together
		together, bytes = nil, 0
		return yield(y.living[places[0]].pos, func(ctx context.Context, it *item) { l.loadAlone(ctx, y, places, it) })
	}
	for at := range y.living {
		if below != 0 && y.living[at].pos >= below || !y.wants(at, want) {
			continue
		}
		if y.sparse(at) {
			for _, r := range y.recordsOf(at) {
				bytes += int(r.size)
			}
			together = append(together, at)
			if (bytes >= togetherBytes || len(together) == togetherPositions) && !flush() {
				return false
			}
			continue
		}
		if !flush() || !yield(y.living[at].pos, func(ctx context.Context, it *item) { l.loadWhole(ctx, y, at, it) }) {
			return false
		}
	}
	return flush()
}

func (y *layer) wants(at int, want func(off, n int64) bool) bool {
	return want == nil || slices.ContainsFunc(y.of(at), func(s segment) bool { return want(int64(s.from), int64(s.n)) })
}

// loadWhole reads a living position.
func (l *Log) loadWhole(ctx context.Context, y *layer, at int, it *item) {
	f := found{layer: y, at: at}
	if f.dec, f.err = l.decodeLiving(ctx, f.living(), it.room); f.err == nil {
		f.damaged = f.dec.damaged
	}
	it.found = []found{f}
}

// loadAlone reads the live records of living positions by themselves; of those
// of which that cannot be, the positions.
func (l *Log) loadAlone(ctx context.Context, y *layer, places []int, it *item) {
	list := make([]picked, len(places))
	for i, at := range places {
		list[i] = picked{at: &y.living[at], records: y.recordsOf(at)}
	}
	it.room.alone = l.peek(ctx, list, it.room.alone)
	it.found = make([]found, len(places))
	for i, at := range places {
		f := &it.found[i]
		if *f = (found{layer: y, at: at, data: list[i].data}); list[i].err != nil {
			f.copy(ctx, l, &list[i], it.room)
		}
	}
}

// copy reads the position whole, and has of its live records a copy.
func (f *found) copy(ctx context.Context, l *Log, p *picked, r *room) {
	d, err := l.decodeLiving(ctx, p.at, r)
	if err != nil {
		f.err = err
		return
	}
	f.data, f.damaged = make([][]byte, 0, len(p.records)), d.damaged
	for i := range p.records {
		b, err := l.dataOf(&p.records[i], p.at, d.agg)
		if err != nil {
			f.err = err
			return
		}
		f.data = append(f.data, slices.Clone(b))
	}
}
