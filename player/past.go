package player

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"tlog"
	"tlog/player/index"
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

	segments []segment // newest record first
	byOffset []uint32  // the same, by offset
	records  []alive   // newest first
	living   []living  // positions with live extents, newest first
	live     uint64    // bytes of all segments

	cache *cache
}

// segment is an extent of data that is alive.
type segment struct {
	from uint64 // offset on the disk
	n    uint32 // bytes
	rec  uint32 // its record's place in records
}

func (s *segment) end() uint64 { return s.from + uint64(s.n) }

// alive is a record that has segments.
type alive struct {
	off     uint64 // on the disk
	size    uint32 // bytes
	ordinal uint32 // in its position
	at      uint32 // its position's place in living
	data    uint32 // where its data lies in the payload, if it can be read by itself
	sum     index.Sum
}

// living is a position that has segments.
type living struct {
	pos    tlog.Position
	digest tlog.Hash
	layout index.Layout
	stored uint32 // bytes
	first  uint32 // its first segment; the last is before the next one's first
	record uint32 // its first record; likewise
}

// Past maps the disk as of p, which Resolve or the index found. It reads the
// index from p back, as far as there are bytes that no record seen has covered,
// and nothing from the shard servers.
func (ix *Index) Past(p Point) (*Past, error) {
	l := ix.log
	if _, _, last, _ := ix.file.End(); p.Sequence > min(last, l.info.Last) {
		return nil, fmt.Errorf("player: vdisk %s: record %d: %w", l.info.Vdisk, p.Sequence, errNotIndexed)
	}
	past := &Past{log: l, point: p, size: l.info.DiskSize}
	b := mapping{past: past}
	if err := ix.Down(p.Sequence, b.add); err != nil {
		return nil, err
	}
	if b.err != nil {
		return nil, fmt.Errorf("player: vdisk %s: %w", l.info.Vdisk, b.err)
	}
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

// mapping makes a Past's map: it is shown the records, newest first.
type mapping struct {
	past *Past
	done coverage
	gaps []span
	err  error
}

func (m *mapping) add(s tlog.Sequence, r *index.Record, at *index.Position) bool {
	p := m.past
	end := r.Offset + uint64(r.Size)
	if p.log.info.DiskSize == 0 {
		p.size = max(p.size, end)
	} else if end > p.size {
		m.err = tlog.Corruptf("record %d ends at byte %d of a disk of %d", s, end, p.size)
		return false
	}
	m.gaps = m.done.add(span{r.Offset, end}, m.gaps[:0])
	if r.Operation == tlog.OpWrite && len(m.gaps) > 0 {
		m.position(at)
		p.records = append(p.records, alive{off: r.Offset, size: r.Size, ordinal: uint32(s - at.First), at: uint32(len(p.living) - 1), data: r.At, sum: r.Sum})
		for _, g := range m.gaps {
			p.segments = append(p.segments, segment{from: g.from, n: uint32(g.to - g.from), rec: uint32(len(p.records) - 1)})
			p.live += g.to - g.from
		}
		if len(p.segments) > math.MaxUint32-2*len(m.gaps) {
			m.err = fmt.Errorf("more than %d live extents", math.MaxUint32)
			return false
		}
	}
	return p.log.info.DiskSize == 0 || m.done.bytes < p.size
}

// position makes sure that the last living position is at.
func (m *mapping) position(at *index.Position) {
	p := m.past
	if n := len(p.living); n > 0 && p.living[n-1].pos == at.Position {
		return
	}
	p.living = append(p.living, living{pos: at.Position, digest: at.Digest, layout: at.Layout, stored: at.Stored,
		first: uint32(len(p.segments)), record: uint32(len(p.records))})
}

// of is the segments of a living position.
func (p *Past) of(at int) []segment {
	end := uint32(len(p.segments))
	if at+1 < len(p.living) {
		end = p.living[at+1].first
	}
	return p.segments[p.living[at].first:end]
}

// recordsOf is the records of a living position.
func (p *Past) recordsOf(at int) []alive {
	end := uint32(len(p.records))
	if at+1 < len(p.living) {
		end = p.living[at+1].record
	}
	return p.records[p.living[at].record:end]
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
	for i := range p.living {
		if !p.sparse(i) {
			stored += int64(p.living[i].stored)
			continue
		}
		for _, r := range stretchesOf(p.recordsOf(i)) {
			stored += int64(r.to - r.from)
		}
	}
	return int64(p.live), stored, len(p.living)
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
