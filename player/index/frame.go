package index

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"github.com/klauspost/compress/s2"

	"tlog"
)

const (
	magic      = "TLGI"
	version    = 1
	headSize   = 144
	nonceAt    = 128
	nonceSize  = 12
	sealedTag  = 16
	maxBody    = 64 << 20 // bytes, sealed
	maxPlain   = 64 << 20 // bytes of a body, opened and unpacked
	maxRecords = 1 << 20  // of a frame; far beyond what Add makes
)

// head is what stands before a frame's body.
type head struct {
	vdisk         tlog.UUID
	firstPosition tlog.Position
	positions     uint32
	records       uint32
	firstSequence tlog.Sequence
	firstTime     uint64
	lastTime      uint64
	prev, digest  tlog.Hash
	nonce         [nonceSize]byte
	body          uint32 // bytes

	offset int64 // of the frame in the file
}

func (h *head) end() int64                  { return h.offset + headSize + int64(h.body) }
func (h *head) lastPosition() tlog.Position { return h.firstPosition + tlog.Position(h.positions) - 1 }
func (h *head) lastSequence() tlog.Sequence { return h.firstSequence + tlog.Sequence(h.records) - 1 }

func (h *head) encode() []byte {
	b := make([]byte, headSize)
	le := binary.LittleEndian
	copy(b, magic)
	le.PutUint32(b[4:], version)
	copy(b[8:], h.vdisk[:])
	le.PutUint64(b[24:], uint64(h.firstPosition))
	le.PutUint32(b[32:], h.positions)
	le.PutUint32(b[36:], h.records)
	le.PutUint64(b[40:], uint64(h.firstSequence))
	le.PutUint64(b[48:], h.firstTime)
	le.PutUint64(b[56:], h.lastTime)
	copy(b[64:], h.prev[:])
	copy(b[96:], h.digest[:])
	copy(b[nonceAt:], h.nonce[:])
	le.PutUint32(b[nonceAt+nonceSize:], h.body)
	return b
}

// parse reads what encode wrote. Errors say that this is not a frame's head;
// that it is the right one only opening the body proves.
func (h *head) parse(b []byte) error {
	le := binary.LittleEndian
	if string(b[:4]) != magic {
		return tlog.Corruptf("no frame begins here")
	}
	if v := le.Uint32(b[4:]); v != version {
		return tlog.Corruptf("frame of version %d, this program reads %d", v, version)
	}
	h.vdisk = tlog.UUID(b[8:])
	h.firstPosition, h.positions, h.records = tlog.Position(le.Uint64(b[24:])), le.Uint32(b[32:]), le.Uint32(b[36:])
	h.firstSequence, h.firstTime, h.lastTime = tlog.Sequence(le.Uint64(b[40:])), le.Uint64(b[48:]), le.Uint64(b[56:])
	h.prev, h.digest = tlog.Hash(b[64:]), tlog.Hash(b[96:])
	h.nonce, h.body = [nonceSize]byte(b[nonceAt:]), le.Uint32(b[nonceAt+nonceSize:])
	if h.positions == 0 || h.positions > maxRecords || h.records > maxRecords || h.body < sealedTag || h.body > maxBody {
		return tlog.Corruptf("frame of %d positions, %d records, %d bytes", h.positions, h.records, h.body)
	}
	return nil
}

// follows reports whether h continues what ends with last; nil is the beginning.
func (h *head) follows(last *head) bool {
	if last == nil {
		return h.firstPosition == 1 && h.prev.IsZero()
	}
	return h.vdisk == last.vdisk && h.firstPosition == last.lastPosition()+1 && h.prev == last.digest &&
		h.firstSequence == last.lastSequence()+1 && h.firstTime >= last.lastTime
}

// seal makes the frame of a page: head and body. It fills the head's nonce and
// length.
func (h *head) seal(p *Page, key cipher.AEAD) []byte {
	plain := s2.Encode(nil, p.encode(nil, h.firstTime))
	rand.Read(h.nonce[:]) //nolint:errcheck // it never fails
	h.body = uint32(len(plain) + sealedTag)
	b := h.encode()
	return key.Seal(b, h.nonce[:], plain, b)
}

// unseal opens the seal of a body, which is still packed then, into dst's memory.
func (h *head) unseal(dst, body []byte, key cipher.AEAD) ([]byte, error) {
	packed, err := key.Open(dst[:0], h.nonce[:], body, h.encode())
	if err != nil {
		return nil, tlog.Corruptf("the seal of the frame is broken")
	}
	return packed, nil
}

// open reads the body of a frame, whose memory it uses, into p.
func (h *head) open(p *Page, body []byte, key cipher.AEAD) error {
	packed, err := h.unseal(body[:0], body, key)
	if err != nil {
		return err
	}
	if n, err := s2.DecodedLen(packed); err != nil || n > maxPlain {
		return tlog.Corruptf("body of %d bytes: %w", n, err)
	}
	plain, err := s2.Decode(nil, packed)
	if err != nil {
		return tlog.Corruptf("unpacking: %w", err)
	}
	return p.decode(plain, h)
}
