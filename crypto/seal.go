package crypto

import (
	"crypto/sha256"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/zeebo/blake3"

	"tlog"
	"tlog/internal/reuse"
)

// Sealed is an aggregation that is encrypted and cut into shards, and waits
// for the digest of the position before it.
type Sealed struct {
	Header Header // ShardDigests are valid until Release

	parts               atomic.Pointer[parts] // nil after Release
	n, bodyLen, headLen int
	mac                 [keySize]byte // key of the header's MAC, until Chain
	released            func(bytes int)
	held                int
}

// parts is the memory behind a Sealed, which Release gives back.
type parts struct {
	// buf holds n shard bodies of bodyLen bytes, then n heads of headLen bytes,
	// each with its index.
	buf     *reuse.Buffer
	bodies  [][]byte // of buf, for encode
	digests []tlog.Hash
	aad     []byte
	salt    [32]byte
	keyed   keyed
}

// The pools are the one package variable: they hold nothing but spare memory.
var (
	buffers    reuse.Buffers
	spareParts = reuse.Objects[parts]{New: func() *parts { return &parts{keyed: newKeyed()} }}
)

// free gives everything back; nothing of p is used any more.
func (p *parts) free() {
	if p.buf != nil {
		buffers.Put(p.buf)
		p.buf = nil
	}
	clear(p.bodies)
	p.keyed.forget()
	spareParts.Put(p)
}

// Seal encrypts payload, which is compressed already as h says, directly into
// the data shards of a pooled buffer, has encode fill the parity shards (the
// last M of the shards it is given, all of one length, which it must not keep)
// and takes the digest of each. It fills in h's KeyID, Salt, Commitment and
// ShardDigests; the rest of h is the caller's. random is crypto/rand.Reader
// outside tests. Seal keeps neither payload nor what h points to, except
// h.Genesis.
func Seal(key *DataKey, h Header, payload []byte, encode func(shards [][]byte) error, random io.Reader) (*Sealed, error) {
	if err := h.checkSealable(len(payload)); err != nil {
		return nil, tlog.Fatalf("crypto: seal position %d of vdisk %v: %w", h.Position, h.Vdisk, err)
	}
	r := NewRoom(int(h.K), int(h.M), len(payload))
	return r.Seal(key, h, payload, encode, random)
}

// Room is where an aggregation will be sealed. A payload that is put together
// in it is encrypted where it lies. It is ended by Seal, or Free.
type Room struct{ p *parts }

// NewRoom gives room for a payload of size bytes that becomes k+m shards.
func NewRoom(k, m, size int) Room {
	p := spareParts.Get()
	p.buf = buffers.Get((k + m) * (ShardLength(uint32(size), uint8(k)) + HeadRoom(k, m)))
	return Room{p}
}

// Bytes is the room, empty, with capacity for the payload. What is appended to
// it may be the payload of Seal.
func (r Room) Bytes() []byte { return r.p.buf.Bytes[:0] }

// Free gives the room back without having sealed.
func (r Room) Free() { r.p.free() }

// Seal is the function Seal in this room; the payload lies at its begin, or is
// no part of it.
func (r Room) Seal(key *DataKey, h Header, payload []byte, encode func(shards [][]byte) error, random io.Reader) (*Sealed, error) {
	err := h.checkSealable(len(payload))
	if err == nil {
		var s *Sealed
		if s, err = r.p.seal(key, &h, payload, encode, random); err == nil {
			return s, nil
		}
	}
	r.Free()
	return nil, tlog.Fatalf("crypto: seal position %d of vdisk %v: %w", h.Position, h.Vdisk, err)
}

func (p *parts) seal(key *DataKey, h *Header, payload []byte, encode func(shards [][]byte) error, random io.Reader) (*Sealed, error) {
	if _, err := io.ReadFull(random, p.salt[:]); err != nil {
		return nil, fmt.Errorf("salt: %w", err)
	}
	d := p.keyed.derive(key, &p.salt, h.Vdisk, h.Position)
	h.Salt, h.KeyID, h.Commitment = p.salt, key.ID, d.commitment
	p.aad = h.append(p.aad[:0])

	n := h.shards()
	s := &Sealed{
		n:       n,
		bodyLen: ShardLength(h.StoredLength, h.K),
		headLen: len(p.aad) + hashSize*n + tailSize + indexSize,
		mac:     d.mac,
	}
	small := p.fit(n * (s.bodyLen + s.headLen))
	s.parts.Store(p)
	data := p.buf.Bytes[:int(h.K)*s.bodyLen]
	end := len(newGCM(&d.aes).Seal(data[:0], sealNonce[:], payload, p.aad))
	clear(data[end:])
	if small != nil {
		buffers.Put(small)
	}
	p.bodies, p.digests = p.bodies[:0], p.digests[:0]
	for i := range n {
		p.bodies = append(p.bodies, s.body(i))
	}
	if err := encode(p.bodies); err != nil {
		return nil, fmt.Errorf("parity: %w", err)
	}
	for i := range n {
		p.digests = append(p.digests, blake3.Sum256(p.bodies[i]))
	}
	h.ShardDigests = p.digests
	s.Header = *h
	s.fillHeads(p.aad)
	return s, nil
}

// fit makes the buffer one of n bytes. What it has instead of one that is too
// small, for a genesis or other shards than the room was made for, is returned:
// the payload may be in it.
func (p *parts) fit(n int) (small *reuse.Buffer) {
	if n > cap(p.buf.Bytes) {
		small, p.buf = p.buf, buffers.Get(n)
	}
	p.buf.Bytes = p.buf.Bytes[:n]
	return small
}

func (h *Header) checkSealable(payload int) error {
	if payload != int(h.StoredLength) {
		return fmt.Errorf("payload of %d bytes, header says %d", payload, h.StoredLength)
	}
	if h.Genesis != nil {
		if err := h.Genesis.check(); err != nil {
			return err
		}
	}
	return h.check()
}

// fillHeads writes all that does not depend on the position before.
func (s *Sealed) fillHeads(aad []byte) {
	first := s.head(0)
	at := copy(first, aad)
	for i := range s.Header.ShardDigests {
		at += copy(first[at:], s.Header.ShardDigests[i][:])
	}
	clear(first[at:])
	for i := 1; i < s.n; i++ {
		head := s.head(i)
		copy(head, first)
		head[s.headLen-indexSize] = byte(i)
	}
}

// Chain completes the header with the digest of the position before and its
// MAC, and returns the chain digest of this one. It is the only step of sealing
// that waits for the position before; it is called once.
func (s *Sealed) Chain(prev tlog.Hash) tlog.Hash {
	s.Header.Prev = prev
	end := s.headLen - indexSize // of the head proper
	head := s.head(0)[:end]
	copy(head[end-tailSize:], prev[:])
	mac := s.parts.Load().keyed.mac(s.mac[:], head[:end-hashSize])
	copy(head[end-hashSize:], mac[:])
	s.mac = [keySize]byte{}
	for i := 1; i < s.n; i++ {
		copy(s.head(i)[end-tailSize:end], head[end-tailSize:])
	}
	return sha256.Sum256(head)
}

// Shard returns stored shard i, after Chain, as two parts that are stored one
// after the other. Nobody may change them. Safe for concurrent use.
func (s *Sealed) Shard(i int) (head, body []byte) { return s.head(i), s.body(i) }

// Size is the memory in bytes that s holds until Release.
func (s *Sealed) Size() int { return s.n * (s.bodyLen + s.headLen) }

// OnRelease has f called with bytes when Release is, once. It is set before s
// is handed on.
func (s *Sealed) OnRelease(f func(bytes int), bytes int) { s.released, s.held = f, bytes }

// Release gives the buffers back; the parts that Shard returned are no longer
// valid. Only the first call does something.
func (s *Sealed) Release() {
	p := s.parts.Swap(nil)
	if p == nil {
		return
	}
	p.free()
	if s.released != nil {
		s.released(s.held)
	}
}

func (s *Sealed) body(i int) []byte {
	at := i * s.bodyLen
	return s.parts.Load().buf.Bytes[at : at+s.bodyLen : at+s.bodyLen]
}

func (s *Sealed) head(i int) []byte {
	at := s.n*s.bodyLen + i*s.headLen
	return s.parts.Load().buf.Bytes[at : at+s.headLen : at+s.headLen]
}
