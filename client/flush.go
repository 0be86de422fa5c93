package client

import (
	"context"
	"errors"
	"fmt"

	"tlog"
	"tlog/internal/core/window"
)

// Flush appends a flush mark and waits until it, and so everything appended
// before, is durable. Concurrent calls share a mark if nothing was appended in
// between. When ctx ends first its error is returned, and the mark stays in the
// log: nothing is known to be durable then, nothing is lost either.
func (c *Client) Flush(ctx context.Context) error {
	if err := c.takeTurn(ctx); err != nil {
		return fmt.Errorf("client: flush: %w", err)
	}
	e := window.Event{Kind: window.Flush}
	e.Record.Hash = c.empty
	ch := c.newTicket(&e)
	_, err := c.place(ctx, &e)
	c.giveTurn()
	if err == nil {
		err = c.await(ctx, e.Ticket, ch)
	} else {
		c.cancel(e.Ticket)
	}
	if err != nil {
		return fmt.Errorf("client: flush: %w", err)
	}
	return nil
}

// FlushTo asks the server to flush up to s now, without a mark, and waits for
// it. s must have been given.
func (c *Client) FlushTo(ctx context.Context, s tlog.Sequence) error {
	if err := c.request(ctx, &window.Event{Kind: window.FlushTo, Sequence: s}); err != nil {
		return fmt.Errorf("client: flush to %d: %w", s, err)
	}
	return nil
}

// WaitSlaveSync asks the server to wait for its slave's sync (answered at once
// by a server without one).
func (c *Client) WaitSlaveSync(ctx context.Context) error {
	if err := c.request(ctx, &window.Event{Kind: window.SlaveSync}); err != nil {
		return fmt.Errorf("client: wait for slave sync: %w", err)
	}
	return nil
}

// request does an event that resolves a ticket and puts nothing into the window.
func (c *Client) request(ctx context.Context, e *window.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ch := c.newTicket(e)
	for _, a := range c.do(e) {
		if a.Kind == window.Refuse {
			c.cancel(e.Ticket)
			return a.Err
		}
	}
	return c.await(ctx, e.Ticket, ch)
}

// newTicket puts a ticket into e and returns what is closed when it is resolved.
func (c *Client) newTicket(e *window.Event) <-chan struct{} {
	ch := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticket++
	e.Ticket = c.ticket
	c.waiting[c.ticket] = ch
	return ch
}

// await waits for a ticket, the end of ctx, or that of the client. What is
// resolved counts, whatever else has happened meanwhile.
func (c *Client) await(ctx context.Context, ticket uint64, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
	case <-c.ended:
	}
	c.cancel(ticket)
	select {
	case <-ch:
		return nil
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.Err()
}

// cancel gives a ticket up.
func (c *Client) cancel(ticket uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.waiting[ticket]; ok {
		delete(c.waiting, ticket)
		c.step(&window.Event{Kind: window.Cancel, Ticket: ticket})
	}
}

// Close flushes, says bye and disconnects. When ctx ends first, what is not
// flushed fails: the error then wraps ErrNotFlushed, and names the prefix that
// is. It is also returned when the client had ended before with records that are
// not durable. Close may be called again, and returns the same.
//
// When it returns no data given to AppendShared is used any more. If ctx has not
// ended, OnFlushed has been told everything.
func (c *Client) Close(ctx context.Context) error {
	c.do(&window.Event{Kind: window.Close})
	select {
	case <-c.done:
	case <-ctx.Done():
		c.do(&window.Event{Kind: window.Abort, Err: ErrClosed})
		<-c.offline
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	flushed, last := c.core.Flushed().Sequence, c.core.Last().Sequence
	if flushed == last {
		return nil
	}
	why := c.core.Ended()
	if errors.Is(why, ErrClosed) {
		why = orNone(c.core.Cause())
	}
	return fmt.Errorf("client: close: %w: durable up to sequence %d of %d: %w", ErrNotFlushed, flushed, last, why)
}
