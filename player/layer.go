package player

import (
	"fmt"
	"iter"
	"math"

	"tlog"
	"tlog/player/index"
)

// layer is positions that have live data, newest first, and what of it is
// alive: all of a moment, or one piece of many.
type layer struct {
	segments []segment // newest record first
	records  []alive   // newest first
	living   []living  // newest first
	zeroes   []span    // what the records that were looked at made zero, if that is asked for
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

// of is the segments of a living position.
func (y *layer) of(at int) []segment {
	end := uint32(len(y.segments))
	if at+1 < len(y.living) {
		end = y.living[at+1].first
	}
	return y.segments[y.living[at].first:end]
}

// recordsOf is the records of a living position.
func (y *layer) recordsOf(at int) []alive {
	end := uint32(len(y.records))
	if at+1 < len(y.living) {
		end = y.living[at+1].record
	}
	return y.records[y.living[at].record:end]
}

// sparse reports whether the live records of a living position are read by
// themselves.
func (y *layer) sparse(at int) bool { return y.living[at].alone(y.recordsOf(at), 0) }

// need is the bytes, stored and before erasure coding, that are read of the layer.
func (y *layer) need() (stored int64) {
	for i := range y.living {
		if !y.sparse(i) {
			stored += int64(y.living[i].stored)
			continue
		}
		for _, r := range stretchesOf(y.recordsOf(i)) {
			stored += int64(r.to - r.from)
		}
	}
	return stored
}

// mapping finds out what is alive: it is shown the records, newest first.
type mapping struct {
	*layer // what was found goes there
	log    *Log
	size   uint64 // of the disk; where the log does not know it, as far as is known
	live   uint64 // bytes of all segments
	zeroed bool   // zeroes are collected
	done   coverage
	gaps   []span
	err    error
}

func newMapping(l *Log) *mapping { return &mapping{layer: new(layer), log: l, size: l.info.DiskSize} }

func (m *mapping) add(s tlog.Sequence, r *index.Record, at *index.Position) bool {
	end := r.Offset + uint64(r.Size)
	if m.log.info.DiskSize == 0 {
		m.size = max(m.size, end)
	} else if end > m.size {
		m.err = tlog.Corruptf("record %d ends at byte %d of a disk of %d", s, end, m.size)
		return false
	}
	m.gaps = m.done.add(span{r.Offset, end}, m.gaps[:0])
	switch {
	case len(m.gaps) == 0:
	case r.Operation == tlog.OpWrite:
		m.position(at)
		m.records = append(m.records, alive{off: r.Offset, size: r.Size, ordinal: uint32(s - at.First), at: uint32(len(m.living) - 1), data: r.At, sum: r.Sum})
		for _, g := range m.gaps {
			m.segments = append(m.segments, segment{from: g.from, n: uint32(g.to - g.from), rec: uint32(len(m.records) - 1)})
			m.live += g.to - g.from
		}
		if len(m.segments) > math.MaxUint32-2*len(m.gaps) {
			m.err = fmt.Errorf("more than %d live extents", math.MaxUint32)
			return false
		}
	case m.zeroed:
		m.zeroes = append(m.zeroes, m.gaps...)
	}
	return m.log.info.DiskSize == 0 || m.done.bytes < m.size
}

// position makes sure that the last living position is at.
func (m *mapping) position(at *index.Position) {
	if n := len(m.living); n > 0 && m.living[n-1].pos == at.Position {
		return
	}
	m.living = append(m.living, living{pos: at.Position, digest: at.Digest, layout: at.Layout, stored: at.Stored,
		first: uint32(len(m.segments)), record: uint32(len(m.records))})
}

// failure is err, or what the mapping found wrong.
func (m *mapping) failure(err error) error {
	if err == nil && m.err != nil {
		err = fmt.Errorf("player: vdisk %s: %w", m.log.info.Vdisk, m.err)
	}
	return err
}

// covers checks that the index and its log have a moment.
func (ix *Index) covers(p Point) error {
	l := ix.log
	if _, _, last, _ := ix.file.End(); p.Sequence > min(last, l.info.Last) {
		return fmt.Errorf("player: vdisk %s: record %d: %w", l.info.Vdisk, p.Sequence, errNotIndexed)
	}
	return nil
}

// layerRecords is how much a layer has, in records and zeroes: 60 bytes each. It
// ends with a position, so it may have some more.
const layerRecords = 16 << 10

// layers is the moment p, piece by piece, newest first, as m finds it. What was
// yielded is not kept: of what is behind the piece there is only which bytes of
// the disk had their turn.
func (ix *Index) layers(p Point, m *mapping) iter.Seq2[*layer, error] {
	return func(yield func(*layer, error) bool) {
		if err := ix.covers(p); err != nil {
			yield(nil, err)
			return
		}
		last, left := tlog.Position(0), false
		err := ix.Down(p.Sequence, func(s tlog.Sequence, r *index.Record, at *index.Position) bool {
			if at.Position != last && len(m.records)+len(m.zeroes) >= ix.piece {
				full := m.layer
				m.layer = new(layer)
				left = !yield(full, nil)
			}
			last = at.Position
			return !left && m.add(s, r, at)
		})
		if left {
			return
		}
		if err := m.failure(err); err != nil {
			yield(nil, err)
			return
		}
		yield(m.layer, nil)
	}
}

// Need is what the moment p needs, as Past.Need tells it, in no more memory
// than a restore takes.
func (ix *Index) Need(p Point) (live, stored int64, positions int, err error) {
	m := newMapping(ix.log)
	for y, err := range ix.layers(p, m) {
		if err != nil {
			return 0, 0, 0, err
		}
		stored += y.need()
		positions += len(y.living)
	}
	return int64(m.live), stored, positions, nil
}
