package player

import (
	"context"
	"math"

	"tlog"
)

// version names what is at a byte of a disk: the record that wrote it last; zero
// where nobody did, or it was discarded.
type version struct {
	pos tlog.Position
	rec uint32 // its place in the position
}

// walker goes over a Past's segments by offset.
type walker struct {
	past *Past
	next int // in byOffset
}

// at is the version of a byte, and where it ends; offsets must not fall.
func (w *walker) at(off uint64) (version, uint64) {
	p := w.past
	for ; w.next < len(p.byOffset); w.next++ {
		s := &p.segments[p.byOffset[w.next]]
		if s.from > off {
			return version{}, s.from
		}
		if s.end() > off {
			return version{p.living[s.at].pos, s.rec}, s.end()
		}
	}
	return version{}, math.MaxUint64
}

// Diff calls fn with runs, in order, of bytes that other records wrote last at
// one moment than at the other, of the same log: what may differ between them.
// data says that p has data there; else its bytes are zero. It ends when fn
// returns false. No data is read.
func (p *Past) Diff(other *Past, fn func(off, n int64, data bool) bool) {
	mine, its := walker{past: p}, walker{past: other}
	end := max(p.size, other.size)
	from, to, data := uint64(0), uint64(0), false // the run that is collected
	for off := uint64(0); off < end; {
		a, aEnd := mine.at(off)
		b, bEnd := its.at(off)
		next := min(aEnd, bEnd, end)
		if a != b {
			if off != to || (a.pos > 0) != data {
				if to > from && !fn(int64(from), int64(to-from), data) {
					return
				}
				from, data = off, a.pos > 0
			}
			to = next
		}
		off = next
	}
	if to > from {
		fn(int64(from), int64(to-from), data)
	}
}

// Probe reads up to n of the positions that the moment needs, spread over them,
// as a restore would, and returns how many bytes are stored of them.
func (p *Past) Probe(ctx context.Context, n int) (stored int64, err error) {
	step := max(1, (len(p.living)+n-1)/max(1, n))
	positions := func(yield func(tlog.Position) bool) {
		for i := 0; i < len(p.living); i += step {
			stored += int64(p.living[i].stored)
			if !yield(p.living[i].pos) {
				return
			}
		}
	}
	for it := range p.log.fetch(ctx, positions, func(tlog.Position) bool { return true }) {
		if it.err != nil {
			return 0, it.err
		}
	}
	return stored, context.Cause(ctx)
}

// Reads is what reading the whole disk in order costs, in stored bytes, if it is
// done in pieces of so many bytes and nothing is kept between them: a position
// is read for each piece that it has data of.
func (p *Past) Reads(piece int64) (stored int64) {
	last := make([]int64, len(p.living)) // the piece, from 1, that a position was read for
	for _, n := range p.byOffset {
		s := &p.segments[n]
		for i := int64(s.from) / piece; i <= int64(s.end()-1)/piece; i++ {
			if last[s.at] != i+1 {
				last[s.at] = i + 1
				stored += int64(p.living[s.at].stored)
			}
		}
	}
	return stored
}

// Digest is the chain digest of a position, which stands for the log up to it.
func (l *Log) Digest(ctx context.Context, pos tlog.Position) (tlog.Hash, error) {
	s, err := l.header(ctx, pos)
	if err != nil {
		return tlog.Hash{}, err
	}
	return s.Digest, nil
}
