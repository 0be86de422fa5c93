package stor

import (
	"context"
	"errors"
	"sync"
	"time"

	"tlog/internal/core/appending"
)

// errClosed answers what comes after Pool.Close.
var errClosed = errors.New("stor: pool is closed")

// agent owns the appends to one server: it hands them over one after the
// other, so that a server that blocks holds up nobody but itself. What waits
// here is bounded by what the logs have in flight.
type agent struct {
	server Server

	// Guarded by Pool.mu:
	slot   int   // −1: not known to belong to this pool
	err    error // why it is not usable, as of the last look; nil: it is
	gone   bool  // not listed any more
	flight *identifying

	mu     sync.Mutex
	queue  []*appendCall
	spare  []*appendCall // a queue that was sent, empty
	closed bool
	wake   chan struct{} // capacity 1
}

// appendCall is one request to append: the agent's, then the server's, until
// done is called.
type appendCall struct {
	ctx  context.Context
	req  AppendRequest
	log  *Log
	send appending.Action
	done func(Meta, error) // answered, made once
}

func newCall() *appendCall {
	c := new(appendCall)
	c.done = c.answered
	return c
}

// answered gives the call back and tells the log.
func (c *appendCall) answered(m Meta, err error) {
	l, a := c.log, c.send
	*c = appendCall{done: c.done}
	l.pool.calls.Put(c)
	l.replied(a, m, err)
}

// deadline is a context for requests: those of a while share one, as each of
// its own costs more than the rest of the request.
type deadline struct {
	shared context.Context
	cancel context.CancelFunc
	until  time.Time // requests begun later get another
}

// deadlineStep is the while, and so the most that a request gets in excess.
const deadlineStep = time.Second

// context gives one that ends after requestTimeout, or with parent. It needs no
// cancelling: what is left of it ends by itself.
func (d *deadline) context(parent context.Context) context.Context {
	if now := time.Now(); d.shared == nil || !now.Before(d.until) {
		d.shared, d.cancel = context.WithTimeout(parent, requestTimeout+deadlineStep)
		d.until = now.Add(deadlineStep)
	}
	return d.shared
}

func newAgent(s Server) *agent {
	return &agent{server: s, slot: -1, wake: make(chan struct{}, 1)}
}

// append queues a request. It does not block.
func (a *agent) append(c *appendCall) {
	a.mu.Lock()
	closed := a.closed
	if !closed {
		a.queue = append(a.queue, c)
	}
	a.mu.Unlock()
	if closed {
		c.done(Meta{}, errClosed)
		return
	}
	a.signal()
}

func (a *agent) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *agent) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.signal()
}

// run is the agent's goroutine; it ends when the agent is closed and drained.
func (a *agent) run() {
	for range a.wake {
		a.mu.Lock()
		queue, closed := a.queue, a.closed
		a.queue, a.spare = a.spare, nil
		a.mu.Unlock()
		for _, c := range queue {
			switch {
			case closed:
				c.done(Meta{}, errClosed)
			case c.ctx.Err() != nil:
				c.done(Meta{}, c.ctx.Err())
			default:
				a.server.Append(c.ctx, &c.req, c.done)
			}
		}
		if closed {
			return
		}
		clear(queue)
		a.mu.Lock()
		a.spare = queue[:0]
		a.mu.Unlock()
	}
}
