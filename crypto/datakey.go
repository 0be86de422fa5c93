package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"tlog"
)

// keySize is the length in bytes of every secret key here.
const keySize = 32

// Labels separate what is derived from one secret; each ends with a zero byte
// so that none is the beginning of another.
const (
	labelSeal      = "tlog seal 1\x00"
	labelDataKeyID = "tlog data key id 1\x00"
	labelKEKID     = "tlog key-encryption key id 1\x00"
	labelWrap      = "tlog wrapped data key 1\x00"
)

// DataKey is the secret that one vdisk's aggregations are sealed with.
type DataKey struct {
	// ID names the key without giving it away: it is derived from the key, so
	// that two keys do not share one.
	ID uint64

	secret [keySize]byte
}

func newDataKey(random io.Reader) (*DataKey, error) {
	var k DataKey
	if _, err := io.ReadFull(random, k.secret[:]); err != nil {
		return nil, fmt.Errorf("crypto: new data key: %w", err)
	}
	k.ID = keyID(labelDataKeyID, &k.secret)
	return &k, nil
}

// keyID derives a key's public name from it.
func keyID(label string, secret *[keySize]byte) uint64 {
	b, err := hkdf.Expand(sha256.New, secret[:], label, 8)
	if err != nil {
		panic("crypto: internal error: " + err.Error()) // only for impossible lengths
	}
	return binary.BigEndian.Uint64(b)
}

// derived are the one-time keys of one sealing.
type derived struct {
	aes        [keySize]byte
	mac        [keySize]byte
	commitment [32]byte
}

// derive is HKDF-SHA256 (RFC 5869) of the data key with the sealing's salt and
// info = label ‖ vdisk UUID ‖ position, big-endian: 96 bytes. The commitment is
// the last third of it, so it binds the salt, vdisk and position with the key.
// It is the reader's; the sealer's is keyed.derive, without garbage.
func (k *DataKey) derive(salt *[32]byte, vdisk tlog.UUID, pos tlog.Position) *derived {
	info := make([]byte, 0, len(labelSeal)+len(vdisk)+8)
	info = append(info, labelSeal...)
	info = append(info, vdisk[:]...)
	info = binary.BigEndian.AppendUint64(info, uint64(pos))
	b, err := hkdf.Key(sha256.New, k.secret[:], salt[:], string(info), 2*keySize+32)
	if err != nil {
		panic("crypto: internal error: " + err.Error())
	}
	var d derived
	copy(d.aes[:], b)
	copy(d.mac[:], b[keySize:])
	copy(d.commitment[:], b[2*keySize:])
	return &d
}

// tagSize is what the AEAD adds to a payload.
const tagSize = 16

// sealNonce is constant because no key is used twice; see the package comment.
var sealNonce [12]byte

func newGCM(key *[keySize]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("crypto: internal error: " + err.Error())
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("crypto: internal error: " + err.Error())
	}
	return gcm
}

// String names the key by its id; the secret is never printed.
func (k DataKey) String() string { return fmt.Sprintf("data key %016x (secret redacted)", k.ID) }

// GoString is String.
func (k DataKey) GoString() string { return k.String() }

// LogValue is String, for slog.
func (k DataKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Format is String whatever the verb: %d and %x of a struct would reach its
// unexported fields.
func (k DataKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }
