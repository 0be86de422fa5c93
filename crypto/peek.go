package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"tlog"
)

// Peeker returns what decrypts, in place, parts of one sealed payload: b is its
// bytes from off on, as Seal encrypted them under that salt for that vdisk and
// position, before any decompression. Nothing is authenticated: a caller must
// have the hash of what it expects. It is for reading records out of an
// aggregation without the rest.
//
// GCM encrypts as counter mode does from block 2 on, with a nonce of twelve zero
// bytes here; the counter of a payload of at most 16 MiB does not wrap.
func (k *DataKey) Peeker(salt *[32]byte, vdisk tlog.UUID, pos tlog.Position) func(off int, b []byte) {
	block, err := aes.NewCipher(k.derive(salt, vdisk, pos).aes[:])
	if err != nil {
		panic("crypto: internal error: " + err.Error())
	}
	return func(off int, b []byte) {
		var counter, skipped [aes.BlockSize]byte
		binary.BigEndian.PutUint32(counter[12:], uint32(2+off/aes.BlockSize))
		stream := cipher.NewCTR(block, counter[:])
		stream.XORKeyStream(skipped[:off%aes.BlockSize], skipped[:off%aes.BlockSize])
		stream.XORKeyStream(b, b)
	}
}

// BodyAt is how many bytes of a stored shard lie before its body, where the head
// is h, which has been parsed.
func BodyAt(h *Header) int {
	return fixedSize + h.Genesis.size() + hashSize*h.shards() + tailSize + indexSize
}
