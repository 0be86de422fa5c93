package player

import (
	"context"
	"iter"
	"slices"

	"tlog"
	"tlog/crypto"
)

// item is one position on its way from the shard servers to a consumer.
type item struct {
	pos   tlog.Position
	room  *room          // what dec lies in
	head  *crypto.Stored // when only the header was asked for
	dec   *decoded       // else
	found []found        // or, of a moment, the positions that are read together
	err   error
	ready chan struct{}
}

// fetch reads positions in parallel and yields them in the order given. Where
// wantData says false only the header is read; it is asked when the read
// begins, so its answer may change as the consumer goes on.
//
//	positions ─→ queue (bounded: readers, memory) ─→ one read each ─→ waited for in order ─→ yield
//
// An item is the consumer's until it asks for the next one: then its room is
// used again. A position that cannot be read is an item with an error, and those
// behind it follow. Leaving the loop early ends the reads before fetch returns.
func (l *Log) fetch(ctx context.Context, positions iter.Seq[tlog.Position], wantData func(tlog.Position) bool) iter.Seq[*item] {
	return l.fetchBy(ctx, func(yield func(tlog.Position, loader) bool) {
		for pos := range positions {
			by := l.loadHead
			if wantData(pos) {
				by = l.loadData
			}
			if !yield(pos, by) {
				return
			}
		}
	})
}

// loader fills an item, or sets its error.
type loader func(context.Context, *item)

// fetchBy is fetch with what loads each item; it is asked for the next one when
// that one's read can begin, by the goroutine that consumes.
func (l *Log) fetchBy(ctx context.Context, positions iter.Seq2[tlog.Position, loader]) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		ctx, cancel := context.WithCancel(ctx)
		q := queue{log: l, largest: firstRoom}
		defer func() {
			cancel()
			for _, it := range q.items {
				<-it.ready
			}
		}()
		for pos, by := range positions {
			for q.full() {
				if !q.pop(yield) {
					return
				}
			}
			it := &item{pos: pos, room: q.room(), ready: make(chan struct{})}
			q.items = append(q.items, it)
			go it.load(ctx, by)
		}
		for len(q.items) > 0 {
			if !q.pop(yield) {
				return
			}
		}
	}
}

// queue is the reads of a fetch that are under way, in the order in which they
// are waited for, and the rooms for more.
type queue struct {
	log     *Log
	items   []*item
	free    []*room
	largest int // bytes of a room, as far as is known
}

// firstRoom is the size of a room before any was used, in bytes: that of an
// aggregation of the default size.
const firstRoom = 3 << 20

func (q *queue) full() bool {
	n := len(q.items)
	return n > 0 && (n >= q.log.readers || (n+1)*q.largest > q.log.memory)
}

func (q *queue) room() *room {
	last := len(q.free) - 1
	if last < 0 {
		return new(room)
	}
	r := q.free[last]
	q.free = q.free[:last]
	return r
}

// pop waits for the first item and has it used.
func (q *queue) pop(yield func(*item) bool) bool {
	it := q.items[0]
	<-it.ready
	q.items = append(q.items[:0], q.items[1:]...)
	if !yield(it) {
		return false
	}
	q.largest = max(q.largest, it.room.size())
	if (len(q.items)+len(q.free)+1)*q.largest <= q.log.memory || len(q.items) == 0 {
		q.free = append(q.free, it.room)
	}
	return true
}

func (it *item) load(ctx context.Context, by loader) {
	defer close(it.ready)
	by(ctx, it)
	failed := it.err != nil || slices.ContainsFunc(it.found, func(f found) bool { return f.err != nil })
	if failed && ctx.Err() != nil {
		it.err = context.Cause(ctx) // the shards are there: nobody waited for them
	}
}

func (l *Log) loadData(ctx context.Context, it *item) {
	it.dec, it.err = l.decode(ctx, it.pos, it.room)
}

func (l *Log) loadHead(ctx context.Context, it *item) {
	it.head, it.err = l.header(ctx, it.pos)
}

// upwards and downwards are the positions from…to in either order.
func upwards(from, to tlog.Position) iter.Seq[tlog.Position] {
	return func(yield func(tlog.Position) bool) {
		for p := from; p <= to; p++ {
			if !yield(p) {
				return
			}
		}
	}
}

func downwards(from, to tlog.Position) iter.Seq[tlog.Position] {
	return func(yield func(tlog.Position) bool) {
		for p := from; p >= to && p > 0; p-- {
			if !yield(p) {
				return
			}
		}
	}
}
