package file

import (
	"slices"
	"sync"
)

// segmentsKept is how many segments stay open for reading: a log is read from
// one end to the other, and its positions beside each other are in one or two.
const segmentsKept = 4

// segments keeps the files open that shards are read from. The bytes of a frame
// never change while its segment has its number.
type segments struct {
	mu     sync.Mutex
	open   []*segment // used last first
	closed bool
}

// segment is an open file. It is closed when nobody uses it and it is not kept.
type segment struct {
	file
	number uint64
	users  int
	kept   bool
}

// use gives the segment, which is opened if it is not; done is called behind it.
func (s *Server) use(number uint64) (*segment, error) {
	c := &s.segments
	if g := c.find(number); g != nil {
		return g, nil
	}
	f, err := s.fs.open(segmentName(number), false)
	if err != nil {
		return nil, err
	}
	return c.add(&segment{file: f, number: number, users: 1}), nil
}

func (c *segments) find(number uint64) *segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, g := range c.open {
		if g.number == number {
			copy(c.open[1:], c.open[:i])
			c.open[0] = g
			g.users++
			return g
		}
	}
	return nil
}

// add keeps g. If another call has opened the same meanwhile, both are kept
// until they are the ones used least.
func (c *segments) add(g *segment) *segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return g
	}
	g.kept = true
	c.open = slices.Insert(c.open, 0, g)
	for len(c.open) > segmentsKept {
		c.drop()
	}
	return g
}

// drop lets go of the segment used least. c.mu is held.
func (c *segments) drop() {
	last := len(c.open) - 1
	g := c.open[last]
	c.open = c.open[:last]
	if g.kept = false; g.users == 0 {
		g.Close() // it was read from only
	}
}

func (c *segments) done(g *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g.users--; g.users == 0 && !g.kept {
		g.Close()
	}
}

// close ends the keeping; what is in use is closed by its last user.
func (c *segments) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for len(c.open) > 0 {
		c.drop()
	}
}
