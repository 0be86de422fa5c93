package player

import (
	"context"
	"errors"
	"fmt"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/stor"
)

// ErrHistory says that the log, sound in itself, is not the continuation of
// the chain value that a caller of Replay has.
var ErrHistory = errors.New("another history")

// Replay calls fn with each record after `after` up to and including `to`, in
// order. If chain is not zero it must be the chain value at `after`: else the
// log is another history than the caller's, an error of class tlog.Corrupt.
// A record and its data are valid during the call only.
func (l *Log) Replay(ctx context.Context, after tlog.Sequence, chain tlog.Hash, to tlog.Sequence, fn func(*tlog.Record) error) error {
	if after > to || to > l.info.Last {
		return fmt.Errorf("player: vdisk %s: replay of (%d, %d] is %w: it ends at %d", l.info.Vdisk, after, to, ErrRange, l.info.Last)
	}
	if err := l.needKeys(); err != nil {
		return err
	}
	// Begin with the position that holds `after` itself, to see its chain value.
	from, err := l.search(ctx, func(h *crypto.Header) bool { return h.Last >= max(after, 1) })
	if err != nil {
		return err
	}
	until, err := l.search(ctx, func(h *crypto.Header) bool { return h.Last >= to })
	if err != nil {
		return err
	}
	at := cursor{log: l, after: after, want: chain, to: to, fn: fn}
	if err := l.Aggregations(ctx, from, max(from, until), at.visit); err != nil {
		return err
	}
	return at.end()
}

// cursor walks records and watches for the one whose chain value is known.
type cursor struct {
	log       *Log
	after, to tlog.Sequence
	want      tlog.Hash // chain value at after; zero: not checked
	fn        func(*tlog.Record) error
	started   bool // the value at after was seen
}

func (c *cursor) visit(a *aggregate.Aggregation, _ []stor.Damage) error {
	value := a.Prelude.Chain
	if err := c.compare(a.Header.First-1, value); err != nil {
		return err
	}
	for i := range a.Records {
		r := &a.Records[i]
		if !c.started {
			value = tlog.ChainNext(value, r)
		}
		if err := c.compare(r.Sequence, value); err != nil {
			return err
		}
		if r.Sequence <= c.after || r.Sequence > c.to {
			continue
		}
		if err := c.fn(r); err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) compare(s tlog.Sequence, value tlog.Hash) error {
	if c.started || s != c.after {
		return nil
	}
	c.started = true
	if !c.want.IsZero() && value != c.want {
		return tlog.Corruptf("player: vdisk %s: record %d of the log is not the one expected: %w", c.log.info.Vdisk, s, ErrHistory)
	}
	return nil
}

func (c *cursor) end() error {
	if !c.started {
		return tlog.Corruptf("player: vdisk %s: sequence %d was not found", c.log.info.Vdisk, c.after)
	}
	return nil
}

// Aggregations calls fn with each decoded position from…to in order, after
// checking its links, and with the damage that was worked around to read it.
// The aggregation is valid during the call only.
func (l *Log) Aggregations(ctx context.Context, from, to tlog.Position, fn func(*aggregate.Aggregation, []stor.Damage) error) error {
	if err := l.needKeys(); err != nil {
		return err
	}
	chain := links{vdisk: l.info.Vdisk}
	always := func(tlog.Position) bool { return true }
	for it := range l.fetch(ctx, upwards(from, to), always) {
		if it.err != nil {
			return it.err
		}
		if err := chain.add(it.link()); err != nil {
			return err
		}
		if err := fn(it.dec.agg, it.dec.damaged); err != nil {
			return err
		}
	}
	return ctx.Err()
}
