package index

import (
	"encoding/binary"
	"iter"
	"math/bits"

	"tlog"
)

// Position is a position of the log.
type Position struct {
	Position tlog.Position
	Digest   tlog.Hash     // chain digest
	First    tlog.Sequence // of its first record; without records, the next one
	Count    uint32        // records
	Stored   uint32        // bytes of its payload as stored
	Layout
}

// Layout is what it takes to read one record of a position by itself.
type Layout struct {
	Salt [32]byte
	Head uint16             // bytes of a stored shard before its body
	K    uint8              // data shards; 0: records cannot be read by themselves
	Hash tlog.HashAlgorithm // of the records
}

// Last is the sequence of the position's last record; First − 1 without records.
func (p *Position) Last() tlog.Sequence { return p.First + tlog.Sequence(p.Count) - 1 }

// Record is a record without its data.
type Record struct {
	Offset    uint64 // bytes
	Time      uint64 // nanoseconds since 1970 UTC
	Group     uint64 // consistency-group stamp; 0 is none
	Size      uint32 // bytes
	Operation tlog.Operation
	At        uint32 // where its data begins in the payload, in bytes; of a write of a position with K > 0
	Sum       Sum    // of its data; likewise
}

// Sum is the first half of a record hash.
type Sum [16]byte

// Page is the positions of one frame and their records, which are numbered from
// First without gap.
type Page struct {
	First     tlog.Sequence
	Positions []Position
	Records   []Record
}

// Last is the sequence of the page's last record; First − 1 without records.
func (p *Page) Last() tlog.Sequence { return p.First + tlog.Sequence(len(p.Records)) - 1 }

// columns are the records as they are stored.
const columns = 7

// row is the size of a position in a body.
const row = 76

// encode appends the page's body to dst; from is the frame's first time.
func (p *Page) encode(dst []byte, from uint64) []byte {
	for i := range p.Positions {
		at := &p.Positions[i]
		dst = append(append(dst, at.Digest[:]...), at.Salt[:]...)
		dst = binary.LittleEndian.AppendUint32(dst, at.Count)
		dst = binary.LittleEndian.AppendUint32(dst, at.Stored)
		dst = binary.LittleEndian.AppendUint16(dst, at.Head)
		dst = append(dst, at.K, byte(at.Hash))
	}
	unit := p.unit()
	dst = append(dst, unit)
	lengths := len(dst)
	dst = append(dst, make([]byte, 4*columns)...)
	for column := range columns {
		start := len(dst)
		dst = p.encodeColumn(dst, column, unit, from)
		binary.LittleEndian.PutUint32(dst[lengths+4*column:], uint32(len(dst)-start))
	}
	return dst
}

func (p *Page) encodeColumn(dst []byte, column int, unit uint8, time uint64) []byte {
	var end, group uint64
	for place := range p.places() {
		r := &p.Records[place.record]
		switch {
		case column == 0:
			dst = append(dst, byte(r.Operation))
		case column == 1:
			dst = binary.AppendUvarint(dst, uint64(r.Size>>unit))
		case column == 2 && r.Operation != tlog.OpFlush:
			dst = binary.AppendVarint(dst, int64(r.Offset-end)>>unit)
			end = r.Offset + uint64(r.Size)
		case column == 3:
			dst = binary.AppendUvarint(dst, r.Time-time)
			time = r.Time
		case column == 4:
			dst = binary.AppendVarint(dst, int64(r.Group-group))
			group = r.Group
		case column == 5 && place.alone:
			if place.first {
				end = 0
			}
			dst = binary.AppendVarint(dst, int64(uint64(r.At)-end))
			end = uint64(r.At) + uint64(r.Size)
		case column == 6 && place.alone:
			dst = append(dst, r.Sum[:]...)
		}
	}
	return dst
}

// place is one record in its position.
type place struct {
	record int
	first  bool // of the position's writes
	alone  bool // it can be read by itself
}

// places are the page's records, with what their positions say of them.
func (p *Page) places() iter.Seq[place] {
	return func(yield func(place) bool) {
		n := 0
		for i := range p.Positions {
			first := true
			for range p.Positions[i].Count {
				at := place{record: n, alone: p.Positions[i].K > 0 && p.Records[n].Operation == tlog.OpWrite}
				if at.alone {
					at.first, first = first, false
				}
				if !yield(at) {
					return
				}
				n++
			}
		}
	}
}

// unit is the logarithm of the largest power of two that divides all offsets
// and sizes.
func (p *Page) unit() uint8 {
	all := uint64(1 << 31)
	for i := range p.Records {
		all |= p.Records[i].Offset | uint64(p.Records[i].Size)
	}
	return uint8(bits.TrailingZeros64(all))
}

// decode reads a body of the page whose head is h into p.
func (p *Page) decode(b []byte, h *head) error {
	n := int(h.positions)
	if len(b) < n*row+1+4*columns {
		return tlog.Corruptf("body of %d bytes for %d positions", len(b), n)
	}
	p.First = h.firstSequence
	if err := p.decodePositions(b, h); err != nil {
		return err
	}
	b = b[n*row:]
	unit, lengths := b[0], b[1:1+4*columns]
	b = b[1+4*columns:]
	var column [columns][]byte
	for i := range column {
		size := int(binary.LittleEndian.Uint32(lengths[4*i:]))
		if size > len(b) {
			return tlog.Corruptf("column %d of %d bytes, %d are left", i, size, len(b))
		}
		column[i], b = b[:size], b[size:]
	}
	if len(b) != 0 || unit > 31 || len(column[0]) != int(h.records) {
		return tlog.Corruptf("%d bytes behind the columns, unit %d, %d operations of %d records", len(b), unit, len(column[0]), h.records)
	}
	p.Records = resize(p.Records, int(h.records))
	for i := range p.Records {
		p.Records[i] = Record{Operation: tlog.Operation(column[0][i])}
	}
	return p.decodeRecords(&columnReader{columns: column}, unit, h)
}

func (p *Page) decodePositions(b []byte, h *head) error {
	p.Positions = resize(p.Positions, int(h.positions))
	next, total := h.firstSequence, uint64(0)
	le := binary.LittleEndian
	for i := range p.Positions {
		r := b[i*row:][:row]
		p.Positions[i] = Position{
			Position: h.firstPosition + tlog.Position(i), Digest: tlog.Hash(r), First: next, Count: le.Uint32(r[64:]), Stored: le.Uint32(r[68:]),
			Layout: Layout{Salt: [32]byte(r[32:]), Head: le.Uint16(r[72:]), K: r[74], Hash: tlog.HashAlgorithm(r[75])},
		}
		next += tlog.Sequence(p.Positions[i].Count)
		total += uint64(p.Positions[i].Count)
	}
	if total != uint64(h.records) || p.Positions[len(p.Positions)-1].Digest != h.digest {
		return tlog.Corruptf("positions have %d records, the frame %d, or another digest", total, h.records)
	}
	return nil
}

func (p *Page) decodeRecords(c *columnReader, unit uint8, h *head) error {
	var end, data, group = uint64(0), uint64(0), uint64(0)
	time := h.firstTime
	for place := range p.places() {
		r := &p.Records[place.record]
		r.Size = uint32(c.unsigned(1) << unit)
		time += c.unsigned(3)
		group += uint64(c.signed(4))
		r.Time, r.Group = time, group
		if r.Operation != tlog.OpFlush {
			r.Offset = end + uint64(c.signed(2)<<unit)
			end = r.Offset + uint64(r.Size)
		}
		if place.alone {
			if place.first {
				data = 0
			}
			r.At = uint32(data + uint64(c.signed(5)))
			data = uint64(r.At) + uint64(r.Size)
			copy(r.Sum[:], c.bytes(6, len(r.Sum)))
		}
	}
	if c.broken || !c.empty() || time != h.lastTime {
		return tlog.Corruptf("records end at time %d, the frame at %d, or columns are not as long as they should be", time, h.lastTime)
	}
	return nil
}

// columnReader takes numbers from columns; from an end on they are zero.
type columnReader struct {
	columns [columns][]byte
	broken  bool
}

func (c *columnReader) unsigned(column int) uint64 {
	x, n := binary.Uvarint(c.columns[column])
	c.skip(column, n)
	return x
}

func (c *columnReader) signed(column int) int64 {
	x, n := binary.Varint(c.columns[column])
	c.skip(column, n)
	return x
}

func (c *columnReader) bytes(column, n int) []byte {
	b := c.columns[column]
	if len(b) < n {
		n = -1
	}
	c.skip(column, n)
	return b[:max(n, 0)]
}

func (c *columnReader) skip(column, n int) {
	if n <= 0 {
		c.broken, n = true, 0
	}
	c.columns[column] = c.columns[column][n:]
}

// empty reports whether all but the operations were taken.
func (c *columnReader) empty() bool {
	for _, b := range c.columns[1:] {
		if len(b) > 0 {
			return false
		}
	}
	return true
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
