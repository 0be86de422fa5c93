package player

import "slices"

// coverage is a set of byte ranges: what of a disk is final already. Ranges
// are kept sorted, disjoint and apart; its size grows with the fragmentation
// of the disk, not with the log.
type coverage struct {
	r     []span
	bytes uint64
}

// span is the bytes from…to, to excluded.
type span struct{ from, to uint64 }

// add covers s and returns the parts of it that were not covered before, in
// order, appended to gaps.
func (c *coverage) add(s span, gaps []span) []span {
	if s.from >= s.to {
		return gaps
	}
	// The ranges i…j-1 overlap or touch s.
	i, _ := slices.BinarySearchFunc(c.r, s.from, func(r span, from uint64) int {
		if r.to < from {
			return -1
		}
		return 1
	})
	merged := s
	at := s.from
	j := i
	for ; j < len(c.r) && c.r[j].from <= s.to; j++ {
		if r := c.r[j]; r.from > at {
			gaps = append(gaps, span{at, r.from})
			c.bytes += r.from - at
		}
		at = max(at, c.r[j].to)
		merged.from = min(merged.from, c.r[j].from)
		merged.to = max(merged.to, c.r[j].to)
	}
	if at < s.to {
		gaps = append(gaps, span{at, s.to})
		c.bytes += s.to - at
	}
	c.r = slices.Replace(c.r, i, j, merged)
	return gaps
}
