package stor

import "tlog/internal/reuse"

// Memory is what reading positions needs: the shards as they arrive, and their
// join. It is used again from one ReadInto to the next, and by one at a time;
// what ReadInto returned is valid until the next one. The zero value is ready.
//
// Who has a buffer, when:
//
//	Memory ─→ a request (buffer) ─→ its answer ─→ bodies, until joined ─→ Memory
//	                  └─ the read ends without its answer: nobody, it is garbage
//
// So a request that is slow, or goes on behind its context, writes into memory
// that no other request has.
type Memory struct {
	spare  [][]byte // buffers of shards
	head   []byte
	joined []byte
}

// Size is how many bytes are kept.
func (m *Memory) Size() int {
	n := cap(m.head) + cap(m.joined)
	for _, b := range m.spare {
		n += cap(b)
	}
	return n
}

// buffer gives a spare buffer, or nil.
func (m *Memory) buffer() []byte {
	if m == nil || len(m.spare) == 0 {
		return nil
	}
	last := len(m.spare) - 1
	b := m.spare[last]
	m.spare = m.spare[:last]
	return b
}

// begin ends the validity of what was read before.
func (m *Memory) begin() {
	reuse.Poison(m.head)
	reuse.Poison(m.joined)
}

// keep takes a buffer that nobody uses any more, if a read needs so many.
func (m *Memory) keep(b []byte, most int) {
	if cap(b) > 0 && len(m.spare) < most {
		reuse.Poison(b)
		m.spare = append(m.spare, b)
	}
}

// grown gives n bytes that may hold anything, of b if it has them.
func grown(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
