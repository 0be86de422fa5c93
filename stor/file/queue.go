package file

import (
	"context"
	"sync"
)

// request is one of Init, Fence, Append on its way through the queue.
type request struct {
	judge func(*bench) verdict
	bytes int64 // of data, for the size of a batch
	done  func(verdict)
	ctx   context.Context
	stop  func() bool // ends the watch over ctx

	// Owned by the queue:
	state   requestState
	expired bool // ctx ended while the slices were in use
}

type requestState uint8

const (
	queued   requestState = iota // nobody has looked at it
	writing                      // the committer reads its slices
	syncing                      // written; the slices are not needed any more
	answered                     // done was, or is being, called
)

// Limits of one batch: of frames, which keeps it one system call, and of data.
const (
	maxBatch      = 256
	maxBatchBytes = 8 << 20
)

// queue holds the requests that wait, and sees to it that each is answered
// once: by the committer, by the end of its context, or by close.
type queue struct {
	mu     sync.Mutex
	wake   sync.Cond
	all    []*request
	closed error
}

func newQueue() *queue {
	q := &queue{}
	q.wake.L = &q.mu
	return q
}

// push queues r, or answers it if it is too late for that.
func (q *queue) push(r *request) {
	if err := r.ctx.Err(); err != nil {
		r.done(verdict{err: err})
		return
	}
	q.mu.Lock()
	if q.closed != nil {
		err := q.closed
		q.mu.Unlock()
		r.done(verdict{err: err})
		return
	}
	if r.ctx.Done() != nil {
		r.stop = context.AfterFunc(r.ctx, func() { q.expire(r) })
	}
	q.all = append(q.all, r)
	q.wake.Signal()
	q.mu.Unlock()
}

// take waits for requests and gives the next batch; none after close.
func (q *queue) take(batch []*request) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(batch) == 0 {
		for len(q.all) == 0 && q.closed == nil {
			q.wake.Wait()
		}
		if q.closed != nil {
			break
		}
		batch = q.gather(batch)
	}
	return batch
}

// gather moves requests that still want an answer from the queue to batch.
func (q *queue) gather(batch []*request) []*request {
	n, bytes := 0, int64(0)
	for n < len(q.all) && len(batch) < maxBatch {
		r := q.all[n]
		if r.state == queued {
			if bytes += r.bytes; len(batch) > 0 && bytes > maxBatchBytes {
				break
			}
			r.state = writing
			batch = append(batch, r)
		}
		n++
	}
	rest := copy(q.all, q.all[n:])
	clear(q.all[rest:])
	q.all = q.all[:rest]
	return batch
}

// written says that the slices of the batch are the callers' again.
func (q *queue) written(batch []*request) {
	var late []*request
	q.mu.Lock()
	for _, r := range batch {
		if r.state == writing {
			r.state = syncing
			if r.expired {
				r.state = answered
				late = append(late, r)
			}
		}
	}
	q.mu.Unlock()
	for _, r := range late {
		r.done(verdict{err: r.ctx.Err()})
	}
}

// answer gives r its verdict, unless it had one.
func (q *queue) answer(r *request, v verdict) {
	q.mu.Lock()
	first := r.state != answered
	r.state = answered
	q.mu.Unlock()
	if !first {
		return
	}
	if r.stop != nil {
		r.stop()
	}
	r.done(v)
}

// expire answers r because its context ended. While its slices are in use that
// has to wait until they are not.
func (q *queue) expire(r *request) {
	q.mu.Lock()
	switch r.state {
	case writing:
		r.expired = true
		fallthrough
	case answered:
		q.mu.Unlock()
		return
	}
	r.state = answered
	q.mu.Unlock()
	r.done(verdict{err: r.ctx.Err()})
}

// close answers what is queued, and from now on everything, with err.
func (q *queue) close(err error) {
	q.mu.Lock()
	if q.closed != nil {
		q.mu.Unlock()
		return
	}
	q.closed = err
	rest := q.all
	q.all = nil
	q.wake.Signal()
	q.mu.Unlock()
	for _, r := range rest {
		q.answer(r, verdict{err: err})
	}
}
