package schema

import (
	"unicode/utf8"

	"tlog"
)

// Struct sizes in words. Those of version 1 are smaller: what stands behind
// them did not exist.
const (
	helloData, helloPointers       = 7, 6
	helloData1, helloPointers1     = 2, 1
	welcomeData, welcomePointers   = 8, 4
	welcomeData1, welcomePointers1 = 1, 0
	respData, respPointers         = 5, 3
	respData1, respPointers1       = 1, 1
	commandData                    = 2
	blockData, blockPointers       = 6, 2 // in a batch
	blockData1, blockPointers1     = 4, 2
	preludeData, preludePointers   = 7, 6
)

// AppendHello appends h, framed; at version-1 size if h.Version is below Version2.
func AppendHello(dst []byte, h *Hello) []byte {
	data, pointers := helloData, helloPointers
	if h.Version < Version2 {
		data, pointers = helloData1, helloPointers1
	}
	b := newBuilder(dst, data, pointers)
	b.u32(0, uint32(h.Version))
	b.bit(32, h.ResetFirst)
	b.u64(8, h.FirstSequence)
	b.text(0, h.Vdisk)
	if h.Version < Version2 {
		return b.end()
	}
	b.bit(33, h.Takeover)
	b.bit(34, h.Adopt)
	b.u32(16, uint32(h.MinVersion))
	b.u32(20, h.BlockSize)
	b.u64(24, h.DiskSize)
	b.u64(32, uint64(h.Generation))
	b.u64(40, uint64(h.LastFlushed))
	b.bytes(1, h.Client[:])
	b.bytes(2, h.Chain[:])
	hashes := make([]byte, len(h.Hashes))
	for i, a := range h.Hashes {
		hashes[i] = byte(a)
	}
	b.bytes(3, hashes)
	if o := &h.Origin; !o.IsZero() {
		b.u64(48, uint64(o.Position))
		b.bytes(4, o.Vdisk[:])
		b.bytes(5, o.Digest[:])
	}
	return b.end()
}

// AppendWelcome appends w, framed; at version-1 size if w.Version is below Version2.
func AppendWelcome(dst []byte, w *Welcome) []byte {
	data, pointers := welcomeData, welcomePointers
	if w.Version < Version2 {
		data, pointers = welcomeData1, welcomePointers1
	}
	b := newBuilder(dst, data, pointers)
	b.u32(0, uint32(w.Version))
	b.u8(4, uint8(w.Status))
	if w.Version < Version2 {
		return b.end()
	}
	b.u8(5, uint8(w.Hash))
	b.u64(8, uint64(w.LastFlushed))
	b.u64(16, uint64(w.Generation))
	b.u64(24, uint64(w.Epoch))
	b.u64(32, w.LastTimestamp)
	b.u32(40, w.CreditRecords)
	b.u32(44, w.BlockSize)
	b.u64(48, w.CreditBytes)
	b.u64(56, w.DiskSize)
	b.bytes(0, w.Chain[:])
	b.bytes(1, w.Vdisk[:])
	b.text(2, clip(w.Durability))
	b.text(3, clip(w.Message))
	return b.end()
}

// AppendResponse appends r, framed; at version-1 size if v, the session's
// version, is below Version2. r lists at most MaxSequences sequences: a server
// sends the others in further responses.
func AppendResponse(dst []byte, v Version, r *Response) []byte {
	if len(r.Sequences) > MaxSequences {
		panic("internal error: schema: response with too many sequences")
	}
	if v < Version2 {
		b := newBuilder(dst, respData1, respPointers1)
		b.u8(0, uint8(r.Status))
		b.words(0, r.Sequences)
		return b.end()
	}
	b := newBuilder(dst, respData, respPointers)
	b.u8(0, uint8(r.Status))
	b.u32(4, r.CreditRecords)
	b.u64(8, uint64(r.UpTo))
	b.u64(16, uint64(r.Epoch))
	b.u64(24, uint64(r.Expected))
	b.u64(32, r.CreditBytes)
	if len(r.Sequences) > 0 {
		b.words(0, r.Sequences)
	}
	if !r.Chain.IsZero() {
		b.bytes(1, r.Chain[:])
	}
	b.text(2, clip(r.Message))
	return b.end()
}

// AppendCommand appends the type byte t and a framed Command. seq is the
// sequence of a force flush, 0 for the other types.
func AppendCommand(dst []byte, t MessageType, seq uint64) []byte {
	b := newBuilder(append(dst, byte(t)), commandData, 0)
	b.u8(0, uint8(t))
	b.u64(8, seq)
	return b.end()
}

// AppendPrelude appends p, framed.
func AppendPrelude(dst []byte, p *Prelude) []byte {
	b := newBuilder(dst, preludeData, preludePointers)
	b.u64(0, p.Size)
	b.u64(8, p.Timestamp)
	b.u64(16, uint64(p.Generation))
	b.u8(24, uint8(p.Hash))
	b.bit(200, p.Version1)
	b.u64(32, p.Base)
	b.u64(40, p.First)
	b.u64(48, p.LastTimestamp)
	b.text(1, string(p.Vdisk))
	b.bytes(4, p.Chain[:])
	if p.Client != (tlog.UUID{}) {
		b.bytes(5, p.Client[:])
	}
	return b.end()
}

// clip keeps a text for people inside MaxText without cutting a character.
func clip(s string) string {
	if len(s) <= MaxText {
		return s
	}
	n := MaxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
