package tlog

import (
	"crypto/sha1" //nolint:gosec // UUID version 5 is defined over SHA-1 (RFC 9562)
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Hash is a 256-bit digest.
type Hash [32]byte

// String returns the digest in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether no byte is set.
func (h Hash) IsZero() bool { return h == Hash{} }

// HashAlgorithm is how a log hashes the data of its records; client and server
// agree on it in the handshake. Package crypto computes it.
type HashAlgorithm uint8

const (
	// HashBlake2b is BLAKE2b-256 (RFC 7693), the default and version 1's only one.
	HashBlake2b HashAlgorithm = 1
	// HashSHA256 is SHA-256 (FIPS 180-4).
	HashSHA256 HashAlgorithm = 2
)

// ChainStart is c_0, the chain value of a vdisk's empty history:
// SHA-256("tlog record chain 1\x00" ‖ vdisk ID).
func ChainStart(vdisk VdiskID) Hash {
	return sha256.Sum256([]byte("tlog record chain 1\x00" + string(vdisk)))
}

// ChainNext is c_i = SHA-256(c_(i-1) ‖ record header ‖ record hash): one value
// that stands for the whole history up to and including r.
func ChainNext(prev Hash, r *Record) Hash {
	var b [32 + RecordHeaderSize + 32]byte
	copy(b[:], prev[:])
	r.AppendHeader(b[:32])
	copy(b[32+RecordHeaderSize:], r.Hash[:])
	return sha256.Sum256(b[:])
}

// UUID is a 128-bit identifier (RFC 9562).
type UUID [16]byte

// String returns the UUID in its usual form of 36 characters.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// IsZero reports whether u is the nil UUID.
func (u UUID) IsZero() bool { return u == UUID{} }

// ParseUUID reads the form that String writes.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("tlog: uuid: %q is not of the form 8-4-4-4-12", s)
	}
	b, err := hex.DecodeString(s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36])
	if err != nil {
		return u, fmt.Errorf("tlog: uuid: %q: %w", s, err)
	}
	copy(u[:], b)
	return u, nil
}

// MarshalText writes the form of String, in JSON too.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads the form of String.
func (u *UUID) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUUID(string(b))
	return err
}

// NameUUID is the version-5 UUID of name in the space of u.
func (u UUID) NameUUID(name string) UUID {
	h := sha1.New()
	h.Write(u[:])
	h.Write([]byte(name))
	var r UUID
	copy(r[:], h.Sum(nil))
	r[6] = r[6]&0x0f | 0x50
	r[8] = r[8]&0x3f | 0x80
	return r
}

// VdiskID is the name its users give a vdisk: 1 to 128 of [A-Za-z0-9._-].
type VdiskID string

// Check reports whether the name is one a vdisk may have.
func (v VdiskID) Check() error {
	if len(v) == 0 || len(v) > 128 {
		return Protocolf("tlog: vdisk name of %d characters; it has 1 to 128 of [A-Za-z0-9._-]", len(v))
	}
	for _, c := range []byte(v) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return Protocolf("tlog: vdisk name %q: only [A-Za-z0-9._-] are allowed", string(v))
		}
	}
	return nil
}

// UUID identifies one incarnation of the vdisk in a pool: the first is 0, and
// each deletion counts up.
func (v VdiskID) UUID(pool UUID, incarnation uint32) UUID {
	return pool.NameUUID(fmt.Sprintf("%s/%d", v, incarnation))
}
