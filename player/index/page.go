package index

import (
	"encoding/binary"
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
}

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
const columns = 5

// encode appends the page's body to dst; from is the frame's first time.
func (p *Page) encode(dst []byte, from uint64) []byte {
	for i := range p.Positions {
		dst = append(dst, p.Positions[i].Digest[:]...)
	}
	for i := range p.Positions {
		dst = binary.LittleEndian.AppendUint32(dst, p.Positions[i].Count)
	}
	for i := range p.Positions {
		dst = binary.LittleEndian.AppendUint32(dst, p.Positions[i].Stored)
	}
	unit := p.unit()
	dst = append(dst, unit)
	at := len(dst)
	dst = append(dst, make([]byte, 4*columns)...)
	var end, time, group = uint64(0), from, uint64(0)
	for column := range columns {
		start := len(dst)
		for i := range p.Records {
			r := &p.Records[i]
			switch column {
			case 0:
				dst = append(dst, byte(r.Operation))
			case 1:
				dst = binary.AppendUvarint(dst, uint64(r.Size>>unit))
			case 2:
				if r.Operation != tlog.OpFlush {
					dst = binary.AppendVarint(dst, int64(r.Offset-end)>>unit)
					end = r.Offset + uint64(r.Size)
				}
			case 3:
				dst = binary.AppendUvarint(dst, r.Time-time)
				time = r.Time
			case 4:
				dst = binary.AppendVarint(dst, int64(r.Group-group))
				group = r.Group
			}
		}
		binary.LittleEndian.PutUint32(dst[at+4*column:], uint32(len(dst)-start))
	}
	return dst
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

// decode reads a body of n positions and m records, whose head is h, into p.
func (p *Page) decode(b []byte, h *head) error {
	n, m := int(h.positions), int(h.records)
	if len(b) < n*40+1+4*columns {
		return tlog.Corruptf("body of %d bytes for %d positions", len(b), n)
	}
	p.First = h.firstSequence
	if err := p.decodePositions(b, h); err != nil {
		return err
	}
	b = b[n*40:]
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
	if len(b) != 0 || unit > 31 || len(column[0]) != m {
		return tlog.Corruptf("%d bytes behind the columns, unit %d, %d operations of %d records", len(b), unit, len(column[0]), m)
	}
	return p.decodeRecords(column, unit, h)
}

func (p *Page) decodePositions(b []byte, h *head) error {
	n := int(h.positions)
	p.Positions = resize(p.Positions, n)
	next, total := h.firstSequence, uint64(0)
	for i := range p.Positions {
		at := &p.Positions[i]
		*at = Position{
			Position: h.firstPosition + tlog.Position(i), Digest: tlog.Hash(b[32*i:]), First: next,
			Count: binary.LittleEndian.Uint32(b[32*n+4*i:]), Stored: binary.LittleEndian.Uint32(b[36*n+4*i:]),
		}
		next += tlog.Sequence(at.Count)
		total += uint64(at.Count)
	}
	if total != uint64(h.records) || p.Positions[n-1].Digest != h.digest {
		return tlog.Corruptf("positions have %d records, the frame %d, or another digest", total, h.records)
	}
	return nil
}

func (p *Page) decodeRecords(column [columns][]byte, unit uint8, h *head) error {
	p.Records = resize(p.Records, int(h.records))
	var end, time, group = uint64(0), h.firstTime, uint64(0)
	for i := range p.Records {
		r := &p.Records[i]
		r.Operation = tlog.Operation(column[0][i])
		size, n := binary.Uvarint(column[1])
		late, k := binary.Uvarint(column[3])
		stamp, g := binary.Varint(column[4])
		if n <= 0 || k <= 0 || g <= 0 {
			return tlog.Corruptf("record %d of the frame is cut", i)
		}
		column[1], column[3], column[4] = column[1][n:], column[3][k:], column[4][g:]
		time += late
		group += uint64(stamp)
		r.Size, r.Time, r.Group, r.Offset = uint32(size<<unit), time, group, 0
		if r.Operation == tlog.OpFlush {
			continue
		}
		from, n := binary.Varint(column[2])
		if n <= 0 {
			return tlog.Corruptf("record %d of the frame has no offset", i)
		}
		column[2] = column[2][n:]
		r.Offset = end + uint64(from<<unit)
		end = r.Offset + uint64(r.Size)
	}
	if len(column[1])+len(column[2])+len(column[3])+len(column[4]) != 0 || time != h.lastTime {
		return tlog.Corruptf("records end at time %d, the frame at %d, or columns are too long", time, h.lastTime)
	}
	return nil
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
