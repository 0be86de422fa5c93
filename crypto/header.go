package crypto

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tlog"
)

// ErrVersion says that a newer tlog wrote what was read. It is no damage.
var ErrVersion = errors.New("written by a newer tlog: upgrade this one")

// Kind of an aggregation.
type Kind uint8

const (
	// KindData holds records. All other kinds are control aggregations: they
	// have none, and take no sequence.
	KindData Kind = 1
	// KindGenesis begins a log; it is at position 1, and only there.
	KindGenesis Kind = 2
	// KindBarrier ends a takeover, or a client's attachment.
	KindBarrier Kind = 3
	// KindBaseChange begins another numbering of a version-1 client.
	KindBaseChange Kind = 4
)

// String returns the kind as the tools print it.
func (k Kind) String() string {
	switch k {
	case KindData:
		return "data"
	case KindGenesis:
		return "genesis"
	case KindBarrier:
		return "barrier"
	case KindBaseChange:
		return "base change"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Compression of a payload before it is encrypted.
type Compression uint8

const (
	// CompressNone stores the payload as it is.
	CompressNone Compression = 0
	// CompressS2 stores one S2 block (an extension of Snappy's block format).
	CompressS2 Compression = 1
)

// Limits of stored aggregations.
const (
	// MaxPayload is the most bytes of plain payload: the batches, and room for
	// what goes ahead of them.
	MaxPayload = tlog.MaxAggregation + 4096
	// MaxShards is the most shards, k+m, of an aggregation.
	MaxShards = 255
	// MaxExtension is the longest header extension in bytes.
	MaxExtension = 4096
	// MaxHead is enough bytes for the head and index of any stored shard.
	MaxHead = fixedSize + MaxExtension + hashSize*MaxShards + tailSize + indexSize
)

// Header is the canonical header of a stored aggregation:
//
//	off size field
//	  0    4 magic "TLOG"
//	  4    1 version 1; checked next: greater is ErrVersion, not damage
//	  5    1 kind
//	  6    1 suite 1: HKDF-SHA256, AES-256-GCM, BLAKE3-256, HMAC-SHA256
//	  7    1 compression
//	  8   16 vdisk UUID
//	 24    8 position
//	 32    8 first sequence
//	 40    8 last sequence; first − 1 if there is no record
//	 48    8 first timestamp
//	 56    8 last timestamp
//	 64    8 data key id
//	 72    4 count of records
//	 76    4 plain length
//	 80    4 stored length
//	 84    4 extension length e, a multiple of 8; 0 but for a genesis
//	 88    1 k
//	 89    1 m
//	 90    6 zero
//	 96   32 salt
//	128   32 key commitment
//	160    e extension (genesis.go), zero padded
//	         — so far it is the additional data of the AEAD —
//	      32 BLAKE3-256 of each shard body, k+m times
//	      32 chain digest of the position before
//	      32 HMAC-SHA256 of all before it
//
// all little-endian. The chain digest is SHA-256 of all of it.
type Header struct {
	Kind           Kind
	Vdisk          tlog.UUID
	Position       tlog.Position
	First, Last    tlog.Sequence
	Count          uint32
	FirstTimestamp uint64 // of the first record; without records, of the last one before
	LastTimestamp  uint64 // of the last record; likewise
	Compression    Compression
	PlainLength    uint32 // bytes of payload
	StoredLength   uint32 // bytes after compression, before the AEAD tag
	K, M           uint8
	KeyID          uint64   // DataKey.ID; filled by Seal
	Salt           [32]byte // filled by Seal
	Commitment     [32]byte // filled by Seal
	Genesis        *Genesis // position 1 only

	ShardDigests []tlog.Hash // of each shard body; filled by Seal and by parsing
	Prev         tlog.Hash   // chain digest of the position before; by Chain and by parsing
}

const (
	headerVersion = 1
	suite1        = 1

	fixedSize = 160
	hashSize  = 32
	tailSize  = 2 * hashSize // previous digest, MAC
	indexSize = 8            // index and padding, after the head
)

var magic = [4]byte{'T', 'L', 'O', 'G'}

// ShardLength is the length in bytes of one shard body for storedLength bytes
// of (compressed) payload.
func ShardLength(storedLength uint32, k uint8) int {
	return (int(storedLength) + tagSize + int(k) - 1) / int(k)
}

// HeadRoom is enough bytes for head and index of any stored shard of k+m
// shards that is not a genesis; MaxHead is enough for every one.
func HeadRoom(k, m int) int { return fixedSize + hashSize*(k+m) + tailSize + indexSize }

func (h *Header) shards() int { return int(h.K) + int(h.M) }

// append appends the header up to the extension's end: the additional data.
func (h *Header) append(dst []byte) []byte {
	le := binary.LittleEndian
	start := len(dst)
	dst = append(dst, magic[:]...)
	dst = append(dst, headerVersion, byte(h.Kind), suite1, byte(h.Compression))
	dst = append(dst, h.Vdisk[:]...)
	dst = le.AppendUint64(dst, uint64(h.Position))
	dst = le.AppendUint64(dst, uint64(h.First))
	dst = le.AppendUint64(dst, uint64(h.Last))
	dst = le.AppendUint64(dst, h.FirstTimestamp)
	dst = le.AppendUint64(dst, h.LastTimestamp)
	dst = le.AppendUint64(dst, h.KeyID)
	dst = le.AppendUint32(dst, h.Count)
	dst = le.AppendUint32(dst, h.PlainLength)
	dst = le.AppendUint32(dst, h.StoredLength)
	dst = le.AppendUint32(dst, uint32(h.Genesis.size()))
	dst = append(dst, h.K, h.M, 0, 0, 0, 0, 0, 0)
	dst = append(dst, h.Salt[:]...)
	dst = append(dst, h.Commitment[:]...)
	if len(dst)-start != fixedSize {
		panic("crypto: internal error: header size")
	}
	return h.Genesis.append(dst)
}

// parseHeader parses the head at the start of b and returns the rest. It
// allocates no more than the length of b warrants. Errors say what is wrong;
// the caller says where.
func parseHeader(b []byte) (h Header, rest []byte, err error) {
	if len(b) < fixedSize {
		return h, nil, fmt.Errorf("%d bytes are less than a header", len(b))
	}
	if [4]byte(b) != magic {
		return h, nil, errors.New("no magic")
	}
	if v := b[4]; v > headerVersion {
		return h, nil, fmt.Errorf("format version %d: %w", v, ErrVersion)
	}
	if b[4] != headerVersion || b[6] != suite1 {
		return h, nil, fmt.Errorf("format version %d, suite %d", b[4], b[6])
	}
	if [6]byte(b[90:]) != [6]byte{} {
		return h, nil, errors.New("padding is not zero")
	}
	h.parseFixed(b)
	ext := binary.LittleEndian.Uint32(b[84:])
	if ext > MaxExtension || ext%8 != 0 {
		return h, nil, fmt.Errorf("extension of %d bytes", ext)
	}
	if err := h.checkLengths(); err != nil {
		return h, nil, err
	}
	if len(b) < fixedSize+int(ext)+hashSize*h.shards()+tailSize {
		return h, nil, fmt.Errorf("%d bytes are less than the head", len(b))
	}
	if ext > 0 {
		if h.Genesis, err = parseGenesis(b[fixedSize : fixedSize+ext]); err != nil {
			return h, nil, err
		}
	}
	if err := h.check(); err != nil {
		return h, nil, err
	}
	b = b[fixedSize+ext:]
	h.ShardDigests = make([]tlog.Hash, h.shards())
	for i := range h.ShardDigests {
		h.ShardDigests[i] = tlog.Hash(b[i*hashSize:])
	}
	b = b[hashSize*h.shards():]
	h.Prev = tlog.Hash(b)
	return h, b[tailSize:], nil
}

// parseFixed reads the plain fields of a header of at least fixedSize bytes.
func (h *Header) parseFixed(b []byte) {
	le := binary.LittleEndian
	h.Kind, h.Compression = Kind(b[5]), Compression(b[7])
	h.Vdisk = tlog.UUID(b[8:])
	h.Position = tlog.Position(le.Uint64(b[24:]))
	h.First, h.Last = tlog.Sequence(le.Uint64(b[32:])), tlog.Sequence(le.Uint64(b[40:]))
	h.FirstTimestamp, h.LastTimestamp = le.Uint64(b[48:]), le.Uint64(b[56:])
	h.KeyID = le.Uint64(b[64:])
	h.Count, h.PlainLength, h.StoredLength = le.Uint32(b[72:]), le.Uint32(b[76:]), le.Uint32(b[80:])
	h.K, h.M = b[88], b[89]
	h.Salt, h.Commitment = [32]byte(b[96:]), [32]byte(b[128:])
}

// checkLengths checks what sizes are computed from.
func (h *Header) checkLengths() error {
	if h.K == 0 || h.shards() > MaxShards {
		return fmt.Errorf("%d+%d shards", h.K, h.M)
	}
	if h.PlainLength > MaxPayload || h.StoredLength > h.PlainLength {
		return fmt.Errorf("lengths: %d bytes stored of %d plain (limit %d)", h.StoredLength, h.PlainLength, MaxPayload)
	}
	return nil
}

// check checks the fields against one another, before sealing and after parsing.
func (h *Header) check() error {
	if err := h.checkLengths(); err != nil {
		return err
	}
	switch {
	case h.Kind < KindData || h.Kind > KindBaseChange:
		return fmt.Errorf("kind %d", h.Kind)
	case h.Compression > CompressS2:
		return fmt.Errorf("compression %d", h.Compression)
	case h.Compression == CompressNone && h.StoredLength != h.PlainLength:
		return fmt.Errorf("lengths: %d bytes stored of %d, not compressed", h.StoredLength, h.PlainLength)
	case h.Position == 0 || (h.Kind == KindGenesis) != (h.Position == 1):
		return fmt.Errorf("%v at position %d", h.Kind, h.Position)
	case (h.Kind == KindGenesis) != (h.Genesis != nil):
		return fmt.Errorf("%v aggregation with or without extension", h.Kind)
	case (h.Kind == KindData) != (h.Count > 0):
		return fmt.Errorf("%v aggregation of %d records", h.Kind, h.Count)
	case h.First == 0 || h.Last != h.First-1+tlog.Sequence(h.Count) || h.Last < h.First-1:
		return fmt.Errorf("%d records numbered %d to %d", h.Count, h.First, h.Last)
	case h.LastTimestamp < h.FirstTimestamp || h.Count == 0 && h.LastTimestamp != h.FirstTimestamp:
		return fmt.Errorf("timestamps %d to %d", h.FirstTimestamp, h.LastTimestamp)
	}
	return nil
}
