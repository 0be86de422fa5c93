package crypto_test

import (
	"bytes"
	"testing"

	"tlog"
	"tlog/crypto"
	"tlog/internal/alloctest"
)

// Whatever the bytes: no panic, and what is accepted is consistent and written
// back the same.
func FuzzCheckShard(f *testing.F) {
	for _, o := range goldenObjects {
		for _, b := range readGolden(f, o.name)[1:] {
			f.Add(b)
		}
	}
	key := testKey(f, 1)
	f.Fuzz(func(t *testing.T, b []byte) {
		alloctest.Bound(t, len(b), func() { checkAny(t, key, b) })
	})
}

func checkAny(t *testing.T, key *crypto.DataKey, b []byte) {
	h, _, err := crypto.ParseHeader(b)
	if err != nil {
		if _, err := crypto.CheckShard(b, vdiskA, 1); err == nil {
			t.Fatal("a shard whose header does not parse")
		}
		return
	}
	if _, err := crypto.CheckHead(b, h.Vdisk, h.Position); err == nil && len(b) > crypto.MaxHead {
		if _, err := crypto.CheckHead(b[:crypto.MaxHead], h.Vdisk, h.Position); err != nil {
			t.Fatalf("MaxHead bytes are not enough: %v", err)
		}
	}
	s, err := crypto.CheckShard(b, h.Vdisk, h.Position)
	if err != nil {
		if tlog.ClassOf(err) != tlog.Corrupt {
			t.Fatalf("class of %v", err)
		}
		return
	}
	if len(s.Head)+8+len(s.Body) != len(b) || len(s.Body) != crypto.ShardLength(h.StoredLength, h.K) {
		t.Fatalf("%d bytes: head %d, body %d", len(b), len(s.Head), len(s.Body))
	}
	data := make([]byte, int(h.K)*len(s.Body))
	if h.K == 1 {
		data = bytes.Clone(s.Body)
	}
	if _, err := crypto.Open(key, s, data); err == nil {
		t.Fatal("opened what nobody sealed")
	}
}

// Whatever the bytes: no panic, and what is accepted survives being written.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte("tlog key file 1\n# c\nkey 0123456789abcdef 00\n"))
	f.Add(crypto.FormatKeyFile(testRing(f, 1)))
	f.Add(crypto.FormatKeyFile(crypto.Join(testRing(f, 1), testRing(f, 2))))
	f.Fuzz(func(t *testing.T, b []byte) {
		var ring *crypto.Keyring
		var err error
		alloctest.Bound(t, len(b), func() { ring, err = crypto.ParseKeyFile(b) })
		if err != nil {
			return
		}
		again, err := crypto.ParseKeyFile(crypto.FormatKeyFile(ring))
		if err != nil || again.String() != ring.String() {
			t.Fatalf("written and read again: %v, %v; was %v", again, err, ring)
		}
	})
}
