package reuse

import "math/bits"

// Buffer is memory of a size class. Its owner may change Bytes within its
// capacity, and must not put another slice in its place.
type Buffer struct {
	Bytes []byte

	class int
}

// Buffers recycles buffers by size class, four classes to each power of two, so
// that at most a fifth of one is unused, and one of 1.5 MiB is neither kept for
// one of 100 KiB nor rounded up to 2 MiB. The zero value is ready.
type Buffers struct {
	classes [4 * 32]shelf[Buffer]
}

// Poison fills memory that its owner keeps and whose bytes nobody may look at
// any more. It does nothing without the tag invariants.
func Poison(b []byte) { poison(b[:cap(b)]) }

// minSize is the capacity of the smallest class.
const minSize = 1 << 10

// Get gives a buffer of n bytes, below 4 GiB, to the caller.
func (b *Buffers) Get(n int) *Buffer {
	class, size := sizeClass(n)
	v := b.classes[class].take()
	if v == nil {
		v = &Buffer{Bytes: make([]byte, size), class: class}
		poison(v.Bytes)
	}
	v.Bytes = v.Bytes[:n]
	return v
}

// Put takes v back.
func (b *Buffers) Put(v *Buffer) {
	if _, size := sizeClass(cap(v.Bytes)); cap(v.Bytes) != size {
		panic("internal error: reuse: a buffer with another slice than its own")
	}
	v.Bytes = v.Bytes[:cap(v.Bytes)]
	b.classes[v.class].put(v, v.Bytes)
}

// Size is the memory that a buffer of n bytes takes.
func Size(n int) int {
	_, size := sizeClass(n)
	return size
}

// sizeClass is the class of n bytes and the capacity its buffers have.
func sizeClass(n int) (class, size int) {
	n = max(n, minSize)
	shift := bits.Len(uint(n-1)) - 3 // the three leading bits tell the class
	step := (n - 1) >> shift         // 4 … 7
	return 4*shift + step - 4, (step + 1) << shift
}
