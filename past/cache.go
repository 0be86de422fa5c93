package past

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
)

// Source is the content of a moment, in the log.
type Source interface {
	// Size is the disk's, in bytes.
	Size() int64
	// ReadAt reads all of p; bytes that nobody wrote are zero. It is safe for
	// concurrent use.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Extents calls fn for runs in order that cover off…off+n: written data, or
	// zeroes. It ends when fn says false.
	Extents(off, n int64, fn func(off, n int64, data bool) bool)
	// Each calls fn with every piece of data once, in any order; no two overlap.
	// want is asked for each before it is read: false leaves it out. There is one
	// call of fn at a time, and data is lent for it.
	Each(ctx context.Context, want func(off, n int64) bool, fn func(off int64, data []byte) error) error
}

// Progress tells how much of a moment's data is here already.
type Progress struct {
	Done, Total int64 // bytes
}

// How much a cache collects before it writes, so that neighbours cost one
// write, and how much it writes before it syncs and answers for it, in bytes.
const (
	gatherBytes = 8 << 20
	commitBytes = 64 << 20
)

// cache is an image that fills itself with what its Source has:
//
//	Each ─→ take (arena) ─→ write, in order of offsets ─→ commit: sync, then the map
//
// It answers for a block only when that was synced. What a file system takes
// and cannot write later, as on thin storage that is full, it drops: a read
// that trusted the page cache would find zeroes some day.
type cache struct {
	im       *image
	src      Source
	log      *slog.Logger
	progress func(Progress)
	told     Progress

	// Of the one goroutine that fills.
	arena   []byte
	pieces  []piece
	written []span // blocks that are complete, not synced
	unsaved int64  // bytes of them
}

// piece is n bytes at `at` of the arena, for the disk's offset off.
type piece struct {
	off   int64
	at, n int
}

// ReadAt reads what is here from here, and the rest from the log.
func (c *cache) ReadAt(ctx context.Context, p []byte, off int64) error {
	end := off + int64(len(p))
	for at := off; at < end; {
		s, block := c.im.run(at/blockSize, blocksOf(end))
		to := min(end, block*blockSize)
		part := p[at-off : to-off]
		if s != stateData || !c.here(part, at) {
			if err := c.src.ReadAt(ctx, part, at); err != nil {
				return err
			}
		}
		at = to
	}
	return nil
}

// here reads from the file; the log has it too if that fails.
func (c *cache) here(p []byte, off int64) bool {
	err := c.im.usable()
	if err == nil {
		err = c.im.read(p, off)
		if err != nil {
			err = c.im.breakBy(err)
			c.log.Warn("the local image of the moment cannot be read: reads go to the log from now on", "err", err)
		}
	}
	return err == nil
}

// fill brings all data here. It returns when all is, or why it cannot be: reads
// are right in any case.
func (c *cache) fill(ctx context.Context) error {
	c.told = Progress{Total: c.amount(func(off, n int64) int64 { return n })}
	c.told.Done = c.amount(c.held)
	err := c.src.Each(ctx, c.wants, c.take)
	if ctx.Err() == nil || c.im.path != "" { // what came before an error is good
		if left := c.commit(); err == nil {
			err = left
		}
	}
	if err == nil {
		err = c.complete()
	}
	c.arena, c.pieces = nil, nil
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("no room in the local image: %w", err)
	}
	return err
}

// amount adds up what of is of each run of data.
func (c *cache) amount(of func(off, n int64) int64) (sum int64) {
	c.src.Extents(0, c.src.Size(), func(off, n int64, data bool) bool {
		if data {
			sum += of(off, n)
		}
		return true
	})
	return sum
}

// held is how much of a range is here.
func (c *cache) held(off, n int64) (sum int64) {
	for at, end := off, off+n; at < end; {
		s, block := c.im.run(at/blockSize, blocksOf(end))
		to := min(end, block*blockSize)
		if s == stateData {
			sum += to - at
		}
		at = to
	}
	return sum
}

// wants says whether a piece is missing here: in a file that was filled in part
// before much is not.
func (c *cache) wants(off, n int64) bool { return c.held(off, n) < n }

// take copies a piece.
func (c *cache) take(off int64, data []byte) error {
	if c.arena == nil {
		c.arena = make([]byte, 0, gatherBytes)
	}
	if len(c.arena)+len(data) > cap(c.arena) {
		if err := c.write(); err != nil {
			return err
		}
	}
	if len(data) > cap(c.arena) {
		return fmt.Errorf("past: internal error: a piece of %d bytes", len(data))
	}
	c.pieces = append(c.pieces, piece{off, len(c.arena), len(data)})
	c.arena = append(c.arena, data...)
	return nil
}

// write writes what was collected, neighbours at once, and commits when that
// is much.
func (c *cache) write() error {
	slices.SortFunc(c.pieces, func(a, b piece) int { return cmp.Compare(a.off, b.off) })
	var run []byte
	for i := 0; i < len(c.pieces); {
		first := c.pieces[i]
		run = append(run[:0], c.arena[first.at:first.at+first.n]...)
		for i++; i < len(c.pieces) && c.pieces[i].off == first.off+int64(len(run)); i++ {
			run = append(run, c.arena[c.pieces[i].at:c.pieces[i].at+c.pieces[i].n]...)
		}
		if err := c.im.write(run, first.off); err != nil {
			return err
		}
		c.wrote(first.off, int64(len(run)))
	}
	c.arena, c.pieces = c.arena[:0], c.pieces[:0]
	if c.unsaved >= commitBytes {
		return c.commit()
	}
	return nil
}

// wrote notes the blocks that a run has completely. Those of which it has a
// part wait for the end, when all parts are there.
func (c *cache) wrote(off, n int64) {
	end := off + n
	s := span{blocksOf(off), end / blockSize}
	if end == c.im.head.moment.Size {
		s.to = blocksOf(end)
	}
	if s.from < s.to {
		c.written = append(c.written, s)
	}
	c.unsaved += n
}

// commit makes what was written durable, and answers for it from now on.
func (c *cache) commit() error {
	if len(c.pieces) > 0 {
		if err := c.write(); err != nil {
			return err
		}
	}
	if c.unsaved == 0 {
		return nil
	}
	if err := c.im.sync(); err != nil {
		return err
	}
	for _, s := range c.written {
		c.im.mark(s.from, s.to, stateData)
	}
	c.told.Done = min(c.told.Total, c.told.Done+c.unsaved)
	c.written, c.unsaved = c.written[:0], 0
	if c.told.Done < c.told.Total { // all is told when blocks that came in parts count too
		c.progress(c.told)
	}
	return c.save()
}

// complete answers for the blocks that came in parts too: every part is here
// and synced, and between them nobody wrote.
func (c *cache) complete() error {
	c.src.Extents(0, c.src.Size(), func(off, n int64, data bool) bool {
		if data {
			c.im.mark(off/blockSize, blocksOf(off+n), stateData)
		}
		return true
	})
	if err := c.save(); err != nil {
		return err
	}
	c.told.Done = c.told.Total
	c.progress(c.told)
	return nil
}

// save stores the map, if the file will be found again.
func (c *cache) save() error {
	if c.im.path == "" {
		return nil
	}
	return c.im.flush()
}
