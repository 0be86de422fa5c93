package client

import (
	"slices"
	"sync"

	"tlog"
)

// chunkBytes is the piece in which memory for copied data is taken and reused.
// A record above a quarter of it gets a piece of its own, so that at most a
// quarter of a chunk is lost at its end; such pieces are whole multiples of
// ownBytes, so that records of about a size use each other's.
const (
	chunkBytes = 256 << 10
	ownBytes   = 64 << 10
)

// memory holds the copies of records' data in chunks: an allocation a chunk
// instead of one a record, and none once the window has been full. Records are
// freed in the order in which they came, and so are chunks.
type memory struct {
	// Owned by the holder of Client.turn.
	chunk []byte        // the newest one
	rest  []byte        // what is left of it
	last  tlog.Sequence // last record in it
	own   []byte        // what take gave last, if that was a piece for one record

	// Owned by Client.mu.
	full  []chunk // older ones, in order
	spare [][]byte
	owns  [][]byte // spare pieces for one record each
	most  int      // bytes that owns may hold: as much as the window
	idle  int      // bytes that it does
}

// chunk is one that takes no more records, and can be reused after last.
type chunk struct {
	buf  []byte
	last tlog.Sequence
	own  bool // it is a piece for one record
}

// take returns n bytes. The bytes stay taken only if used is called.
func (m *memory) take(n int, mu *sync.Mutex) []byte {
	if n > chunkBytes/4 {
		m.own = m.piece(n, mu)
		return m.own[:n:n]
	}
	if n > len(m.rest) {
		m.next(mu)
	}
	return m.rest[:n:n]
}

// used says that what take returned last is now in record s.
func (m *memory) used(s tlog.Sequence, n int, mu *sync.Mutex) {
	if n <= chunkBytes/4 {
		m.rest, m.last = m.rest[n:], s
		return
	}
	mu.Lock()
	defer mu.Unlock()
	m.full = append(m.full, chunk{m.own, s, true})
	m.own = nil
}

// next begins another chunk.
func (m *memory) next(mu *sync.Mutex) {
	mu.Lock()
	if m.chunk != nil {
		m.full = append(m.full, chunk{m.chunk, m.last, false})
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

// piece is memory for one record of n bytes, at most half of it unused.
func (m *memory) piece(n int, mu *sync.Mutex) []byte {
	mu.Lock()
	defer mu.Unlock()
	for i := len(m.owns) - 1; i >= 0; i-- {
		if p := m.owns[i]; len(p) >= n && len(p) <= 2*n {
			m.owns = slices.Delete(m.owns, i, i+1)
			m.idle -= len(p)
			return p
		}
	}
	return make([]byte, (n+ownBytes-1)/ownBytes*ownBytes)
}

// free reuses the chunks whose records are all freed. It is called with mu held.
func (m *memory) free(to tlog.Sequence) {
	n := 0
	for n < len(m.full) && m.full[n].last <= to {
		if c := &m.full[n]; c.own {
			m.keep(c.buf)
		} else {
			m.spare = append(m.spare, c.buf)
		}
		n++
	}
	m.full = slices.Delete(m.full, 0, n)
}

// keep keeps a piece for one record, and lets go of the oldest ones when there
// are too many: records of another size came since.
func (m *memory) keep(p []byte) {
	m.owns = append(m.owns, p)
	m.idle += len(p)
	for m.idle > m.most {
		m.idle -= len(m.owns[0])
		m.owns = slices.Delete(m.owns, 0, 1)
	}
}
