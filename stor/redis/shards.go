package redis

import (
	"context"
	"fmt"

	"github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/stor"
)

// A listing of metas goes in pages, a few of them in one round trip.
const (
	pagePositions = 512
	pagesAhead    = 8
)

// Metas reads the metas of a range. Positions above the head hint hold none,
// so a range may be as long as its caller likes.
func (s *Server) Metas(ctx context.Context, vdisk tlog.UUID, from, to tlog.Position) ([]stor.Meta, error) {
	c, err := s.Control(ctx, vdisk)
	if err != nil {
		return nil, err
	}
	from, to = max(from, 1), min(to, c.Head)
	var all metaList
	for from <= to {
		// The subtraction cannot go below zero, and no sum can overflow.
		n := min(uint64(to-from), pagePositions*pagesAhead-1) + 1
		if err = s.metas(ctx, vdisk, from, int(n), &all); err != nil {
			return nil, err
		}
		if uint64(to-from) < n {
			break
		}
		from += tlog.Position(n)
	}
	if len(all.bad.Positions) > 0 {
		all.bad.Err = tlog.Corruptf("stor/redis: %s: vdisk %v: %w", s.name, vdisk, all.bad.Err)
		return all.metas, &all.bad
	}
	return all.metas, nil
}

// metaList is what a server holds of some positions.
type metaList struct {
	metas []stor.Meta
	bad   stor.BadMetas
}

// add adds what is held of a position.
func (l *metaList) add(pos tlog.Position, value []byte) {
	m, err := parseMeta(string(value), pos)
	if err == nil {
		l.metas = append(l.metas, m)
		return
	}
	if len(l.bad.Positions) == 0 {
		l.bad.Err = err
	}
	l.bad.Positions = append(l.bad.Positions, pos)
}

// metas appends the metas of n positions.
func (s *Server) metas(ctx context.Context, vdisk tlog.UUID, from tlog.Position, n int, all *metaList) error {
	prefix := appendVdiskKey(nil, vdisk, "m:")
	values := make([][]byte, 0, n)
	err := s.with(ctx, smallReply, func(c *conn) error {
		values = values[:0]
		var pages []int
		for sent := 0; sent < n; {
			page := min(pagePositions, n-sent)
			keys := make([]any, page)
			for i := range keys {
				keys[i] = string(appendNumber(prefix, uint64(from)+uint64(sent+i)))
			}
			if err := c.Send("MGET", keys...); err != nil {
				return err
			}
			pages = append(pages, page)
			sent += page
		}
		return receivePages(c, pages, &values)
	})
	if err != nil {
		return s.judge("metas", err)
	}
	for i, v := range values {
		if v != nil { // an empty value is something, and no meta
			all.add(from+tlog.Position(i), v)
		}
	}
	return nil
}

func receivePages(c *conn, pages []int, values *[][]byte) error {
	if err := c.Flush(); err != nil {
		return err
	}
	var refused error
	for _, page := range pages {
		reply, err := c.Receive()
		if answered(err) {
			refused = err
			continue
		}
		if err != nil {
			return err
		}
		v, err := redis.ByteSlices(reply, nil)
		if err != nil {
			return err
		}
		if len(v) != page {
			return fmt.Errorf("mget: %d values instead of %d", len(v), page)
		}
		*values = append(*values, v...)
	}
	return refused
}

// Shard reads a shard, or its beginning.
func (s *Server) Shard(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, limit int) ([]byte, error) {
	key := shardKey(vdisk, pos)
	var reply any
	var err error
	if limit > 0 && limit < maxData {
		reply, err = s.ask(ctx, limit+smallReply, "GETRANGE", key, 0, limit-1)
	} else {
		reply, err = s.ask(ctx, largeReply, "GET", key)
	}
	if err != nil {
		return nil, err
	}
	if reply == nil {
		return nil, s.absent(vdisk, pos)
	}
	b, err := redis.Bytes(reply, nil)
	if err != nil {
		return nil, s.refusal(stor.ServerError, "shard: %w", err)
	}
	if limit > 0 && len(b) > limit {
		return nil, s.refusal(stor.ServerError, "shard: %d bytes instead of %d at most", len(b), limit)
	}
	if len(b) == 0 { // no stored shard is
		return nil, s.absent(vdisk, pos)
	}
	return b, nil
}

func (s *Server) absent(vdisk tlog.UUID, pos tlog.Position) error {
	return fmt.Errorf("stor/redis: %s: vdisk %v position %d: %w", s.name, vdisk, pos, stor.ErrAbsent)
}
