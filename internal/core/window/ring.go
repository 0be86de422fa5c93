package window

import "tlog"

// entry is a record in the window, with what is fixed when it enters.
type entry struct {
	rec   tlog.Record
	chain tlog.Hash // after it
	cum   uint64    // bytes of data of all records up to and including it
}

// ring is a queue of entries that grows by doubling and is indexed from its front.
type ring struct {
	buf  []entry // length 0 or a power of two
	head int
	n    int
}

func (r *ring) at(i int) *entry { return &r.buf[(r.head+i)&(len(r.buf)-1)] }

// push adds an entry at the back and returns it for filling in.
func (r *ring) push() *entry {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.n++
	return r.at(r.n - 1)
}

// drop removes k entries at the front and their references to data.
func (r *ring) drop(k int) {
	for i := range k {
		r.at(i).rec.Data = nil
	}
	r.head = (r.head + k) & max(0, len(r.buf)-1)
	r.n -= k
}

func (r *ring) grow() {
	buf := make([]entry, max(64, 2*len(r.buf)))
	for i := range r.n {
		buf[i] = *r.at(i)
	}
	r.buf, r.head = buf, 0
}
