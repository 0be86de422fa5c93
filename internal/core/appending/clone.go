package appending

import (
	"encoding/binary"
	"slices"
)

// Clone gives a machine that goes on from here independently of m.
func (m *Machine) Clone() *Machine {
	c := *m
	c.out = nil
	c.servers = slices.Clone(m.servers)
	c.open = slices.Clone(m.open)
	for i, p := range m.open {
		if p != nil {
			c.open[i] = p.clone()
		}
	}
	return &c
}

func (p *position) clone() *position {
	c := *p
	c.shares = slices.Clone(p.shares)
	n := len(p.holders)
	counts := make([]int, 0, 3*n)
	counts = append(append(append(counts, p.holders...), p.live...), p.late...)
	c.holders, c.live, c.late = counts[:n], counts[n:2*n], counts[2*n:]
	return &c
}

// AppendState appends to b what m will decide by. Two machines of the same
// Config that append the same answer the same events with the same actions,
// but for how long a Wait is: that depends on failures in the past.
func (m *Machine) AppendState(b []byte) []byte {
	b = appendInts(b, int(m.first), int(m.next), int(m.committed))
	b = appendFlags(b, m.dead)
	for _, sv := range m.servers {
		b = appendInts(b, int(sv.state), sv.late)
	}
	for _, p := range m.open {
		if p == nil {
			b = appendFlags(b)
			continue
		}
		b = appendFlags(b, p.hedging, p.committed, p.answered)
		for _, sh := range p.shares {
			b = appendInts(b, int(sh.phase), sh.index+1)
			b = appendFlags(b, sh.valid, sh.damaged, sh.late, sh.data, sh.pinned)
		}
		// The counts follow from the shares.
	}
	return b
}

func appendInts(b []byte, list ...int) []byte {
	for _, n := range list {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func appendFlags(b []byte, list ...bool) []byte {
	flags := byte(0)
	for i, f := range list {
		if f {
			flags |= 1 << i
		}
	}
	return append(b, byte(len(list)), flags)
}
