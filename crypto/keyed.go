package crypto

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"tlog"
)

// keyed computes HMAC-SHA256 (RFC 2104), and HKDF with it, for sealing, without
// garbage: docs/decisions/0006 says why this is not the standard library's. Open
// uses that, so whatever is read proves the two to agree; a test does, too. It
// belongs to one goroutine at a time.
type keyed struct {
	sha   hash.Hash
	block [sha256.BlockSize]byte // key, masked
	sum   [sha256.Size]byte
	text  []byte
}

func newKeyed() keyed { return keyed{sha: sha256.New()} }

// mac is HMAC-SHA256 of message; key is no longer than a block.
func (k *keyed) mac(key, message []byte) [sha256.Size]byte {
	k.mask(key, 0x36)
	k.sha.Write(message)
	k.sha.Sum(k.sum[:0])
	k.mask(key, 0x5c)
	k.sha.Write(k.sum[:])
	k.sha.Sum(k.sum[:0])
	return k.sum
}

// mask begins a hash with the key.
func (k *keyed) mask(key []byte, with byte) {
	clear(k.block[copy(k.block[:], key):])
	for i := range k.block {
		k.block[i] ^= with
	}
	k.sha.Reset()
	k.sha.Write(k.block[:])
}

// forget erases what it knows of keys.
func (k *keyed) forget() {
	k.sha.Reset()
	k.block, k.sum = [sha256.BlockSize]byte{}, [sha256.Size]byte{}
	clear(k.text)
}

// derive is DataKey.derive.
func (k *keyed) derive(key *DataKey, salt *[32]byte, vdisk tlog.UUID, pos tlog.Position) derived {
	secret := k.mac(salt[:], key.secret[:])
	var d derived
	k.text = k.text[:0]
	for i, out := range []*[32]byte{&d.aes, &d.mac, &d.commitment} {
		k.text = append(k.text, labelSeal...)
		k.text = append(k.text, vdisk[:]...)
		k.text = binary.BigEndian.AppendUint64(k.text, uint64(pos))
		k.text = append(k.text, byte(i+1))
		*out = k.mac(secret[:], k.text)
		k.text = append(k.text[:0], out[:]...) // goes ahead of the next one's info
	}
	return d
}
