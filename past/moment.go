package past

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"tlog"
)

// Moment is the point of a log that a disk shows. Time is for people; all else
// must be equal for two moments to be the same.
type Moment struct {
	Vdisk    tlog.VdiskID
	UUID     tlog.UUID     // of the vdisk's log
	Sequence tlog.Sequence // the last record
	Position tlog.Position // that holds it
	Digest   tlog.Hash     // chain digest of Position
	Size     int64         // of the disk, bytes
	Time     time.Time     // of the record
}

// String names a moment as the command line takes it.
func (m Moment) String() string {
	at := ""
	if !m.Time.IsZero() {
		at = " (" + m.Time.UTC().Format(time.RFC3339Nano) + ")"
	}
	return fmt.Sprintf("vdisk %s at seq:%d%s", m.Vdisk, m.Sequence, at)
}

// same reports whether two moments have the same content for certain.
func (m Moment) same(o Moment) bool {
	m.Time, o.Time = time.Time{}, time.Time{}
	return m == o
}

func (m Moment) check() error {
	if err := m.Vdisk.Check(); err != nil {
		return err
	}
	if m.Size <= 0 || m.Size > maxSize {
		return fmt.Errorf("past: %v: a disk of %d bytes cannot be shown", m, m.Size)
	}
	return nil
}

// maxSize keeps offsets in a file well within 63 bits.
const maxSize = 1 << 60

// kind is what an image is for. A cache holds the moment itself, an overlay
// what was written over it: one must never be taken for the other.
type kind uint32

const (
	kindOverlay kind = 1
	kindCache   kind = 2
)

func (k kind) String() string {
	switch k {
	case kindOverlay:
		return "overlay"
	case kindCache:
		return "cache"
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// header is the first sector of an image.
//
//	off size field       meaning; what a reader does
//	  0    8 magic       "TLOGPAST"; else the file is not an image
//	  8    4 version     1; greater: refused, written by a later tlog
//	 12    4 block size  4096; else refused
//	 16    4 kind        1 overlay, 2 cache
//	 20    4 zero
//	 24   16 vdisk UUID
//	 40    8 sequence    the last record of the moment
//	 48    8 position    that holds it
//	 56   32 digest      chain digest of the position
//	 88    8 disk size   bytes
//	 96    8 time        of the record, nanoseconds since 1970 UTC; for people
//	104    4 name length 1…128
//	108  128 vdisk name  filled up with zeroes
//	236  272 zero
//	508    4 CRC-32C     of the 508 bytes before
//
// All little-endian. It is written once, before the file has its name.
type header struct {
	kind   kind
	moment Moment
}

const (
	magic   = "TLOGPAST"
	version = 1
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errNoImage = errors.New("neither an overlay nor a cache of tlog")
	errVersion = errors.New("written by a later version of tlog: use that version")
)

func (h *header) encode() []byte {
	b := make([]byte, sectorSize)
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], version)
	le.PutUint32(b[12:], blockSize)
	le.PutUint32(b[16:], uint32(h.kind))
	m := &h.moment
	copy(b[24:], m.UUID[:])
	le.PutUint64(b[40:], uint64(m.Sequence))
	le.PutUint64(b[48:], uint64(m.Position))
	copy(b[56:], m.Digest[:])
	le.PutUint64(b[88:], uint64(m.Size))
	if !m.Time.IsZero() {
		le.PutUint64(b[96:], uint64(m.Time.UnixNano()))
	}
	le.PutUint32(b[104:], uint32(len(m.Vdisk)))
	copy(b[108:], m.Vdisk)
	le.PutUint32(b[508:], crc32.Checksum(b[:508], castagnoli))
	return b
}

func decodeHeader(b []byte) (*header, error) {
	le := binary.LittleEndian
	if len(b) < sectorSize || string(b[:8]) != magic {
		return nil, errNoImage
	}
	if v := le.Uint32(b[8:]); v > version {
		return nil, errVersion
	}
	if le.Uint32(b[508:]) != crc32.Checksum(b[:508], castagnoli) {
		return nil, tlog.Corruptf("wrong checksum of the header")
	}
	if n := le.Uint32(b[12:]); n != blockSize {
		return nil, fmt.Errorf("blocks of %d bytes; this version has %d", n, blockSize)
	}
	n := le.Uint32(b[104:])
	if n > 128 {
		return nil, tlog.Corruptf("vdisk name of %d bytes", n)
	}
	h := &header{kind: kind(le.Uint32(b[16:])), moment: Moment{
		Vdisk:    tlog.VdiskID(b[108 : 108+n]),
		UUID:     tlog.UUID(b[24:40]),
		Sequence: tlog.Sequence(le.Uint64(b[40:])),
		Position: tlog.Position(le.Uint64(b[48:])),
		Digest:   tlog.Hash(b[56:88]),
		Size:     int64(le.Uint64(b[88:])),
	}}
	if ns := le.Uint64(b[96:]); ns != 0 {
		h.moment.Time = time.Unix(0, int64(ns))
	}
	if h.kind != kindOverlay && h.kind != kindCache {
		return nil, tlog.Corruptf("unknown %v", h.kind)
	}
	if err := h.moment.check(); err != nil {
		return nil, tlog.Corruptf("%w", err)
	}
	return h, nil
}
