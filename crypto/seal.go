package crypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/zeebo/blake3"

	"tlog"
)

// Sealed is an aggregation that is encrypted and cut into shards, and waits
// for the digest of the position before it.
type Sealed struct {
	Header Header

	// buf holds n shard bodies of bodyLen bytes, then n heads of headLen bytes,
	// each with its index. It is nil after Release.
	buf                 atomic.Pointer[[]byte]
	n, bodyLen, headLen int
	mac                 [keySize]byte // key of the header's MAC, until Chain
	released            func()
}

// Seal encrypts payload, which is compressed already as h says, directly into
// the data shards of a pooled buffer, has encode fill the parity shards (the
// last M of the shards it is given, all of one length) and takes the digest of
// each. It fills in h's KeyID, Salt, Commitment and ShardDigests; the rest of h
// is the caller's. random is crypto/rand.Reader outside tests. Seal keeps
// neither payload nor what h points to, except h.Genesis.
func Seal(key *DataKey, h Header, payload []byte, encode func(shards [][]byte) error, random io.Reader) (*Sealed, error) {
	if err := h.checkSealable(len(payload)); err != nil {
		return nil, tlog.Fatalf("crypto: seal position %d of vdisk %v: %w", h.Position, h.Vdisk, err)
	}
	if _, err := io.ReadFull(random, h.Salt[:]); err != nil {
		return nil, tlog.Fatalf("crypto: seal position %d of vdisk %v: salt: %w", h.Position, h.Vdisk, err)
	}
	d := key.derive(&h.Salt, h.Vdisk, h.Position)
	h.KeyID, h.Commitment = key.ID, d.commitment
	aad := h.append(make([]byte, 0, fixedSize+h.Genesis.size()))

	n := h.shards()
	s := &Sealed{
		n:       n,
		bodyLen: ShardLength(h.StoredLength, h.K),
		headLen: len(aad) + hashSize*n + tailSize + indexSize,
		mac:     d.mac,
	}
	buf := getBuffer(n * (s.bodyLen + s.headLen))
	s.buf.Store(buf)
	data := (*buf)[:int(h.K)*s.bodyLen]
	end := len(newGCM(&d.aes).Seal(data[:0], sealNonce[:], payload, aad))
	clear(data[end:])
	shards := make([][]byte, n)
	for i := range shards {
		shards[i] = s.body(i)
	}
	if err := encode(shards); err != nil {
		s.Release()
		return nil, tlog.Fatalf("crypto: seal position %d of vdisk %v: parity: %w", h.Position, h.Vdisk, err)
	}
	h.ShardDigests = make([]tlog.Hash, n)
	for i := range shards {
		h.ShardDigests[i] = blake3.Sum256(shards[i])
	}
	s.Header = h
	s.fillHeads(aad)
	return s, nil
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
	mac := hmac.New(sha256.New, s.mac[:])
	mac.Write(head[:end-hashSize])
	mac.Sum(head[:end-hashSize])
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

// OnRelease has f called when Release is, at most once. It is set before s is
// handed on.
func (s *Sealed) OnRelease(f func()) { s.released = f }

// Release gives the buffers back; the parts that Shard returned are no longer
// valid. Only the first call does something.
func (s *Sealed) Release() {
	buf := s.buf.Swap(nil)
	if buf == nil {
		return
	}
	putBuffer(buf)
	if s.released != nil {
		s.released()
	}
}

func (s *Sealed) body(i int) []byte {
	at := i * s.bodyLen
	return (*s.buf.Load())[at : at+s.bodyLen : at+s.bodyLen]
}

func (s *Sealed) head(i int) []byte {
	at := s.n*s.bodyLen + i*s.headLen
	return (*s.buf.Load())[at : at+s.headLen : at+s.headLen]
}
