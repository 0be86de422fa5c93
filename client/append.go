package client

import (
	"context"
	"fmt"

	"tlog"
	"tlog/group"
	"tlog/internal/core/window"
)

// Append gives the operation the next sequence and a timestamp, copies data
// into the window, and returns; it waits while the window is full. offset and
// size are in bytes; data is for tlog.OpWrite only, and size is then len(data).
//
// A record that is invalid or outside the disk is refused with class
// tlog.Protocol. An error means that the record is not and will not be in the log.
func (c *Client) Append(ctx context.Context, op tlog.Operation, offset uint64, size uint32, data []byte) (tlog.Sequence, error) {
	return c.append(ctx, Stamp{}, op, offset, size, data, true)
}

// AppendShared is Append without the copy: data must not change until OnFlushed
// has reached the sequence, or Close has returned.
func (c *Client) AppendShared(ctx context.Context, op tlog.Operation, offset uint64, size uint32, data []byte) (tlog.Sequence, error) {
	return c.append(ctx, Stamp{}, op, offset, size, data, false)
}

// Stamp is when a record's write took its place among those of a consistency
// group, and by which clock.
type Stamp struct {
	Time  uint64      // nanoseconds since 1970 UTC; 0: the client draws it
	Group group.Stamp // of the clock that gave Time; 0: none
}

// AppendStamped is AppendShared for a caller that acknowledged the write before
// it appends it, and so had to draw its time before that: from Config.Clock,
// after the write was issued. Times must not decrease from one record to the
// next: a record that would have to be moved is refused, and so is every later one.
func (c *Client) AppendStamped(ctx context.Context, at Stamp, op tlog.Operation, offset uint64, size uint32, data []byte) (tlog.Sequence, error) {
	return c.append(ctx, at, op, offset, size, data, false)
}

func (c *Client) append(ctx context.Context, at Stamp, op tlog.Operation, offset uint64, size uint32, data []byte, copied bool) (tlog.Sequence, error) {
	e := window.Event{Kind: window.Append, Now: at.Time}
	e.Record = tlog.Record{Sequence: 1, Operation: op, Offset: offset, Size: size, Data: data, Group: uint64(at.Group)}
	if err := e.Record.Check(); err != nil {
		return 0, fmt.Errorf("client: append: %w", err)
	}
	if c.size != 0 && e.Record.End() > c.size {
		return 0, tlog.Protocolf("client: append: %v of %d bytes at %d is beyond the disk's %d", op, size, offset, c.size)
	}
	e.Record.Hash = c.hash(data) // outside every lock: callers hash in parallel

	if err := c.takeTurn(ctx); err != nil {
		return 0, fmt.Errorf("client: append: %w", err)
	}
	defer c.giveTurn()
	if copied && len(data) > 0 {
		e.Record.Data = c.copied(data)
	}
	s, err := c.place(ctx, &e)
	if err != nil {
		return 0, fmt.Errorf("client: append: %w", err)
	}
	if copied {
		c.memory.used(s, len(data), &c.mu)
	}
	return s, nil
}

// takeTurn waits for the right to put a record into the window.
func (c *Client) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) giveTurn() { <-c.turn }

// place puts a record into the window, when there is room. It is called by the
// holder of turn, and returns the last sequence given.
func (c *Client) place(ctx context.Context, e *window.Event) (tlog.Sequence, error) {
	drawn := e.Now != 0
	for {
		s, full, err := c.tryPlace(e, drawn)
		if !full {
			return s, err
		}
		select {
		case <-c.room:
		case <-c.ended:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// tryPlace is place, if there is room. drawn: the record has its time already.
func (c *Client) tryPlace(e *window.Event, drawn bool) (s tlog.Sequence, full bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Under the lock, so that only a clock that steps back does.
	switch {
	case drawn:
	case c.cfg.Clock != nil:
		e.Now, e.Record.Group = c.cfg.Clock.Next(), uint64(c.cfg.Clock.Stamp())
	default:
		e.Now = uint64(c.cfg.Now().UnixNano())
	}
	for _, a := range c.step(e) {
		switch a.Kind {
		case window.Full:
			return 0, true, nil
		case window.Refuse:
			return 0, false, a.Err
		}
	}
	return c.core.Last().Sequence, false, nil
}

// copied is a copy of data in the window's memory. It is called by the holder of turn.
func (c *Client) copied(data []byte) []byte {
	p := c.memory.take(len(data), &c.mu)
	copy(p, data)
	return p
}
