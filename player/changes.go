package player

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sort"
)

// Changes calls fn with what of the disk is not as at the other moment of the
// same log, by content, in blocks: data nil means n zeroes. Pieces do not
// overlap and come in no order; data is lent during the call. Of both moments
// each position with data that may differ is read once; that of the other one
// lies in a file without a name meanwhile.
func (p *Past) Changes(ctx context.Context, other *Past, fn func(off, n int64, data []byte) error) (err error) {
	f, err := os.CreateTemp("", "tlog-changes-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c := changes{was: f, fn: fn}
	p.Diff(other, func(off, n int64, data bool) bool {
		c.runs = append(c.runs, run{span{uint64(off), uint64(off + n)}, data})
		return true
	})
	err = os.Remove(f.Name())
	if err == nil {
		err = f.Truncate(int64(max(p.size, other.size)))
	}
	if err == nil {
		err = other.Each(ctx, c.wants, c.keep)
	}
	if err == nil {
		err = c.cleared()
	}
	if err == nil {
		err = p.Each(ctx, c.wants, c.piece)
	}
	return err
}

// changes compares runs that may differ, by content.
type changes struct {
	was  *os.File // the runs at the other moment, at their offsets
	fn   func(off, n int64, data []byte) error
	runs []run  // by offset
	b    []byte // reused
}

// run is bytes that may differ.
type run struct {
	span
	data bool // there is some; false: zeroes
}

func (c *changes) wants(off, n int64) bool {
	i := c.find(uint64(off))
	return i < len(c.runs) && c.runs[i].from < uint64(off+n)
}

// each calls fn with the parts of data, which is the disk's from off, that lie in
// runs.
func (c *changes) each(off int64, data []byte, fn func(off int64, data []byte) error) error {
	s := span{uint64(off), uint64(off) + uint64(len(data))}
	for i := c.find(s.from); i < len(c.runs) && c.runs[i].from < s.to; i++ {
		from, to := max(s.from, c.runs[i].from), min(s.to, c.runs[i].to)
		if err := fn(int64(from), data[from-s.from:to-s.from]); err != nil {
			return err
		}
	}
	return nil
}

// keep keeps what was.
func (c *changes) keep(off int64, data []byte) error {
	return c.each(off, data, func(off int64, data []byte) error {
		_, err := c.was.WriteAt(data, off)
		return err
	})
}

// piece compares what is with what was: there is none in runs of zeroes.
func (c *changes) piece(off int64, data []byte) error {
	return c.each(off, data, func(off int64, data []byte) error {
		return c.compare(off, int64(len(data)), data)
	})
}

// find is the first run that ends after off.
func (c *changes) find(off uint64) int {
	return sort.Search(len(c.runs), func(i int) bool { return c.runs[i].to > off })
}

// compareStep is how much is compared at once, in bytes, and compareBlock the
// blocks in which it is.
const (
	compareStep  = 1 << 20
	compareBlock = 4096
)

// cleared compares the runs that are zero now.
func (c *changes) cleared() error {
	for _, r := range c.runs {
		for at := r.from; !r.data && at < r.to; at += compareStep {
			if err := c.compare(int64(at), int64(min(compareStep, r.to-at)), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare gives fn the blocks of n bytes at off in which the disk, data or zeroes,
// is not what it was. Blocks are whole ones of the disk, but for the ends.
func (c *changes) compare(off, n int64, data []byte) error {
	if int64(len(c.b)) < n {
		c.b = make([]byte, max(n, compareStep))
	}
	was := c.b[:n]
	if _, err := c.was.ReadAt(was, off); err != nil {
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
