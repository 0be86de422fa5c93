package player

import (
	"context"
	"iter"

	"tlog"
	"tlog/crypto"
)

// item is one position on its way from the shard servers to a consumer.
type item struct {
	pos   tlog.Position
	head  *crypto.Stored // when only the header was asked for
	dec   *decoded       // else
	err   error
	ready chan struct{}
}

// fetch reads positions in parallel and yields them in the order given. Where
// wantData says false only the header is read; it is asked when the read
// begins, so its answer may change as the consumer goes on.
//
//	positions ─→ queue (bounded: readers) ─→ one read each ─→ waited for in order ─→ yield
//
// Leaving the loop early, or an error, ends the reads before fetch returns.
func (l *Log) fetch(ctx context.Context, positions iter.Seq[tlog.Position], wantData func(tlog.Position) bool) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		ctx, cancel := context.WithCancel(ctx)
		queue := make([]*item, 0, l.readers)
		defer func() {
			cancel()
			for _, it := range queue {
				<-it.ready
			}
		}()
		pop := func() bool {
			it := queue[0]
			<-it.ready
			queue = append(queue[:0], queue[1:]...)
			return yield(it) && it.err == nil
		}
		for pos := range positions {
			if len(queue) == l.readers && !pop() {
				return
			}
			it := &item{pos: pos, ready: make(chan struct{})}
			queue = append(queue, it)
			go l.load(ctx, it, wantData(pos))
		}
		for len(queue) > 0 {
			if !pop() {
				return
			}
		}
	}
}

func (l *Log) load(ctx context.Context, it *item, data bool) {
	defer close(it.ready)
	if data {
		it.dec, it.err = l.decode(ctx, it.pos)
		return
	}
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
