package player

import (
	"cmp"
	"slices"
)

// gather collects what a restore writes and hands it to the target in order of
// offsets, neighbours in one write: a log of small random writes would
// otherwise cost a system call a record, in the worst order for any disk.
//
//	add ─→ load (being filled) ─→ write, on a goroutine, while the other load is filled
//
// An arena is filled from its end: a restore sees the newest records first, so
// a disk that was written from its beginning to its end lies there in order,
// and is written from there.
//
// Pieces never overlap. Data is copied: a position's memory is given back
// before its bytes are written. The target has one call at a time.
type gather struct {
	target  Target
	loads   [2]load
	filling int        // of loads
	writing chan error // of the other one; nil: it is not being written
}

// load is pieces that are written together.
type load struct {
	arena  []byte // the pieces' data, the last that came first, from unused on
	unused int
	pieces []piece
	run    []byte // one write in the making
}

// piece is n bytes at `at` of the arena, for the disk's offset off.
type piece struct {
	off   uint64
	at, n int
}

// How much a load has, in bytes and in pieces, and the longest single write.
const (
	loadSize   = 16 << 20
	loadPieces = 64 << 10
	runSize    = 1 << 20
)

// add takes a piece of at most tlog.MaxRecordData bytes. An error may be one of
// pieces that came before.
func (g *gather) add(off uint64, data []byte) error {
	l := &g.loads[g.filling]
	if l.arena != nil && len(data) > l.unused || len(l.pieces) == loadPieces {
		if err := g.begin(); err != nil {
			return err
		}
		l = &g.loads[g.filling]
	}
	if l.arena == nil {
		l.arena, l.unused = make([]byte, loadSize), loadSize
	}
	l.unused -= len(data)
	copy(l.arena[l.unused:], data)
	l.pieces = append(l.pieces, piece{off, l.unused, len(data)})
	return nil
}

// begin begins to write what was collected, when the load before is written.
func (g *gather) begin() error {
	if err := g.wait(); err != nil {
		return err
	}
	l, done := &g.loads[g.filling], make(chan error, 1)
	g.writing = done
	go func() { done <- l.flush(g.target) }()
	g.filling = 1 - g.filling
	return nil
}

// wait returns when nothing is being written.
func (g *gather) wait() error {
	if g.writing == nil {
		return nil
	}
	err := <-g.writing
	g.writing = nil
	return err
}

// flush writes all that was collected.
func (g *gather) flush() error {
	if err := g.begin(); err != nil {
		return err
	}
	return g.wait()
}

// flush writes the pieces and forgets them.
func (l *load) flush(t Target) error {
	slices.SortFunc(l.pieces, func(a, b piece) int { return cmp.Compare(a.off, b.off) })
	for i := 0; i < len(l.pieces); {
		n, size := 1, l.pieces[i].n
		for i+n < len(l.pieces) {
			next := &l.pieces[i+n]
			if next.off != l.pieces[i].off+uint64(size) || size+next.n > runSize {
				break
			}
			size += next.n
			n++
		}
		if err := l.write(t, l.pieces[i:i+n]); err != nil {
			return err
		}
		i += n
	}
	l.pieces, l.unused = l.pieces[:0], len(l.arena)
	return nil
}

// write writes neighbours at once.
func (l *load) write(t Target, run []piece) error {
	from, end, size := run[0].at, run[0].at, 0
	for _, p := range run {
		size += p.n
		if p.at == end { // it follows in memory too
			end += p.n
		}
	}
	data := l.arena[from:end]
	if len(data) < size {
		l.run = l.run[:0]
		for _, p := range run {
			l.run = append(l.run, l.arena[p.at:p.at+p.n]...)
		}
		data = l.run
	}
	_, err := t.WriteAt(data, int64(run[0].off))
	return err
}
