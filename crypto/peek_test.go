package crypto_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"tlog"
)

// TestPeeker decrypts parts of a sealed payload by themselves, over every border
// of a block, and with another salt or position nothing of it.
func TestPeeker(t *testing.T) {
	key, payload := testKey(t, 1), pattern(70_001)
	h := dataHeader(payload, 4, 2)
	shards, _ := stored(seal(t, key, h, payload, fixedRandom(2)), tlog.Hash{})
	var joined []byte
	for _, b := range shards[:4] {
		joined = append(joined, check(t, b, &h).Body...)
	}
	salt := check(t, shards[0], &h).Header.Salt
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		off := rng.IntN(len(payload))
		n := rng.IntN(min(len(payload)-off, 300))
		if i < 33 {
			off, n = i, 40
		}
		b := bytes.Clone(joined[off : off+n])
		key.Peeker(&salt, h.Vdisk, h.Position)(off, b)
		if !bytes.Equal(b, payload[off:off+n]) {
			t.Fatalf("%d bytes from %d are not the payload's", n, off)
		}
	}
	for _, other := range []func(*[32]byte, *tlog.Position){
		func(s *[32]byte, _ *tlog.Position) { s[0]++ },
		func(_ *[32]byte, p *tlog.Position) { *p++ },
	} {
		s, p := salt, h.Position
		other(&s, &p)
		b := bytes.Clone(joined[:100])
		key.Peeker(&s, h.Vdisk, p)(0, b)
		if bytes.Equal(b, payload[:100]) {
			t.Error("another salt or position decrypts the payload")
		}
	}
}
