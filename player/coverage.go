package player

// coverage is a set of byte ranges: what of a disk is final already. The disk
// is looked at in chunks, so that a range in the middle of many costs no more
// than one at their end; a chunk is in memory only once something of it is
// covered. Of a disk that is written in blocks of 4 KiB a chunk takes 200 bytes
// at most, 50 MiB for each TiB, however long the log is.
type coverage struct {
	chunks map[uint64]*chunk // by offset / chunkSize
	bytes  uint64
}

// span is the bytes from…to, to excluded.
type span struct{ from, to uint64 }

// add covers s and returns the parts of it that were not covered before, in
// order, appended to gaps.
func (c *coverage) add(s span, gaps []span) []span {
	before := len(gaps)
	for at := s.from; at < s.to; {
		number := at / chunkSize
		base := number * chunkSize
		end := min(s.to, base+chunkSize)
		gaps = c.chunk(number).add(base, uint32(at-base), uint32(end-base), gaps)
		at = end
	}
	for _, g := range gaps[before:] {
		c.bytes += g.to - g.from
	}
	return gaps
}

func (c *coverage) chunk(number uint64) *chunk {
	k := c.chunks[number]
	if k == nil {
		if c.chunks == nil {
			c.chunks = map[uint64]*chunk{}
		}
		k = &chunk{shift: chunkShift}
		c.chunks[number] = k
	}
	return k
}

// emit appends a gap, or makes the last one longer if it goes on there.
func emit(gaps []span, g span) []span {
	if n := len(gaps); n > 0 && gaps[n-1].to == g.from {
		gaps[n-1].to = g.to
		return gaps
	}
	return append(gaps, g)
}
