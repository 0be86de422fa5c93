package player

import (
	"bytes"
	"context"
	"sort"
)

// Changes calls fn with what of the disk is not as at the other moment of the
// same log, by content, in blocks: data nil means n zeroes. Pieces do not
// overlap and come in no order; data is lent during the call. Of this moment each
// position with changed data is read once, of the other only what may differ.
func (p *Past) Changes(ctx context.Context, other *Past, fn func(off, n int64, data []byte) error) error {
	c := changes{other: other, fn: fn}
	p.Diff(other, func(off, n int64, data bool) bool {
		runs := &c.zeroes
		if data {
			runs = &c.data
		}
		*runs = append(*runs, span{uint64(off), uint64(off + n)})
		return true
	})
	if err := c.cleared(ctx); err != nil {
		return err
	}
	want := func(off, n int64) bool {
		i := c.find(uint64(off))
		return i < len(c.data) && c.data[i].from < uint64(off+n)
	}
	return p.Each(ctx, want, func(off int64, data []byte) error {
		s := span{uint64(off), uint64(off) + uint64(len(data))}
		for i := c.find(s.from); i < len(c.data) && c.data[i].from < s.to; i++ {
			from, to := max(s.from, c.data[i].from), min(s.to, c.data[i].to)
			if err := c.compare(ctx, int64(from), int64(to-from), data[from-s.from:to-s.from]); err != nil {
				return err
			}
		}
		return nil
	})
}

// changes compares runs that may differ, by content.
type changes struct {
	other  *Past
	fn     func(off, n int64, data []byte) error
	data   []span // runs with data, by offset
	zeroes []span // runs that are zero at this moment
	was    []byte // reused
}

// find is the first run with data that ends after off.
func (c *changes) find(off uint64) int {
	return sort.Search(len(c.data), func(i int) bool { return c.data[i].to > off })
}

// compareStep is how much is compared at once, in bytes, and compareBlock the
// blocks in which it is.
const (
	compareStep  = 1 << 20
	compareBlock = 4096
)

// cleared compares the runs that are zero now.
func (c *changes) cleared(ctx context.Context) error {
	for _, s := range c.zeroes {
		for at := s.from; at < s.to; at += compareStep {
			if err := c.compare(ctx, int64(at), int64(min(compareStep, s.to-at)), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare gives fn the blocks of n bytes at off in which the disk, data or zeroes,
// is not what it was. Blocks are whole ones of the disk, but for the ends.
func (c *changes) compare(ctx context.Context, off, n int64, data []byte) error {
	if int64(len(c.was)) < n {
		c.was = make([]byte, max(n, compareStep))
	}
	was := c.was[:n]
	// What lies beyond the other disk was nothing.
	inside := min(max(c.other.Size()-off, 0), n)
	clear(was[inside:])
	if err := c.other.ReadAt(ctx, was[:inside], off); err != nil {
		return err
	}
	from, to := int64(0), int64(0) // the run that is collected
	put := func() error {
		if from == to {
			return nil
		}
		if data == nil {
			return c.fn(off+from, to-from, nil)
		}
		return c.fn(off+from, to-from, data[from:to])
	}
	for at := int64(0); at < n; {
		end := min(n, at+compareBlock-(off+at)%compareBlock)
		if !c.equal(was[at:end], data, at, end) {
			if at != to {
				if err := put(); err != nil {
					return err
				}
				from = at
			}
			to = end
		}
		at = end
	}
	return put()
}

var noBytes [compareBlock]byte

func (c *changes) equal(was, data []byte, at, end int64) bool {
	if data == nil {
		return bytes.Equal(was, noBytes[:end-at])
	}
	return bytes.Equal(was, data[at:end])
}
