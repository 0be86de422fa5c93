package player

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"tlog"
	"tlog/aggregate"
)

// cache holds decoded positions of a Past for reads in any order.
//
//	read ─→ get: there ──────────────────→ copy ─→ put
//	 │        └─→ not there: load, once ─→ ┘
//	 └─→ peek: of a position of which little is read, records by themselves
//
// Its memory is bounded by the log's Config.Memory, and its loads by Readers. A
// position in use is never dropped, so a few more than fit may be there.
type cache struct {
	past *Past
	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup
	load chan struct{} // a place for each load under way

	mu      sync.Mutex
	closed  bool
	entries map[uint32]*entry
	peeks   map[uint32]uint32 // records of a position that were read by themselves
	used    []*entry          // not in use, the longest unused first
	free    []*room
	bytes   int
}

// entry is a position, on its way or there.
type entry struct {
	at    uint32
	room  *room
	agg   *aggregate.Aggregation
	err   error
	ready chan struct{}
	users int // guarded by the cache's mu
}

var errClosed = errors.New("the moment was closed")

func newCache(p *Past) *cache {
	c := &cache{past: p, load: make(chan struct{}, p.log.readers), entries: map[uint32]*entry{}, peeks: map[uint32]uint32{}}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	return c
}

func (c *cache) close() {
	c.mu.Lock()
	c.closed = true // no load begins any more
	c.mu.Unlock()
	c.stop(errClosed)
	c.wg.Wait()
}

// read copies what segments have of b, which is the disk's bytes from off.
func (c *cache) read(ctx context.Context, segments []uint32, b []byte, off uint64) error {
	if len(segments) == 0 {
		return nil
	}
	// Each position once, as many on their way as may be while one is waited for.
	mine := slices.Clone(segments)
	slices.Sort(mine)
	groups, err := c.readAlone(ctx, c.groups(mine), b, off)
	if err != nil {
		return err
	}
	for i, ahead := 0, 1; i < len(groups); i++ {
		for ; ahead < min(len(groups), i+cap(c.load)); ahead++ {
			c.put(c.get(c.at(groups[ahead][0])))
		}
		e := c.get(c.at(groups[i][0]))
		err := e.wait(ctx)
		for _, n := range groups[i] {
			if err == nil {
				err = c.past.copy(n, e.agg, b, off)
			}
		}
		c.put(e)
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cache) at(n uint32) uint32 { return c.past.records[c.past.segments[n].rec].at }

// groups groups segments by position.
func (c *cache) groups(segments []uint32) [][]uint32 {
	var groups [][]uint32
	for len(segments) > 0 {
		n := 1
		for n < len(segments) && c.at(segments[n]) == c.at(segments[0]) {
			n++
		}
		groups = append(groups, segments[:n])
		segments = segments[n:]
	}
	return groups
}

// readAlone reads what is better read record by record, and returns the rest.
func (c *cache) readAlone(ctx context.Context, groups [][]uint32, b []byte, off uint64) (rest [][]uint32, err error) {
	var alone [][]uint32
	for _, g := range groups {
		if c.peekable(g) {
			alone = append(alone, g)
		} else {
			rest = append(rest, g)
		}
	}
	var mu sync.Mutex // of rest
	err = abreast(min(len(alone), cap(c.load)), len(alone), func(i int) error {
		if err := c.peek(ctx, alone[i], b, off); err != nil {
			mu.Lock()
			rest = append(rest, alone[i])
			mu.Unlock()
		}
		return context.Cause(ctx)
	})
	return rest, err
}

// peekable reports whether a group's records are read by themselves: the
// position is not there, and too little of it was read that way so far.
func (c *cache) peekable(group []uint32) bool {
	at := c.at(group[0])
	records, _ := c.past.recordsIn(group)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[at] != nil {
		return false
	}
	if !c.past.living[at].alone(records, int(c.peeks[at])) {
		delete(c.peeks, at)
		return false
	}
	c.peeks[at] += uint32(len(records))
	return true
}

// recordsIn is the records of segments of one position, in order, and for each
// segment which of them is its.
func (p *Past) recordsIn(segments []uint32) (records []alive, of []int) {
	last := uint32(math.MaxUint32)
	for _, n := range segments {
		if rec := p.segments[n].rec; rec != last {
			last = rec
			records = append(records, p.records[rec])
		}
		of = append(of, len(records)-1)
	}
	return records, of
}

// peek reads the records of a group by themselves.
func (c *cache) peek(ctx context.Context, group []uint32, b []byte, off uint64) error {
	p := c.past
	records, of := p.recordsIn(group)
	list := []picked{{at: &p.living[records[0].at], records: records}}
	if p.log.peek(ctx, list, nil); list[0].err != nil {
		return list[0].err
	}
	for i, n := range group {
		s := &p.segments[n]
		overlap(list[0].data[of[i]][s.from-records[of[i]].off:][:s.n], s.from, b, off)
	}
	return nil
}

// get is a position in use, there or on its way; put ends the use.
func (c *cache) get(at uint32) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[at]; e != nil {
		if e.users == 0 {
			c.used = slices.DeleteFunc(c.used, func(u *entry) bool { return u == e })
		}
		e.users++
		return e
	}
	e := &entry{at: at, ready: make(chan struct{}), users: 2} // the load's and the caller's
	if n := len(c.free); n > 0 {
		e.room, c.free = c.free[n-1], c.free[:n-1]
	} else {
		e.room = new(room)
	}
	if c.closed {
		e.users, e.err = 1, errClosed
		close(e.ready)
		return e
	}
	c.entries[at] = e
	c.wg.Go(func() { c.fill(e) })
	return e
}

func (e *entry) wait(ctx context.Context) error {
	select {
	case <-e.ready:
		return e.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fill loads a position.
func (c *cache) fill(e *entry) {
	select {
	case c.load <- struct{}{}:
		e.agg, e.err = c.past.decode(c.ctx, e.at, e.room)
		<-c.load
	case <-c.ctx.Done():
		e.err = context.Cause(c.ctx)
	}
	c.mu.Lock()
	c.bytes += e.room.size()
	if e.err != nil {
		// Asked for again, it is read again.
		delete(c.entries, e.at)
	}
	c.mu.Unlock()
	close(e.ready)
	c.put(e)
}

// put ends a use, and drops what is too much.
func (c *cache) put(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.users--; e.users > 0 {
		return
	}
	if e.err != nil {
		c.bytes -= e.room.size()
		return
	}
	c.used = append(c.used, e)
	for c.bytes > c.past.log.memory && len(c.used) > 0 {
		old := c.used[0]
		c.used = append(c.used[:0], c.used[1:]...)
		delete(c.entries, old.at)
		c.bytes -= old.room.size()
		if len(c.free) < cap(c.load) {
			c.free = append(c.free, old.room)
		}
	}
}

// decode reads a living position and checks that it is the one that was indexed.
func (p *Past) decode(ctx context.Context, at uint32, r *room) (*aggregate.Aggregation, error) {
	d, err := p.log.decodeLiving(ctx, &p.living[at], r)
	if err != nil {
		return nil, err
	}
	return d.agg, nil
}

// decodeLiving reads a position and checks that it is the one that was indexed.
func (l *Log) decodeLiving(ctx context.Context, at *living, r *room) (*decoded, error) {
	d, err := l.decode(ctx, at.pos, r)
	if err == nil && d.agg.Digest != at.digest {
		err = tlog.Corruptf("player: vdisk %s: position %d has chain digest %v, the index %v", l.info.Vdisk, at.pos, d.agg.Digest, at.digest)
	}
	return d, err
}

// dataOf is the data of a live record in its decoded position.
func (l *Log) dataOf(rec *alive, at *living, a *aggregate.Aggregation) ([]byte, error) {
	if int(rec.ordinal) < len(a.Records) {
		r := &a.Records[rec.ordinal]
		if r.Operation == tlog.OpWrite && r.Offset == rec.off && r.Size == rec.size {
			return r.Data, nil
		}
	}
	return nil, tlog.Corruptf("player: vdisk %s: record %d of position %d is not what the index says", l.info.Vdisk, rec.ordinal, at.pos)
}

// copy fills of b, the disk's bytes from off, what segment n has.
func (p *Past) copy(n uint32, a *aggregate.Aggregation, b []byte, off uint64) error {
	s := &p.segments[n]
	rec := &p.records[s.rec]
	data, err := p.log.dataOf(rec, &p.living[rec.at], a)
	if err != nil {
		return fmt.Errorf("read at byte %d: %w", off, err)
	}
	overlap(data[s.from-rec.off:][:s.n], s.from, b, off)
	return nil
}

// overlap copies data, the disk's bytes from `from` on, to where it overlaps b, its
// bytes from off on.
func overlap(data []byte, from uint64, b []byte, off uint64) {
	if from < off {
		copy(b, data[off-from:])
		return
	}
	copy(b[from-off:], data)
}
