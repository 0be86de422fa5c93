package takeover

import (
	"encoding/binary"
	"slices"
)

// Clone gives a machine that goes on from here independently of m.
func (m *Machine) Clone() *Machine {
	c := *m
	c.out = nil
	c.round.waiting = slices.Clone(m.round.waiting)
	c.round.voted = slices.Clone(m.round.voted)
	c.voters = slices.Clone(m.voters)
	c.page = slices.Clone(m.page) // what a server claimed is never changed
	c.from = slices.Clone(m.from)
	for i, x := range m.from {
		y := *x
		y.good = slices.Clone(x.good)
		c.from[i] = &y
		if x == m.chosen {
			c.chosen = &y
		}
	}
	return &c
}

// AppendState appends to b what m will decide by. Two machines of the same
// Config that append the same answer the same events with the same actions.
func (m *Machine) AppendState(b []byte) []byte {
	r := &m.round
	b = appendInts(b, uint64(m.phase), uint64(r.id), uint64(r.asked), uint64(r.open), uint64(r.good), uint64(m.attempt),
		uint64(m.epoch), uint64(m.head), uint64(m.commit), uint64(m.pageEnd), uint64(m.at), uint64(m.appended))
	b = appendFlags(b, r.started, r.grace, m.behind, m.complete)
	b = appendFlags(b, r.waiting...)
	b = appendFlags(b, r.voted...)
	b = appendFlags(b, m.voters...)
	b = append(b, m.prev[:]...)
	for _, metas := range m.page {
		b = appendInts(b, uint64(len(metas)))
		for _, x := range metas {
			b = appendInts(b, uint64(x.Position), uint64(x.Epoch), uint64(x.Index))
			b = append(b, x.Digest[:]...)
		}
	}
	if m.phase != shards && m.phase != verifying {
		return b // what was chosen before is not looked at again
	}
	for i, c := range m.from {
		b = appendFlags(b, c == m.chosen, c.prevSet)
		b = appendInts(b, uint64(i), uint64(c.Epoch))
		b = append(b, c.Digest[:]...)
		b = append(b, c.prev[:]...)
		b = appendFlags(b, c.good...)
		for _, index := range c.Index {
			b = appendInts(b, uint64(index+1))
		}
	}
	return b
}

func appendInts(b []byte, list ...uint64) []byte {
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendFlags(b []byte, list ...bool) []byte {
	b = append(b, byte(len(list)))
	for _, f := range list {
		if f {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}
