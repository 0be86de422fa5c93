package file

import (
	"encoding/binary"
	"hash/crc32"

	"tlog"
)

// Sizes of the format, in bytes.
const (
	frameHeaderSize   = 128
	frameAlign        = 64   // frames begin at multiples of it
	segmentHeaderSize = 4096 // the first frame's offset
	segmentCopy       = 2048 // where the second copy of the segment header is
	segmentFields     = 64   // bytes of a copy that say something

	formatVersion = 1
)

// maxData is the most data a frame carries; a header that says more is invalid.
const maxData = 64 << 20

// Kinds of frames.
const (
	kindInit  = 1 // cookie, config version, manifest as data
	kindFence = 2 // a new owner of a vdisk
	kindShard = 3 // a position, with its data
	kindRenew = 4 // the epoch of a position that is held already
	kindMark  = 5 // nothing but its durable LSN
	kindLast  = kindMark
)

var (
	frameMagic   = [4]byte{'t', 'l', 'f', 'r'}
	segmentMagic = [8]byte{'t', 'l', 'o', 'g', 's', 'e', 'g', 0}
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// header is what a frame says before its data:
//
//	off size field
//	  0    4 magic "tlfr"
//	  4    1 kind
//	  5    1 index
//	  6    2 zero
//	  8    8 lsn
//	 16    8 durable: the highest LSN known durable when this was written
//	 24   16 vdisk (init: cookie)
//	 40    8 position (init: config version)
//	 48    8 epoch
//	 56   16 owner
//	 72   32 digest
//	104    8 commit hint
//	112    4 length of the data
//	116    4 CRC-32C of the data
//	120    4 zero
//	124    4 CRC-32C of the segment's seed and bytes 0…123
//
// all little-endian.
type header struct {
	kind     byte
	index    byte
	lsn      uint64
	durable  uint64
	vdisk    tlog.UUID
	position tlog.Position
	epoch    tlog.Epoch
	owner    tlog.UUID
	digest   tlog.Hash
	commit   tlog.Position
	length   uint32
	dataCRC  uint32
}

// span is the room that a frame takes in its segment.
func (h *header) span() int64 { return frameSpan(int64(h.length)) }

func frameSpan(data int64) int64 {
	return (frameHeaderSize + data + frameAlign - 1) &^ (frameAlign - 1)
}

// encode writes the header to b, whose length is frameHeaderSize.
func (h *header) encode(b []byte, seed uint32) {
	le := binary.LittleEndian
	clear(b)
	copy(b, frameMagic[:])
	b[4], b[5] = h.kind, h.index
	le.PutUint64(b[8:], h.lsn)
	le.PutUint64(b[16:], h.durable)
	copy(b[24:], h.vdisk[:])
	le.PutUint64(b[40:], uint64(h.position))
	le.PutUint64(b[48:], uint64(h.epoch))
	copy(b[56:], h.owner[:])
	copy(b[72:], h.digest[:])
	le.PutUint64(b[104:], uint64(h.commit))
	le.PutUint32(b[112:], h.length)
	le.PutUint32(b[116:], h.dataCRC)
	le.PutUint32(b[124:], crc32.Update(seed, castagnoli, b[:124]))
}

// decode reads a header, and reports whether it is one: written for the
// segment that seed stands for, whole, and not contradicting itself.
func (h *header) decode(b []byte, seed uint32) bool {
	le := binary.LittleEndian
	if len(b) < frameHeaderSize || [4]byte(b) != frameMagic ||
		le.Uint32(b[124:]) != crc32.Update(seed, castagnoli, b[:124]) {
		return false
	}
	*h = header{
		kind: b[4], index: b[5],
		lsn: le.Uint64(b[8:]), durable: le.Uint64(b[16:]),
		vdisk: tlog.UUID(b[24:40]), position: tlog.Position(le.Uint64(b[40:])),
		epoch: tlog.Epoch(le.Uint64(b[48:])), owner: tlog.UUID(b[56:72]),
		digest: tlog.Hash(b[72:104]), commit: tlog.Position(le.Uint64(b[104:])),
		length: le.Uint32(b[112:]), dataCRC: le.Uint32(b[116:]),
	}
	return h.length <= maxData && h.durable < h.lsn
}

// segmentHeader begins each segment, twice: at 0 and at segmentCopy.
//
//	off size field
//	  0    8 magic "tlogseg\0"
//	  8    4 version, 1
//	 12    4 zero
//	 16    8 number of the segment
//	 24    8 LSN of its first frame
//	 32   16 store: random, the same in all segments of a directory
//	 48   12 zero
//	 60    4 CRC-32C of bytes 0…59
type segmentHeader struct {
	number uint64
	first  uint64
	store  tlog.UUID
}

func (s *segmentHeader) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, segmentHeaderSize)
	copy(b, segmentMagic[:])
	le.PutUint32(b[8:], formatVersion)
	le.PutUint64(b[16:], s.number)
	le.PutUint64(b[24:], s.first)
	copy(b[32:], s.store[:])
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	copy(b[segmentCopy:], b[:segmentFields])
	return b
}

// decode reads one copy. version is that of a copy whose checksum is right,
// else 0.
func (s *segmentHeader) decode(b []byte) (version uint32) {
	le := binary.LittleEndian
	if len(b) < segmentFields || [8]byte(b) != segmentMagic || le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return 0
	}
	s.number, s.first, s.store = le.Uint64(b[16:]), le.Uint64(b[24:]), tlog.UUID(b[32:48])
	return le.Uint32(b[8:])
}

// seedOf goes before every frame header's checksum, so that a frame is valid
// only in the segment it was written to: neither a copied file nor bytes
// inside somebody's data pass for one.
func seedOf(store tlog.UUID, number uint64) uint32 {
	b := binary.LittleEndian.AppendUint64(store[:], number)
	return crc32.Checksum(b, castagnoli)
}
