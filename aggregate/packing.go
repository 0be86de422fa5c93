package aggregate

import (
	"sync/atomic"

	"github.com/klauspost/compress/s2"

	"tlog/crypto"
)

// packing compresses the payloads of one vdisk. S2 finds soon that a payload
// cannot be compressed, but copies it all the same, through the caches. So when
// several in a row were not worth it, a sample of each is tried first.
//
// Safe for concurrent use.
type packing struct {
	misses atomic.Int32 // payloads in a row that were stored as they are
}

const (
	missesEnough = 4
	samples      = 4
	sampleSize   = 16 << 10
)

// scratch is what compressing needs.
type scratch struct{ packed []byte }

// worthIt: less than a thirtieth saved does not pay for decompressing.
func worthIt(packed, plain int) bool { return packed < plain*97/100 }

// pack gives plain, or what it was compressed to, which is in sc.
func (k *packing) pack(plain []byte, sc *scratch) ([]byte, crypto.Compression) {
	misses := k.misses.Load()
	if misses >= missesEnough && !sc.promising(plain) {
		return plain, crypto.CompressNone
	}
	sc.packed = s2.Encode(sc.packed[:cap(sc.packed)], plain)
	if worthIt(len(sc.packed), len(plain)) {
		k.misses.Store(0)
		return sc.packed, crypto.CompressS2
	}
	if misses < missesEnough {
		k.misses.Add(1)
	}
	return plain, crypto.CompressNone
}

// promising tries pieces from all over plain.
func (sc *scratch) promising(plain []byte) bool {
	if len(plain) < 2*samples*sampleSize {
		return true // trying all of it is no dearer
	}
	packed := 0
	for i := range samples {
		at := i * (len(plain) - sampleSize) / (samples - 1)
		sc.packed = s2.Encode(sc.packed[:cap(sc.packed)], plain[at:at+sampleSize])
		packed += len(sc.packed)
	}
	return worthIt(packed, samples*sampleSize)
}
