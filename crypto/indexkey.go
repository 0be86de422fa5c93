package crypto

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"

	"tlog"
)

const labelIndex = "tlog index 1\x00"

// IndexCipher is what the index of a vdisk's log is sealed with: AES-256-GCM
// under HKDF-Expand-SHA256(data key, label ‖ vdisk UUID). An index lies outside
// the shard servers, and tells where a disk was written; it is written many
// times, so each sealing needs a nonce of its own.
func (k *DataKey) IndexCipher(vdisk tlog.UUID) cipher.AEAD {
	b, err := hkdf.Expand(sha256.New, k.secret[:], labelIndex+string(vdisk[:]), keySize)
	if err != nil {
		panic("crypto: internal error: " + err.Error()) // only for impossible lengths
	}
	return newGCM((*[keySize]byte)(b))
}
