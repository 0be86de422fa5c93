package modelcheck

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Result is what exploring one Config showed.
type Result struct {
	States    int  // distinct ones
	Depth     int  // moves up to which there was nothing else
	Complete  bool // there are no more within the bounds
	Moves     int
	Commits   int // over all moves
	Takeovers int
	Surveys   int
	Violation *Violation // nil: none
}

// Violation is a promise that was broken, and the way to it: the shortest, if
// it is near.
type Violation struct {
	What  string
	Trace []string
}

// node is how a state was reached.
type node struct {
	parent uint32
	by     move
}

// place is a state that is to be explored.
type place struct {
	s  *state
	at uint32
}

// search is an exploration on its way.
type search struct {
	*checker
	nodes []node
	seen  map[uint64]struct{}
	list  []move
	next  []place // found, to be explored
}

// Explore looks at the states that Config allows, nearest first. If they are
// more than Limit, the second half of those that it looks at are far ones.
// It ends when a promise is broken.
func Explore(cfg Config) (Result, error) {
	if err := cfg.check(); err != nil {
		return Result{}, err
	}
	x := &search{checker: newChecker(cfg), nodes: []node{{}}, seen: map[uint64]struct{}{}}
	first := x.initial()
	var h uint64
	h, x.buf = first.hash(cfg.P, x.buf)
	x.seen[h] = struct{}{}
	rest := x.near([]place{{first, 0}})
	x.far(rest)
	x.States = len(x.nodes)
	return x.Result, nil
}

// near explores level by level, so that the first violation has the shortest
// trace. It gives what it did not explore.
func (x *search) near(level []place) []place {
	for ; len(level) > 0; x.Depth++ {
		x.next = nil
		for i := range level {
			from := level[i]
			level[i].s = nil
			if x.expand(from) {
				return nil
			}
			if x.cfg.Limit > 0 && len(x.nodes) >= x.cfg.Limit/2 {
				return append(level[i+1:], x.next...)
			}
		}
		level = x.next
	}
	x.Complete = true
	return nil
}

// far goes on from any place as far as it leads, then from any other.
func (x *search) far(rest []place) {
	const turns = 2000 // until it begins at another place
	rng := rand.New(rand.NewPCG(x.cfg.Seed, 0))
	x.next = rest
	for n := 0; len(x.next) > 0 && len(x.nodes) < x.cfg.Limit; n++ {
		last := len(x.next) - 1
		any := last
		if n%turns == 0 {
			any = rng.IntN(last + 1)
		} else if last > 8 {
			any = last - rng.IntN(8)
		}
		from := x.next[any]
		x.next[any] = x.next[last]
		x.next[last] = place{}
		x.next = x.next[:last]
		if x.expand(from) {
			return
		}
	}
	x.Complete = x.Complete || len(x.next) == 0 && x.Violation == nil
}

// expand makes every move there is. It reports whether a promise was broken.
func (x *search) expand(from place) bool {
	x.list = x.moves(from.s, x.list[:0])
	for _, m := range x.list {
		s, broken := x.apply(from.s, m)
		x.Moves++
		if broken != "" {
			x.nodes = append(x.nodes, node{from.at, m})
			x.Violation = x.violation(x.nodes, broken)
			return true
		}
		var h uint64
		if h, x.buf = s.hash(x.cfg.P, x.buf); has(x.seen, h) {
			continue
		}
		x.seen[h] = struct{}{}
		x.next = append(x.next, place{s, uint32(len(x.nodes))})
		x.nodes = append(x.nodes, node{from.at, m})
	}
	return false
}

func has(seen map[uint64]struct{}, h uint64) bool {
	_, ok := seen[h]
	return ok
}

// initial is the state in which exploring begins.
func (c *checker) initial() *state {
	s := &state{left: budget{
		timeouts: uint8(c.cfg.Timeouts), repeats: uint8(c.cfg.Repeats), hedges: uint8(c.cfg.Hedges), crashes: uint8(c.cfg.Crashes),
		downs: uint8(c.cfg.Downs), wiped: uint8(c.cfg.Wiped), rotten: uint8(c.cfg.Rotten), replaced: uint8(c.cfg.Replaced),
	}}
	if !c.cfg.Opened {
		return s
	}
	s, _ = c.apply(s, move{what: start})
	for len(s.net) > 0 {
		s, _ = c.apply(s, move{what: deliver})
	}
	return s
}

// violation makes the moves again, and writes down what happens.
func (c *checker) violation(nodes []node, what string) *Violation {
	var path []move
	for at := len(nodes) - 1; at > 0; at = int(nodes[at].parent) {
		path = append(path, nodes[at].by)
	}
	slices.Reverse(path)
	v := &Violation{What: what}
	s := c.initial()
	c.log = func(line string) { v.Trace = append(v.Trace, line) }
	if c.cfg.Opened {
		c.log("owner A has fenced all servers, and its barrier A1 is committed")
	}
	for i, m := range path {
		c.log(fmt.Sprintf("-- %d", i+1))
		s, _ = c.apply(s, m)
	}
	return v
}
