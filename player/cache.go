package player

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"tlog"
	"tlog/aggregate"
)

// cache holds decoded positions of a Past for reads in any order.
//
//	read ─→ get: there ──────────────────→ copy ─→ put
//	         └─→ not there: load, once ─→ ┘
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
	entries map[uint32]*entry
	used    []*entry // not in use, the longest unused first
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
	c := &cache{past: p, load: make(chan struct{}, p.log.readers), entries: map[uint32]*entry{}}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	return c
}

func (c *cache) close() {
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
	groups := c.groups(mine)
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

func (c *cache) at(n uint32) uint32 { return c.past.segments[n].at }

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
	d, err := p.log.decode(ctx, p.living[at].pos, r)
	if err != nil {
		return nil, err
	}
	return d.agg, p.same(int(at), d.agg)
}

// same checks that a position read is the one that was indexed.
func (p *Past) same(at int, a *aggregate.Aggregation) error {
	if a.Digest != p.living[at].digest {
		return tlog.Corruptf("player: vdisk %s: position %d has chain digest %v, the index %v", p.log.info.Vdisk, p.living[at].pos, a.Digest, p.living[at].digest)
	}
	return nil
}

// data is the bytes of a segment in its decoded position.
func (p *Past) data(s *segment, a *aggregate.Aggregation) ([]byte, error) {
	if int(s.rec) < len(a.Records) {
		r := &a.Records[s.rec]
		if r.Operation == tlog.OpWrite && s.from >= r.Offset && s.end() <= r.End() {
			return r.Data[s.from-r.Offset : s.end()-r.Offset], nil
		}
	}
	return nil, tlog.Corruptf("player: vdisk %s: record %d of position %d is not what the index says", p.log.info.Vdisk, s.rec, p.living[s.at].pos)
}

// copy fills of b, the disk's bytes from off, what segment n has.
func (p *Past) copy(n uint32, a *aggregate.Aggregation, b []byte, off uint64) error {
	s := &p.segments[n]
	data, err := p.data(s, a)
	if err != nil {
		return fmt.Errorf("read at byte %d: %w", off, err)
	}
	if s.from < off {
		data = data[off-s.from:]
		copy(b, data)
		return nil
	}
	copy(b[s.from-off:], data)
	return nil
}
