package client

import (
	"sync"

	"tlog"
)

// chunkBytes is the piece in which memory for copied data is taken and reused.
// A record above a quarter of it gets memory of its own, so that at most a
// quarter of a chunk is lost at its end.
const chunkBytes = 256 << 10

// memory holds the copies of records' data in chunks: an allocation a chunk
// instead of one a record, and none once the window has been full. Records are
// freed in the order in which they came, and so are chunks.
type memory struct {
	// Owned by the holder of Client.turn.
	chunk []byte        // the newest one
	rest  []byte        // what is left of it
	last  tlog.Sequence // last record in it

	// Owned by Client.mu.
	full  []chunk // older ones, in order
	spare [][]byte
}

// chunk is one that takes no more records, and can be reused after last.
type chunk struct {
	buf  []byte
	last tlog.Sequence
}

// take returns n bytes. The bytes stay taken only if used is called.
func (m *memory) take(n int, mu *sync.Mutex) []byte {
	if n > chunkBytes/4 {
		return make([]byte, n)
	}
	if n > len(m.rest) {
		m.next(mu)
	}
	return m.rest[:n:n]
}

// used says that what take returned last is now in record s.
func (m *memory) used(s tlog.Sequence, n int) {
	if n <= chunkBytes/4 {
		m.rest, m.last = m.rest[n:], s
	}
}

// next begins another chunk.
func (m *memory) next(mu *sync.Mutex) {
	mu.Lock()
	if m.chunk != nil {
		m.full = append(m.full, chunk{m.chunk, m.last})
	}
	m.chunk = nil
	if n := len(m.spare); n > 0 {
		m.chunk, m.spare = m.spare[n-1], m.spare[:n-1]
	}
	mu.Unlock()
	if m.chunk == nil {
		m.chunk = make([]byte, chunkBytes)
	}
	m.rest = m.chunk
}

// free reuses the chunks whose records are all freed. It is called with mu held.
func (m *memory) free(to tlog.Sequence) {
	n := 0
	for n < len(m.full) && m.full[n].last <= to {
		m.spare = append(m.spare, m.full[n].buf)
		n++
	}
	m.full = append(m.full[:0], m.full[n:]...)
}
