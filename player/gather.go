package player

import (
	"cmp"
	"slices"
)

// gather collects what a restore writes and hands it to the target in order of
// offsets, neighbours in one write: a log of small random writes would
// otherwise cost a system call a record, in the worst order for any disk.
//
// Pieces never overlap. Data is copied: a position's memory is given back
// before its bytes are written.
type gather struct {
	target Target
	arena  []byte  // the pieces' data, in the order they came
	pieces []piece // data aliases arena
	run    []byte  // one write in the making
}

type piece struct {
	off  uint64
	data []byte
}

// Sizes in bytes: how much is collected, and the longest single write.
const (
	gatherSize = 32 << 20
	runSize    = 1 << 20
)

// add takes a piece of at most tlog.MaxRecordData bytes.
func (g *gather) add(off uint64, data []byte) error {
	if g.arena == nil {
		g.arena = make([]byte, 0, gatherSize)
	}
	if len(g.arena)+len(data) > cap(g.arena) {
		if err := g.flush(); err != nil {
			return err
		}
	}
	at := len(g.arena)
	g.arena = append(g.arena, data...)
	g.pieces = append(g.pieces, piece{off, g.arena[at:]})
	return nil
}

// flush writes all that was collected.
func (g *gather) flush() error {
	slices.SortFunc(g.pieces, func(a, b piece) int { return cmp.Compare(a.off, b.off) })
	for i := 0; i < len(g.pieces); {
		n, size := 1, len(g.pieces[i].data)
		for i+n < len(g.pieces) {
			next := &g.pieces[i+n]
			if next.off != g.pieces[i].off+uint64(size) || size+len(next.data) > runSize {
				break
			}
			size += len(next.data)
			n++
		}
		if err := g.write(g.pieces[i : i+n]); err != nil {
			return err
		}
		i += n
	}
	clear(g.pieces)
	g.pieces, g.arena = g.pieces[:0], g.arena[:0]
	return nil
}

// write writes neighbours at once.
func (g *gather) write(run []piece) error {
	data := run[0].data
	if len(run) > 1 {
		g.run = g.run[:0]
		for _, p := range run {
			g.run = append(g.run, p.data...)
		}
		data = g.run
	}
	_, err := g.target.WriteAt(data, int64(run[0].off))
	return err
}
