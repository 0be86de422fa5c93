package player

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Past is the content of a disk at one moment: a map from the bytes of the disk
// to the records that wrote them last, and what reads those.
//
// It takes 20 bytes of memory for each extent that is alive, 40 for each record
// that has one, about 100 for each position, and what Config.Memory says. A Past
// is safe for concurrent use.
type Past struct {
	log   *Log
	point Point
	size  uint64

	layer
	byOffset []uint32 // places of segments, by offset
	live     uint64   // bytes of all segments

	cache *cache
}

// Past maps the disk as of p, which Resolve or the index found. It reads the
// index from p back, as far as there are bytes that no record seen has covered,
// and nothing from the shard servers.
func (ix *Index) Past(p Point) (*Past, error) {
	if err := ix.covers(p); err != nil {
		return nil, err
	}
	m := newMapping(ix.log)
	if err := m.failure(ix.Down(p.Sequence, m.add)); err != nil {
		return nil, err
	}
	past := &Past{log: ix.log, point: p, size: m.size, live: m.live, layer: *m.layer}
	past.byOffset = byOffset(past.segments)
	past.cache = newCache(past)
	return past, nil
}

// byOffset orders segments. The keys are beside their numbers while that goes
// on: looking each one up takes three times as long.
func byOffset(segments []segment) []uint32 {
	type key struct {
		from uint64
		n    uint32
	}
	keys, order := make([]key, len(segments)), make([]uint32, len(segments))
	for i := range segments {
		keys[i] = key{segments[i].from, uint32(i)}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(a.from, b.from) })
	for i := range keys {
		order[i] = keys[i].n
	}
	return order
}

// Point is the moment.
func (p *Past) Point() Point { return p.point }

// Size is the disk's size in bytes; where the log does not know it, the end of
// the last extent.
func (p *Past) Size() int64 { return int64(p.size) }

// Need is what the moment needs: bytes of data that are alive, and the bytes,
// stored and before erasure coding, that a restore reads for them: positions, or
// of those of which little is alive, records; and how many positions these are.
func (p *Past) Need() (live, stored int64, positions int) {
	return int64(p.live), p.need(), len(p.living)
}

// Close ends reads and gives memory back.
func (p *Past) Close() error {
	p.cache.close()
	return nil
}

// find is the place in byOffset of the first segment that ends after off.
func (p *Past) find(off uint64) int {
	i, _ := slices.BinarySearchFunc(p.byOffset, off, func(n uint32, off uint64) int {
		if p.segments[n].end() <= off {
			return -1
		}
		return 1
	})
	return i
}

// Extents calls fn with runs, in order, that cover n bytes from off: data, or
// bytes that are zero because nobody wrote them or they were discarded. It ends
// when fn returns false.
func (p *Past) Extents(off, n int64, fn func(off, n int64, data bool) bool) {
	at, end := uint64(off), uint64(off)+uint64(n)
	for i := p.find(at); at < end; {
		if i == len(p.byOffset) || p.segments[p.byOffset[i]].from >= end {
			fn(int64(at), int64(end-at), false)
			return
		}
		s := &p.segments[p.byOffset[i]]
		if s.from > at {
			if !fn(int64(at), int64(s.from-at), false) {
				return
			}
			at = s.from
		}
		to := min(s.end(), end)
		for i++; i < len(p.byOffset) && to < end && p.segments[p.byOffset[i]].from == to; i++ {
			to = min(p.segments[p.byOffset[i]].end(), end)
		}
		if !fn(int64(at), int64(to-at), true) {
			return
		}
		at = to
	}
}

// check finds reads beyond the disk.
func (p *Past) check(off int64, n int) error {
	if off < 0 || uint64(off)+uint64(n) > p.size {
		return fmt.Errorf("player: read of %d bytes at %d of a disk of %d", n, off, p.size)
	}
	return nil
}

// ReadAt fills b with the disk's bytes from off. Errors: class tlog.Corrupt or
// tlog.Unavailable, naming the position that cannot be read; b is undefined then.
func (p *Past) ReadAt(ctx context.Context, b []byte, off int64) error {
	if err := p.check(off, len(b)); err != nil {
		return err
	}
	clear(b)
	end := uint64(off) + uint64(len(b))
	first := p.find(uint64(off))
	last := first
	for last < len(p.byOffset) && p.segments[p.byOffset[last]].from < end {
		last++
	}
	return p.cache.read(ctx, p.byOffset[first:last], b, uint64(off))
}
