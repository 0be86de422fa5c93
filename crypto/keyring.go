package crypto

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"tlog"
)

// ErrWrongKey says that the key at hand is not the one that something was
// wrapped or sealed with. It is an operator's mistake, not damage.
var ErrWrongKey = errors.New("wrong key: use the key file that the vdisk was made with")

// kek is a key-encryption key: it wraps data keys and nothing else.
type kek struct {
	id     uint64 // derived from secret
	secret [keySize]byte
}

// Keyring holds the key-encryption keys of a key file. The first is current:
// it wraps new data keys; the others still unwrap old ones.
type Keyring struct {
	keks []kek
}

// NewKeyring makes a ring of one fresh random key that is nowhere stored: what
// is wrapped with it ends with the process.
func NewKeyring() (*Keyring, error) { return newKeyring(rand.Reader) }

func newKeyring(random io.Reader) (*Keyring, error) {
	var k kek
	if _, err := io.ReadFull(random, k.secret[:]); err != nil {
		return nil, fmt.Errorf("crypto: new key: %w", err)
	}
	k.id = keyID(labelKEKID, &k.secret)
	return &Keyring{keks: []kek{k}}, nil
}

// A wrapped data key:
//
//	off size field
//	  0    1 version 1
//	  1    8 id of the key-encryption key, little-endian
//	  9   12 nonce, random
//	 21   32 data key, encrypted with AES-256-GCM
//	 53   16 tag
//
// Its additional data is label ‖ the first nine bytes ‖ vdisk UUID ‖ data key
// id (little-endian): it opens for that vdisk and under that id only. A random
// nonce of 96 bits is safe here, since one key wraps far fewer than 2^32 keys.
const (
	wrapVersion     = 1
	wrapNonceOffset = 9
	wrapKeyOffset   = 21
	wrappedSize     = 69
)

func wrapData(prefix []byte, vdisk tlog.UUID, keyID uint64) []byte {
	b := append([]byte(labelWrap), prefix[:wrapNonceOffset]...)
	b = append(b, vdisk[:]...)
	return binary.LittleEndian.AppendUint64(b, keyID)
}

// NewDataKey makes a random data key for vdisk, and wraps it with the ring's
// current key; wrapped is public and opens for that vdisk only.
func (k *Keyring) NewDataKey(vdisk tlog.UUID) (key *DataKey, wrapped []byte, err error) {
	return k.newDataKey(vdisk, rand.Reader)
}

func (k *Keyring) newDataKey(vdisk tlog.UUID, random io.Reader) (*DataKey, []byte, error) {
	key, err := newDataKey(random)
	if err != nil {
		return nil, nil, err
	}
	current := &k.keks[0]
	w := make([]byte, wrapKeyOffset, wrappedSize)
	w[0] = wrapVersion
	binary.LittleEndian.PutUint64(w[1:], current.id)
	nonce := w[wrapNonceOffset:wrapKeyOffset]
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, nil, fmt.Errorf("crypto: wrap data key: %w", err)
	}
	w = newGCM(&current.secret).Seal(w, nonce, key.secret[:], wrapData(w, vdisk, key.ID))
	return key, w, nil
}

// Unwrap opens what NewDataKey wrapped for vdisk; keyID is the DataKey's ID, as
// stored beside it. Errors: ErrWrongKey when the ring lacks the key it is
// wrapped with, ErrVersion, or class tlog.Corrupt.
func (k *Keyring) Unwrap(vdisk tlog.UUID, keyID uint64, wrapped []byte) (*DataKey, error) {
	if len(wrapped) > 0 && wrapped[0] > wrapVersion {
		return nil, fmt.Errorf("crypto: wrapped key of vdisk %v, version %d: %w", vdisk, wrapped[0], ErrVersion)
	}
	if len(wrapped) != wrappedSize || wrapped[0] != wrapVersion {
		return nil, tlog.Corruptf("crypto: wrapped key of vdisk %v: %d bytes that are not one", vdisk, len(wrapped))
	}
	kekID := binary.LittleEndian.Uint64(wrapped[1:])
	for i := range k.keks {
		if k.keks[i].id == kekID {
			return k.keks[i].unwrap(vdisk, keyID, wrapped)
		}
	}
	return nil, fmt.Errorf("crypto: data key of vdisk %v is wrapped with key %016x, the key file holds %s: %w", vdisk, kekID, k.ids(), ErrWrongKey)
}

func (k *kek) unwrap(vdisk tlog.UUID, id uint64, wrapped []byte) (*DataKey, error) {
	nonce := wrapped[wrapNonceOffset:wrapKeyOffset]
	secret, err := newGCM(&k.secret).Open(nil, nonce, wrapped[wrapKeyOffset:], wrapData(wrapped, vdisk, id))
	if err != nil {
		return nil, tlog.Corruptf("crypto: wrapped key of vdisk %v was changed, or belongs to another vdisk: %w", vdisk, err)
	}
	key := &DataKey{ID: id}
	copy(key.secret[:], secret)
	if keyID(labelDataKeyID, &key.secret) != id {
		return nil, tlog.Corruptf("crypto: wrapped key of vdisk %v: not the key of id %016x", vdisk, id)
	}
	return key, nil
}

func (k Keyring) ids() string {
	s := ""
	for i := range k.keks {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%016x", k.keks[i].id)
	}
	return s
}

// String names the keys by their ids; the secrets are never printed.
func (k Keyring) String() string { return "keys " + k.ids() + " (secrets redacted)" }

// GoString is String.
func (k Keyring) GoString() string { return k.String() }

// LogValue is String, for slog.
func (k Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Format is String whatever the verb; see DataKey.Format.
func (k Keyring) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }
