package file

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"tlog"
)

// Sizes of a contents file, in bytes.
const (
	contentsHeaderSize = 88
	contentsSum        = 4
)

const contentsVersion = 1

var contentsMagic = [8]byte{'t', 'l', 'o', 'g', 't', 'o', 'c', 0}

// contents is the table of contents of a sealed segment: what its frames say,
// without digests and data. It is derived from the segment and believed instead
// of it, so it is bound to it by what is cheap to look at in both.
//
//	off size field
//	  0    8 magic "tlogtoc\0"
//	  8    4 version, 1
//	 12    4 zero
//	 16    8 number of the segment
//	 24   16 store
//	 40    8 LSN of the first frame
//	 48    8 number of frames
//	 56    8 offset of the last frame
//	 64    8 offset behind the last frame
//	 72    8 size of the segment
//	 80    4 CRC of the first frame's header, as it stands there
//	 84    4 CRC of the last frame's header
//	 88      entries
//	end-4  4 CRC-32C of the segment's seed and all bytes before
//
// all little-endian; docs/format-file.md has the entries.
type contents struct {
	number    uint64
	store     tlog.UUID
	first     uint64
	count     uint64
	last, end int64
	size      int64
	sums      [2]uint32
	entries   []byte
	inits     []header // of the segment, in order; they are filled in by check
}

// behind is the LSN of the frame behind the last.
func (c *contents) behind() uint64 { return c.first + c.count }

func (c *contents) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, contentsHeaderSize, contentsHeaderSize+len(c.entries)+contentsSum)
	copy(b, contentsMagic[:])
	le.PutUint32(b[8:], contentsVersion)
	le.PutUint64(b[16:], c.number)
	copy(b[24:], c.store[:])
	le.PutUint64(b[40:], c.first)
	le.PutUint64(b[48:], c.count)
	le.PutUint64(b[56:], uint64(c.last))
	le.PutUint64(b[64:], uint64(c.end))
	le.PutUint64(b[72:], uint64(c.size))
	le.PutUint32(b[80:], c.sums[0])
	le.PutUint32(b[84:], c.sums[1])
	b = append(b, c.entries...)
	return le.AppendUint32(b, crc32.Update(seedOf(c.store, c.number), castagnoli, b))
}

// decode reads what encode wrote, and reports whether it is that. The entries
// are looked at by each, and are b's memory.
func (c *contents) decode(b []byte) bool {
	le := binary.LittleEndian
	if len(b) < contentsHeaderSize+contentsSum || [8]byte(b) != contentsMagic || le.Uint32(b[8:]) != contentsVersion {
		return false
	}
	body := b[:len(b)-contentsSum]
	*c = contents{
		number: le.Uint64(b[16:]), store: tlog.UUID(b[24:40]), first: le.Uint64(b[40:]), count: le.Uint64(b[48:]),
		last: int64(le.Uint64(b[56:])), end: int64(le.Uint64(b[64:])), size: int64(le.Uint64(b[72:])),
		sums: [2]uint32{le.Uint32(b[80:]), le.Uint32(b[84:])}, entries: body[contentsHeaderSize:],
	}
	return le.Uint32(b[len(body):]) == crc32.Update(seedOf(c.store, c.number), castagnoli, body) &&
		c.count > 0 && c.first > 0 && c.behind() > c.first
}

var errContents = errors.New("not the contents of a segment")

// each gives the frames, in order: of an init frame the place and the length
// alone, unless check has filled it in. What it gives is its own until it
// gives the next. errContents: the entries are not such.
func (c *contents) each(fn func(*found) error) error {
	r := entryReader{b: c.entries}
	f := found{at: place{c.number, segmentHeaderSize}}
	inits := c.inits
	for n := range c.count {
		if !r.entry(&f.header) || f.at.off >= maxOffset || n == c.count-1 && f.at.off != c.last {
			return errContents
		}
		f.lsn = c.first + n
		if f.kind == kindInit && len(inits) > 0 {
			f.header, inits = inits[0], inits[1:]
		}
		next := f.at.off + f.span()
		if err := fn(&f); err != nil {
			return err
		}
		f.at.off = next
	}
	if len(r.b) > 0 || f.at.off != c.end {
		return errContents
	}
	return nil
}

// draft is the contents of a segment that is being written, or scanned.
type draft struct {
	number  uint64
	store   tlog.UUID
	first   uint64
	next    uint64 // LSN
	last    int64
	end     int64
	ends    [2]header // the first and the last frame
	entries []byte
	vdisks  map[tlog.UUID]int
	before  []before
	recent  int  // of before: mostly the next one's too
	gap     bool // the frames did not follow one another
}

// before is what the last entry of a vdisk had: entries say the difference.
type before struct {
	vdisk    tlog.UUID
	position tlog.Position
	epoch    tlog.Epoch
}

func newDraft(h *segmentHeader) *draft {
	return &draft{number: h.number, store: h.store, first: h.first, next: h.first, end: segmentHeaderSize, vdisks: make(map[tlog.UUID]int)}
}

// add adds the next frame.
func (d *draft) add(h *header, at place) {
	if at != (place{d.number, d.end}) || h.lsn != d.next {
		d.gap = true
		return
	}
	if h.lsn == d.first {
		d.ends[0] = *h
	}
	d.ends[1], d.last = *h, d.end
	d.next, d.end = d.next+1, d.end+h.span()
	d.entries = append(d.entries, h.kind)
	d.entries = binary.AppendUvarint(d.entries, uint64(h.length))
	switch h.kind {
	case kindFence:
		v := d.vdisk(h.vdisk)
		d.entries = binary.AppendVarint(d.entries, int64(h.epoch-v.epoch))
		d.entries = append(d.entries, h.owner[:]...)
		v.epoch = h.epoch
	case kindShard, kindRenew:
		v := d.vdisk(h.vdisk)
		d.entries = append(d.entries, h.index)
		d.entries = binary.AppendVarint(d.entries, int64(h.position-v.position))
		d.entries = binary.AppendVarint(d.entries, int64(h.epoch-v.epoch))
		d.entries = binary.AppendVarint(d.entries, int64(h.position-h.commit))
		v.position, v.epoch = h.position, h.epoch
	}
}

// vdisk adds a vdisk's number, and the vdisk itself when it is the first time.
func (d *draft) vdisk(id tlog.UUID) *before {
	n, ok := d.recent, d.recent < len(d.before) && d.before[d.recent].vdisk == id
	if !ok {
		n, ok = d.vdisks[id]
	}
	if !ok {
		n = len(d.before)
		d.vdisks[id] = n
		d.before = append(d.before, before{vdisk: id})
	}
	d.recent = n
	d.entries = binary.AppendUvarint(d.entries, uint64(n))
	if !ok {
		d.entries = append(d.entries, id[:]...)
	}
	return &d.before[n]
}

// image is the contents file of a segment of that size, whose last frame was
// added. It is nil if there is none to have.
func (d *draft) image(size int64) []byte {
	if d.gap || d.next == d.first {
		return nil
	}
	c := contents{number: d.number, store: d.store, first: d.first, count: d.next - d.first,
		last: d.last, end: d.end, size: size, entries: d.entries}
	for i := range d.ends {
		c.sums[i] = d.ends[i].sum(seedOf(d.store, d.number))
	}
	return c.encode()
}

// sum is the checksum in the encoded header.
func (h *header) sum(seed uint32) uint32 {
	var b [frameHeaderSize]byte
	h.encode(b[:], seed)
	return binary.LittleEndian.Uint32(b[124:])
}

// entryReader reads the entries of a contents file, of which it believes nothing.
type entryReader struct {
	b      []byte
	bad    bool
	before []before
}

// entry reads one, and reports whether it is one.
func (r *entryReader) entry(h *header) bool {
	*h = header{kind: r.octet()}
	length := r.uvarint()
	h.length = uint32(min(length, maxData))
	switch h.kind {
	case kindInit, kindMark:
	case kindFence:
		if v := r.vdisk(h); v != nil {
			v.epoch += tlog.Epoch(r.varint())
			h.epoch = v.epoch
			copy(h.owner[:], r.take(len(h.owner)))
		}
	case kindShard, kindRenew:
		if v := r.vdisk(h); v != nil {
			h.index = r.octet()
			v.position += tlog.Position(r.varint())
			v.epoch += tlog.Epoch(r.varint())
			h.position, h.epoch = v.position, v.epoch
			h.commit = h.position - tlog.Position(r.varint())
		}
	default:
		r.bad = true
	}
	return !r.bad && length <= maxData
}

// vdisk reads a vdisk's number, and the vdisk if it is the first time; nil if
// it is neither.
func (r *entryReader) vdisk(h *header) *before {
	n := r.uvarint()
	if n == uint64(len(r.before)) {
		var v before
		copy(v.vdisk[:], r.take(len(v.vdisk)))
		r.before = append(r.before, v)
	}
	if r.bad || n >= uint64(len(r.before)) {
		r.bad = true
		return nil
	}
	h.vdisk = r.before[n].vdisk
	return &r.before[n]
}

// take gives the next n bytes; none, and bad is set, if there are not so many.
func (r *entryReader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *entryReader) octet() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *entryReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *entryReader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

// skip goes behind a number of n bytes; n ≤ 0: there is none.
func (r *entryReader) skip(n int) {
	if n <= 0 {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[n:]
}
