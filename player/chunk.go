package player

import (
	"math/bits"
	"slices"
)

const (
	chunkShift = 22
	chunkSize  = 1 << chunkShift // bytes
)

// chunk is what is covered of chunkSize bytes: a sorted list of ranges, which
// is small while they are few, or one bit for each unit of 1 << shift bytes,
// which is small while all ranges begin and end at coarse units. It is a list as
// long as that is no longer than the bits.
//
// shift never rises, so the form changes a few times in a chunk's life at most.
type chunk struct {
	words  []uint64 // ranges, disjoint and apart: from << 32 | to; or bits
	shift  uint8    // all ranges ever added began and ended at multiples of 1 << shift
	bitmap bool     // words are bits
	full   bool     // all is covered; words is nil
}

// add covers from…to, relative to base, and appends what was not covered
// before to gaps, in order.
func (k *chunk) add(base uint64, from, to uint32, gaps []span) []span {
	if k.full || from >= to {
		return gaps
	}
	if fine := uint8(bits.TrailingZeros32(from | to)); fine < k.shift {
		if k.bitmap {
			k.words, k.bitmap = k.ranges(), false
		}
		k.shift = fine
	}
	if !k.bitmap {
		gaps = k.insert(base, from, to, gaps)
		if len(k.words) > k.bitWords() {
			k.words, k.bitmap = k.bits(), true
		}
	} else {
		gaps = k.mark(base, from>>k.shift, to>>k.shift, gaps)
	}
	if k.complete() {
		k.words, k.full = nil, true
	}
	return gaps
}

// bitWords is how many words the chunk takes as bits.
func (k *chunk) bitWords() int { return max(1, chunkSize>>k.shift/64) }

func (k *chunk) complete() bool {
	if !k.bitmap {
		return len(k.words) == 1 && k.words[0] == chunkSize
	}
	for _, w := range k.words {
		if w != 1<<64-1 {
			return false
		}
	}
	return true
}

func pack(from, to uint32) uint64 { return uint64(from)<<32 | uint64(to) }

func unpack(w uint64) (from, to uint32) { return uint32(w >> 32), uint32(w) }

// insert is add for a list.
func (k *chunk) insert(base uint64, from, to uint32, gaps []span) []span {
	// The ranges i…j-1 overlap or touch from…to.
	i, _ := slices.BinarySearch(k.words, pack(from, 0))
	if i > 0 && uint32(k.words[i-1]) >= from {
		i--
	}
	first, last, at := from, to, from
	j := i
	for ; j < len(k.words); j++ {
		f, t := unpack(k.words[j])
		if f > to {
			break
		}
		if f > at {
			gaps = emit(gaps, span{base + uint64(at), base + uint64(f)})
		}
		at = max(at, t)
		first, last = min(first, f), max(last, t)
	}
	if at < to {
		gaps = emit(gaps, span{base + uint64(at), base + uint64(to)})
	}
	k.words = slices.Replace(k.words, i, j, pack(first, last))
	return gaps
}

// mark is add for bits, in units.
func (k *chunk) mark(base uint64, from, to uint32, gaps []span) []span {
	for i := from / 64; i*64 < to; i++ {
		mask := ^uint64(0)
		if i == from/64 {
			mask <<= from % 64
		}
		if to < (i+1)*64 {
			mask &= 1<<(to%64) - 1
		}
		fresh := mask &^ k.words[i]
		k.words[i] |= mask
		for fresh != 0 {
			at := uint32(bits.TrailingZeros64(fresh))
			n := uint32(bits.TrailingZeros64(^(fresh >> at)))
			gaps = emit(gaps, span{base + uint64(i*64+at)<<k.shift, base + uint64(i*64+at+n)<<k.shift})
			fresh &^= (1<<n - 1) << at
		}
	}
	return gaps
}

// bits makes bits of a list.
func (k *chunk) bits() []uint64 {
	b := chunk{words: make([]uint64, k.bitWords()), shift: k.shift}
	for _, w := range k.words {
		from, to := unpack(w)
		b.mark(0, from>>k.shift, to>>k.shift, nil)
	}
	return b.words
}

// ranges makes a list of bits.
func (k *chunk) ranges() []uint64 {
	var list []uint64
	for i, w := range k.words {
		for w != 0 {
			at := bits.TrailingZeros64(w)
			n := bits.TrailingZeros64(^(w >> at))
			w &^= (1<<n - 1) << at
			from, to := uint32(i*64+at)<<k.shift, uint32(i*64+at+n)<<k.shift
			if last := len(list) - 1; last >= 0 && uint32(list[last]) == from {
				list[last] = pack(uint32(list[last]>>32), to)
				continue
			}
			list = append(list, pack(from, to))
		}
	}
	return list
}
