// Package watch learns when contexts end, with one watch for all requests that
// share a context: one for each would cost more than the rest of a request.
package watch

import "context"

// Contexts are the contexts of the requests that a server has. Its owner
// guards it with a lock of its own.
type Contexts struct {
	// Ended is called once a watched context ended, from a goroutine of its own,
	// without a lock; requests with it may have gone meanwhile. It is set
	// before the first Add.
	Ended func(ctx context.Context)

	all    map[context.Context]*entry
	unused *entry // of which no request is left; kept because the next is likely to share it
}

type entry struct {
	ctx      context.Context
	requests int
	stop     func() bool
}

// Add counts a request with ctx.
func (c *Contexts) Add(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	e := c.all[ctx]
	if e == nil {
		e = &entry{ctx: ctx, stop: context.AfterFunc(ctx, func() { c.Ended(ctx) })}
		if c.all == nil {
			c.all = map[context.Context]*entry{}
		}
		c.all[ctx] = e
	}
	if c.unused == e {
		c.unused = nil
	}
	e.requests++
}

// Done counts a request with ctx, which was added, as gone.
func (c *Contexts) Done(ctx context.Context) {
	e := c.all[ctx]
	if e == nil {
		return
	}
	if e.requests--; e.requests > 0 {
		return
	}
	c.forget(c.unused)
	c.unused = e
}

// Close forgets the watch of a context that no request has.
func (c *Contexts) Close() {
	c.forget(c.unused)
	c.unused = nil
}

func (c *Contexts) forget(e *entry) {
	if e != nil {
		e.stop()
		delete(c.all, e.ctx)
	}
}
