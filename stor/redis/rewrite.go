package redis

import (
	"context"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"

	"tlog/stor"
)

// rewriteEvery is how often a running rewrite is looked at.
const rewriteEvery = 50 * time.Millisecond

// rewrite has a server that was just initialised rewrite its append-only file
// once, while it is nearly empty. A Redis that began with no file has no base
// file until its first rewrite, and while that goes on it cannot be told from
// one whose appendonly was just switched on, which admission refuses: servers
// of a pool fill at the same rate, and all would be refused together, at the
// worst moment. A server that does not allow the command goes without.
func (s *Server) rewrite(ctx context.Context) error {
	if s.opt.Emulated || s.opt.Durability == stor.DurabilityMemory {
		return nil
	}
	tick := time.NewTicker(rewriteEvery)
	defer tick.Stop()
	for {
		if done, err := s.rewritten(ctx); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s.refusal(stor.Busy, "init: its append-only file is still being rewritten: %w", context.Cause(ctx))
		}
	}
}

// rewritten reports whether there is a base file, or none can be asked for;
// it asks for one.
func (s *Server) rewritten(ctx context.Context) (bool, error) {
	text, err := redis.String(s.ask(ctx, smallReply, "INFO", "persistence"))
	if err == nil {
		switch f := parseInfo(text); {
		case f["aof_rewrite_in_progress"] == "1":
			return false, nil
		case f["aof_base_size"] != "0":
			return true, nil
		}
		_, err = s.ask(ctx, smallReply, "BGREWRITEAOF")
	}
	var r *stor.Refusal
	if errors.As(err, &r) {
		// Busy is what a new connection hears while the rewrite goes on.
		return r.Code != stor.Busy, nil
	}
	return false, err
}
