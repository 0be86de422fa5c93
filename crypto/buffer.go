package crypto

import (
	"math/bits"
	"sync"
)

// Buffers of sealed aggregations are pooled by size class, four classes to
// each power of two, so that one of 1.5 MiB is neither kept for one of 100 KiB
// nor rounded up to 2 MiB. The pools are the one package variable: they hold
// nothing but spare memory.
var buffers [4 * 32]sync.Pool

// getBuffer returns n bytes that may hold anything.
func getBuffer(n int) *[]byte {
	class, size := sizeClass(n)
	if b, ok := buffers[class].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, size)
	return &b
}

// putBuffer takes back, once, what getBuffer returned.
func putBuffer(b *[]byte) {
	class, _ := sizeClass(cap(*b))
	buffers[class].Put(b)
}

// sizeClass is the class of n bytes and the capacity its buffers have.
func sizeClass(n int) (class, size int) {
	const min = 1 << 10
	if n < min {
		n = min
	}
	shift := bits.Len(uint(n-1)) - 3 // the three leading bits tell the class
	step := (n - 1) >> shift         // 4 … 7
	return 4*shift + step - 4, (step + 1) << shift
}
