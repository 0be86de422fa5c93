package crypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"tlog"
)

// Stored is one stored shard, checked without a key: its header parses, it is
// of the vdisk and position asked for, and its body has the digest that the
// header names. That the header is the one that was written, its chain digest
// says to whoever knows that, and its MAC to Open.
type Stored struct {
	Header Header
	Head   []byte    // header bytes including the MAC; identical in every shard of the aggregation
	Digest tlog.Hash // chain digest
	Index  int       // of CheckHead: −1 if the bytes end with the head
	Body   []byte    // nil of CheckHead
}

// CheckShard parses and checks a whole stored shard. The result aliases b.
// Errors: class tlog.Corrupt, or ErrVersion.
func CheckShard(b []byte, vdisk tlog.UUID, pos tlog.Position) (*Stored, error) {
	s, rest, err := checkHead(b, vdisk, pos)
	if err == nil {
		err = s.checkBody(rest)
	}
	if err != nil {
		return nil, checkError("shard", vdisk, pos, err)
	}
	return s, nil
}

// CheckHead does the same for the first bytes of a stored shard. They must
// hold the head (HeadRoom bytes do, unless it is a genesis) and may go on.
func CheckHead(b []byte, vdisk tlog.UUID, pos tlog.Position) (*Stored, error) {
	s, rest, err := checkHead(b, vdisk, pos)
	if err == nil && len(rest) >= indexSize {
		s.Index, err = s.parseIndex(rest)
	}
	if err != nil {
		return nil, checkError("head", vdisk, pos, err)
	}
	return s, nil
}

// Check is CheckHead if headOnly is set, else CheckShard: the form in which
// package stor takes it.
func Check(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (*Stored, error) {
	if headOnly {
		return CheckHead(b, vdisk, pos)
	}
	return CheckShard(b, vdisk, pos)
}

func checkHead(b []byte, vdisk tlog.UUID, pos tlog.Position) (*Stored, []byte, error) {
	h, rest, err := parseHeader(b)
	if err != nil {
		return nil, nil, err
	}
	if h.Vdisk != vdisk || h.Position != pos {
		return nil, nil, fmt.Errorf("holds position %d of vdisk %v", h.Position, h.Vdisk)
	}
	end := len(b) - len(rest)
	s := &Stored{Header: h, Head: b[:end:end], Index: -1}
	s.Digest = sha256.Sum256(s.Head)
	return s, rest, nil
}

func (s *Stored) parseIndex(b []byte) (int, error) {
	if int(b[0]) >= s.Header.shards() || [7]byte(b[1:]) != [7]byte{} {
		return 0, fmt.Errorf("index %x of %d+%d shards", b[:indexSize], s.Header.K, s.Header.M)
	}
	return int(b[0]), nil
}

// checkBody checks what follows the head: index, body.
func (s *Stored) checkBody(b []byte) error {
	want := ShardLength(s.Header.StoredLength, s.Header.K)
	if len(b) != indexSize+want {
		return fmt.Errorf("%d bytes after the head, want %d", len(b), indexSize+want)
	}
	index, err := s.parseIndex(b)
	if err != nil {
		return err
	}
	s.Index, s.Body = index, b[indexSize:]
	if tlog.Hash(blake3.Sum256(s.Body)) != s.Header.ShardDigests[s.Index] {
		return fmt.Errorf("body of shard %d does not have its digest", s.Index)
	}
	return nil
}

func checkError(what string, vdisk tlog.UUID, pos tlog.Position, err error) error {
	err = fmt.Errorf("crypto: %s of position %d of vdisk %v: %w", what, pos, vdisk, err)
	if errors.Is(err, ErrVersion) {
		return err
	}
	return tlog.WithClass(tlog.Corrupt, err)
}

// Open proves that a holder of key wrote s, and decrypts the joined data
// shards, in place: data is overwritten whatever happens, and the result, the
// payload, still compressed, of length StoredLength, aliases it. s is of
// CheckShard or CheckHead. Errors: ErrWrongKey when another key sealed it, else
// class tlog.Corrupt.
func Open(key *DataKey, s *Stored, data []byte) ([]byte, error) {
	h := &s.Header
	if h.KeyID != key.ID {
		return nil, fmt.Errorf("crypto: open position %d of vdisk %v: sealed with data key %016x, not %016x: %w", h.Position, h.Vdisk, h.KeyID, key.ID, ErrWrongKey)
	}
	payload, err := open(key, s, data)
	if err != nil {
		return nil, tlog.Corruptf("crypto: open position %d of vdisk %v: %w", h.Position, h.Vdisk, err)
	}
	return payload, nil
}

func open(key *DataKey, s *Stored, data []byte) ([]byte, error) {
	h := &s.Header
	if want := int(h.K) * ShardLength(h.StoredLength, h.K); len(data) != want {
		return nil, fmt.Errorf("%d bytes of data shards, want %d", len(data), want)
	}
	d := key.derive(&h.Salt, h.Vdisk, h.Position)
	// The key has the id that the header names, so it is the right one, and
	// what does not fit it was changed.
	if subtle.ConstantTimeCompare(d.commitment[:], h.Commitment[:]) != 1 {
		return nil, errors.New("salt or key commitment was changed")
	}
	end := len(s.Head) - hashSize
	mac := hmac.New(sha256.New, d.mac[:])
	mac.Write(s.Head[:end])
	if !hmac.Equal(mac.Sum(nil), s.Head[end:]) {
		return nil, errors.New("header was changed: its MAC does not fit")
	}
	sealed := int(h.StoredLength) + tagSize
	for _, c := range data[sealed:] {
		if c != 0 {
			return nil, errors.New("padding is not zero")
		}
	}
	aad := s.Head[:fixedSize+h.Genesis.size()]
	payload, err := newGCM(&d.aes).Open(data[:0], sealNonce[:], data[:sealed], aad)
	if err != nil {
		return nil, fmt.Errorf("payload was changed: %w", err)
	}
	return payload, nil
}
