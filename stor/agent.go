package stor

import (
	"context"
	"errors"
	"sync"
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
	closed bool
	wake   chan struct{} // capacity 1
}

type appendCall struct {
	ctx  context.Context
	req  AppendRequest
	done func(Meta, error)
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
		a.queue = nil
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
	}
}
