package file

import (
	"context"
	"sync"

	"tlog/internal/reuse"
	"tlog/internal/watch"
	"tlog/stor"
)

// request is one of Init, Fence, Append on its way through the queue: the
// queue's while it waits, the committer's until its batch is over.
type request struct {
	judge  func(*bench) verdict // unless it is an append
	append *stor.AppendRequest  // such a request is recycled
	bytes  int64                // of data, for the size of a batch
	done   func(verdict)
	stored func(stor.Meta, error) // an append's done
	ctx    context.Context

	// Owned by the queue:
	state   requestState
	expired bool // ctx ended while the slices were in use
}

// answer is a call of done that is due; it is made without a lock.
type answer struct {
	done   func(verdict)
	stored func(stor.Meta, error)
	verdict
}

func (a *answer) give() {
	switch {
	case a.stored != nil:
		a.stored(a.meta, a.err)
	case a.done != nil:
		a.done(a.verdict)
	}
}

type requestState uint8

const (
	queued   requestState = iota // nobody has looked at it
	writing                      // the committer reads its slices
	syncing                      // written; the slices are not needed any more
	answered                     // done was, or is being, called
)

// Limits of one batch: of frames, which keeps it one system call, and of data,
// which is how long whoever comes next has to wait for it.
const (
	maxBatch      = 256
	maxBatchBytes = 1 << 20
)

// queue holds the requests that wait, and sees to it that each is answered
// once: by the committer, by the end of its context, or by close.
type queue struct {
	mu       sync.Mutex
	wake     sync.Cond
	all      []*request
	batch    []*request // the committer's
	share    share
	closed   error
	contexts watch.Contexts
	requests reuse.Objects[request]
}

func newQueue() *queue {
	q := &queue{}
	q.wake.L = &q.mu
	q.contexts.Ended = q.expire
	q.requests.New = func() *request { return new(request) }
	return q
}

// push queues r, or answers it if it is too late for that.
func (q *queue) push(r *request) {
	err := r.ctx.Err()
	q.mu.Lock()
	if err == nil {
		err = q.closed
	}
	if err == nil {
		q.contexts.Add(r.ctx)
		q.all = append(q.all, r)
		q.wake.Signal()
		q.mu.Unlock()
		return
	}
	q.mu.Unlock()
	a := answer{r.done, r.stored, verdict{err: err}}
	q.recycle(r)
	a.give()
}

// settle marks r as answered, which it is not yet; mu is held.
func (q *queue) settle(r *request, v verdict) answer {
	r.state = answered
	q.contexts.Done(r.ctx)
	return answer{r.done, r.stored, v}
}

// recycle takes back an append that was answered and that nobody has any more.
func (q *queue) recycle(r *request) {
	if r.append != nil {
		*r = request{}
		q.requests.Put(r)
	}
}

// take takes the last batch back, waits for requests and gives the next one,
// which is valid until then; none after close.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.batch {
		q.recycle(r)
	}
	clear(q.batch)
	batch := q.batch[:0]
	q.batch = batch
	for len(batch) == 0 {
		for len(q.all) == 0 && q.closed == nil {
			q.wake.Wait()
		}
		if q.closed != nil {
			break
		}
		batch = q.gather(batch)
	}
	q.batch = batch
	return batch
}

// gather moves requests that still want an answer from the queue to batch.
func (q *queue) gather(batch []*request) []*request {
	q.share.begin(q.all)
	rest := q.all[:0]
	for i, r := range q.all {
		if len(batch) == maxBatch || q.share.full() {
			rest = append(rest, q.all[i:]...)
			break
		}
		switch {
		case r.state != queued:
			q.recycle(r)
		case q.share.take(r):
			r.state = writing
			batch = append(batch, r)
		default:
			rest = append(rest, r)
		}
	}
	clear(q.all[len(rest):])
	q.all = rest
	return batch
}

// written says that the slices of the batch are the callers' again.
func (q *queue) written(batch []*request) {
	var late []answer
	q.mu.Lock()
	for _, r := range batch {
		if r.state == writing {
			r.state = syncing
			if r.expired {
				late = append(late, q.settle(r, verdict{err: r.ctx.Err()}))
			}
		}
	}
	q.mu.Unlock()
	for i := range late {
		late[i].give()
	}
}

// answer gives r its verdict, unless it had one.
func (q *queue) answer(r *request, v verdict) {
	var a answer
	q.mu.Lock()
	if r.state != answered {
		a = q.settle(r, v)
	}
	q.mu.Unlock()
	a.give()
}

// expire answers the requests whose context ended. While a request's slices are
// in use that has to wait until they are not.
func (q *queue) expire(ctx context.Context) {
	var due []answer
	q.mu.Lock()
	for _, list := range [][]*request{q.batch, q.all} {
		for _, r := range list {
			switch {
			case r.ctx != ctx || r.state == answered:
			case r.state == writing:
				r.expired = true
			default:
				due = append(due, q.settle(r, verdict{err: ctx.Err()}))
			}
		}
	}
	q.mu.Unlock()
	for i := range due {
		due[i].give()
	}
}

// close answers what is queued, and from now on everything, with err.
func (q *queue) close(err error) {
	var due []answer
	q.mu.Lock()
	if q.closed == nil {
		q.closed = err
		for _, r := range q.all {
			if r.state != answered {
				due = append(due, q.settle(r, verdict{err: err}))
			}
			q.recycle(r)
		}
		q.all = nil
		q.contexts.Close()
		q.wake.Signal()
	}
	q.mu.Unlock()
	for i := range due {
		due[i].give()
	}
}
