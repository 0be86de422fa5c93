package schema

import (
	"encoding/binary"
	"slices"
)

// The few words of the Cap'n Proto encoding that our encoders need
// (https://capnproto.org/encoding.html). Writing them by hand costs nothing on
// the hot path, and gives the same bytes whatever the library's version.

const (
	wordSize = 8

	// headerSize is the stream framing of one segment.
	headerSize = 8

	elemByte      = 2 // list of bytes: Data, Text, List(UInt8)
	elemWord      = 5 // list of 8 bytes: List(UInt64)
	elemComposite = 7 // list of structs, behind a tag word
)

// padded is n rounded up to whole words.
func padded(n int) int { return (n + wordSize - 1) &^ (wordSize - 1) }

// structPointer points to a struct that starts skip words behind the pointer.
func structPointer(skip, dataWords, pointers int) uint64 {
	return uint64(uint32(skip)<<2) | uint64(dataWords)<<32 | uint64(pointers)<<48
}

// listPointer points to a list that starts skip words behind the pointer.
// count is of elements, or of words if elem is elemComposite.
func listPointer(skip int, elem uint, count int) uint64 {
	return uint64(uint32(skip)<<2|1) | uint64(elem)<<32 | uint64(count)<<35
}

// builder appends one framed message of one segment: a root struct whose
// pointers lead to flat lists, in the order in which they are set. Offsets of
// data fields count bytes from the struct's start, as the compiler prints them.
type builder struct {
	buf   []byte
	frame int // where the frame starts in buf
	data  int // the root's data section
	ptrs  int // the root's pointers
}

func newBuilder(dst []byte, dataWords, pointers int) builder {
	frame := len(dst)
	dst = extend(dst, headerSize+wordSize*(1+dataWords+pointers))
	binary.LittleEndian.PutUint64(dst[frame+headerSize:], structPointer(0, dataWords, pointers))
	data := frame + headerSize + wordSize
	return builder{dst, frame, data, data + wordSize*dataWords}
}

// extend appends n zero bytes.
func extend(dst []byte, n int) []byte {
	l := len(dst)
	dst = slices.Grow(dst, n)[:l+n]
	clear(dst[l:])
	return dst
}

func (b *builder) u8(off int, v uint8)   { b.buf[b.data+off] = v }
func (b *builder) u32(off int, v uint32) { binary.LittleEndian.PutUint32(b.buf[b.data+off:], v) }
func (b *builder) u64(off int, v uint64) { binary.LittleEndian.PutUint64(b.buf[b.data+off:], v) }

func (b *builder) bit(n int, v bool) {
	if v {
		b.buf[b.data+n/8] |= 1 << (n % 8)
	}
}

// point sets pointer i to the end of what is written.
func (b *builder) point(i int, elem uint, count int) {
	at := b.ptrs + i*wordSize
	skip := (len(b.buf) - at - wordSize) / wordSize
	binary.LittleEndian.PutUint64(b.buf[at:], listPointer(skip, elem, count))
}

// bytes sets pointer i to a copy of p; it stays null if p is empty.
func (b *builder) bytes(i int, p []byte) {
	if len(p) == 0 {
		return
	}
	b.point(i, elemByte, len(p))
	b.buf = append(b.buf, p...)
	b.pad(len(p))
}

// text sets pointer i to s, which the encoding ends with a zero byte.
func (b *builder) text(i int, s string) {
	if s == "" {
		return
	}
	b.point(i, elemByte, len(s)+1)
	b.buf = append(b.buf, s...)
	b.buf = append(b.buf, 0)
	b.pad(len(s) + 1)
}

// words sets pointer i to v. An empty list is not a null pointer: version 1
// writes it so.
func (b *builder) words(i int, v []uint64) {
	b.point(i, elemWord, len(v))
	for _, w := range v {
		b.buf = binary.LittleEndian.AppendUint64(b.buf, w)
	}
}

func (b *builder) pad(n int) { b.buf = extend(b.buf, padded(n)-n) }

// end fills in the framing and returns dst with the frame behind it.
func (b *builder) end() []byte {
	words := (len(b.buf) - b.frame - headerSize) / wordSize
	binary.LittleEndian.PutUint32(b.buf[b.frame+4:], uint32(words))
	return b.buf
}
