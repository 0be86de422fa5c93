package stor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tlog"
)

// Ranger is a Server that reads parts of stored shards.
type Ranger interface {
	// Ranges fills ranges of stored shards of a vdisk, of all of them in as few
	// round trips as it can, and sets the Err of each shard. An error is one of the
	// request: then memory and Err of any shard may be written to even later.
	Ranges(ctx context.Context, vdisk tlog.UUID, shards []ShardRanges) error
}

// ShardRanges is ranges of one stored shard.
type ShardRanges struct {
	Position tlog.Position
	Ranges   []Range
	Err      error // ErrAbsent as for Shard, and where the shard ends before a range does
}

// Range is the bytes from Off on that B has room for.
type Range struct {
	Off int
	B   []byte
}

// ErrNoPart says that a part cannot be read by itself now: a server is missing,
// slow, or does not do it. ReadInto may still have the position.
var ErrNoPart = errors.New("no part by itself")

// Layout is where the data of a position lies in its stored shards.
type Layout struct {
	Position tlog.Position
	Digest   tlog.Hash // chain digest; where it is known that the log has another one, nothing is read
	Head     int       // bytes of a stored shard before its body
	Shard    int       // bytes of a shard's body
}

// Parts is parts of a position's joined data shards.
type Parts struct {
	Layout
	Parts []Range
	Err   error // why they were not all read: ErrNoPart, or the context's
}

// ReadParts fills parts of positions, as the servers that hold their data shards
// give them, each server asked once and all at the same time: nothing is
// verified, and nothing computed from parity. Each position has an error of its
// own. The memory of those that have one is not to be used again: a server that
// is slow may still write to it.
func (v *View) ReadParts(ctx context.Context, parts []Parts) {
	b := batch{view: v, parts: parts, bySlot: map[int]*partsOf{}}
	for i := range parts {
		if err := b.add(i); err != nil {
			parts[i].Err = err
		}
	}
	b.run(ctx)
}

// batch is one ReadParts under way.
type batch struct {
	view   *View
	parts  []Parts
	bySlot map[int]*partsOf
	most   int // ranges that one server is asked for
}

// partsOf is what one server is asked for.
type partsOf struct {
	slot   int
	server Ranger
	shards []ShardRanges
	of     []int // which of the batch's positions each is of
	ranges int
	err    error
}

// add finds the servers that have parts of a position: where that is known; else,
// as it is not worth asking all of them, those that have them if none was ever
// away. What another server than these has is not read by itself.
func (b *batch) add(i int) error {
	at, v := &b.parts[i], b.view
	if err := v.inRange(at.Position); err != nil {
		return errors.Join(err, ErrNoPart)
	}
	var known *place
	if pg := v.known(at.Position); pg != nil {
		known = &pg.places[at.Position-pg.first]
		if known.digest != at.Digest {
			return fmt.Errorf("stor: position %d has digest %v, not %v: %w", at.Position, known.digest, at.Digest, ErrNoPart)
		}
	}
	shards := at.split(at.Parts, v.pool.manifest.K)
	slots := make([]int, len(shards))
	for index, ranges := range shards {
		if len(ranges) == 0 {
			continue
		}
		if slots[index] = b.holder(known, index); slots[index] < 0 {
			return fmt.Errorf("stor: shard %d of position %d: %w", index, at.Position, ErrNoPart)
		}
	}
	for index, ranges := range shards {
		if len(ranges) > 0 {
			a := b.bySlot[slots[index]]
			a.shards, a.of = append(a.shards, ShardRanges{Position: at.Position, Ranges: ranges}), append(a.of, i)
			a.ranges += len(ranges)
			b.most = max(b.most, a.ranges)
		}
	}
	return nil
}

// split tells which ranges of which data shards the parts are.
func (at *Layout) split(parts []Range, k int) [][]Range {
	shards := make([][]Range, k)
	for _, p := range parts {
		for off, b := p.Off, p.B; len(b) > 0; {
			index, from := off/at.Shard, off%at.Shard
			n := min(len(b), at.Shard-from)
			if index < k {
				shards[index] = append(shards[index], Range{at.Head + from, b[:n:n]})
			}
			off, b = off+n, b[n:]
		}
	}
	return shards
}

// holder is the slot of a server that holds an index, as far as is known, and can
// be asked; −1: none.
func (b *batch) holder(known *place, index int) int {
	if known == nil {
		p := b.view.pool.manifest.P()
		return b.usable((firstSlot(b.view.vdisk, p) + index) % p)
	}
	for slot, i := range known.index {
		if int(i) == index && b.usable(slot) >= 0 {
			return slot
		}
	}
	return -1
}

// usable gives a slot whose server can be asked; −1 else.
func (b *batch) usable(slot int) int {
	if b.view.resting(slot) {
		return -1
	}
	if b.bySlot[slot] != nil {
		return slot
	}
	server, err := b.view.server(slot)
	if err != nil {
		return -1
	}
	r, can := server.(Ranger)
	if !can {
		return -1
	}
	b.bySlot[slot] = &partsOf{slot: slot, server: r}
	return slot
}

// A server that lets a reader of a record wait is not waited for: others have the
// position. One that is asked for many may take longer, as reading all of their
// positions instead would: a disk that is busy for a second or two, with what the
// reader writes to it perhaps, is not to be given more to do. And what takes all
// of them long is not the fault of one.
const (
	partTime = readHedgeTime      // for each range
	partMost = 32 * readHedgeTime // for any number; 8 s
)

// run asks the servers and waits for them.
func (b *batch) run(ctx context.Context) {
	limited, cancel := context.WithCancel(ctx)
	defer cancel() // what is still asked for is not wanted any more
	began, arrived, waiting := time.Now(), make(chan *partsOf, len(b.bySlot)), map[*partsOf]bool{}
	for _, a := range b.bySlot {
		if len(a.shards) == 0 {
			continue
		}
		waiting[a] = true
		go func() {
			a.err = a.server.Ranges(limited, b.view.vdisk, a.shards)
			arrived <- a
		}()
	}
	patience := min(time.Duration(b.most)*partTime, partMost)
	late := time.NewTimer(patience)
	defer late.Stop()
	for len(waiting) > 0 {
		select {
		case a := <-arrived:
			delete(waiting, a)
			if b.take(a); a.err != nil && time.Since(began) > readHedgeTime {
				b.view.rest(a.slot, max(restTime, 4*patience)) // it, or its client, gave up first
			}
			late.Reset(patience)
		case <-late.C:
			for a := range waiting {
				b.view.rest(a.slot, max(restTime, 4*patience))
				b.fail(a, ErrNoPart)
			}
			return
		case <-ctx.Done():
			for a := range waiting {
				b.fail(a, context.Cause(ctx))
			}
			return
		}
	}
}

// take notes what a server did not give.
func (b *batch) take(a *partsOf) {
	if a.err != nil {
		b.fail(a, errors.Join(a.err, ErrNoPart))
		return
	}
	for i := range a.shards {
		if err := a.shards[i].Err; err != nil {
			b.parts[a.of[i]].Err = errors.Join(err, ErrNoPart)
		}
	}
}

func (b *batch) fail(a *partsOf, err error) {
	for _, i := range a.of {
		b.parts[i].Err = err
	}
}

// restTime is how long, at least, a server that let a part wait is not asked for
// parts; four times as long as it was waited for, if that is more.
const restTime = 5 * time.Second

// rest has a server not asked for parts for a while.
func (v *View) rest(slot int, while time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rests == nil {
		v.rests = map[int]time.Time{}
	}
	v.rests[slot] = time.Now().Add(while)
}

func (v *View) resting(slot int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	until, known := v.rests[slot]
	return known && time.Now().Before(until)
}
