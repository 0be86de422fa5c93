package aggregate

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/s2"

	"tlog/crypto"
)

// What compresses is compressed, also after much that did not.
func TestPacking(t *testing.T) {
	random := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	text := bytes.Repeat([]byte("a page of a database, more or less. "), 1<<20/36)
	half := append(bytes.Clone(random[:1<<19]), text[:1<<19]...)
	var k packing
	var sc scratch
	want := func(what string, plain []byte, want crypto.Compression) {
		t.Helper()
		got, compression := k.pack(plain, &sc)
		if compression != want {
			t.Fatalf("%s: compression %d, want %d", what, compression, want)
		}
		if compression == crypto.CompressS2 {
			var err error
			if got, err = s2.Decode(nil, got); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, plain) {
			t.Fatalf("%s: not what it was", what)
		}
	}
	want("text", text, crypto.CompressS2)
	for range 2 * missesEnough {
		want("random", random, crypto.CompressNone)
	}
	if n := len(sc.packed); n > sampleSize+1<<10 {
		t.Errorf("%d bytes were made of a payload when a sample had been enough", n)
	}
	want("a small text", text[:4000], crypto.CompressS2)
	for range 2 * missesEnough {
		want("random", random, crypto.CompressNone)
	}
	want("half text, half random", half, crypto.CompressS2)
	for range 2 * missesEnough {
		want("a small random", random[:4000], crypto.CompressNone)
	}
	want("text", text, crypto.CompressS2)
}
