package crypto_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"tlog"
	"tlog/crypto"
)

// What is written out here for want of garbage is what the library computes.
func TestKeysAreThoseOfTheLibrary(t *testing.T) {
	key, r := testKey(t, 1), rand.NewChaCha8([32]byte{2})
	for range 200 {
		var salt [32]byte
		var vdisk tlog.UUID
		_, _ = r.Read(salt[:])
		_, _ = r.Read(vdisk[:])
		pos := tlog.Position(r.Uint64())
		secret, got := crypto.Derive(key, &salt, vdisk, pos)
		info := binary.BigEndian.AppendUint64(append([]byte("tlog seal 1\x00"), vdisk[:]...), uint64(pos))
		want, err := hkdf.Key(sha256.New, secret, salt[:], string(info), 96)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("salt %x, vdisk %v, position %d: %x, want %x, %v", salt, vdisk, pos, got, want, err)
		}
	}
	for n := range 300 {
		key, message := make([]byte, n%65), make([]byte, n)
		_, _ = r.Read(key)
		_, _ = r.Read(message)
		mac := hmac.New(sha256.New, key)
		mac.Write(message)
		if got := crypto.MAC(key, message); !bytes.Equal(got[:], mac.Sum(nil)) {
			t.Fatalf("key %x, message %x: %x", key, message, got)
		}
	}
}
