package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"tlog/stor"
)

// info is what INFO says.
type info map[string]string

func parseInfo(text string) info {
	f := make(info)
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			f[k] = v
		}
	}
	return f
}

func (f info) number(field string) uint64 {
	n, _ := strconv.ParseUint(f[field], 10, 64)
	return n
}

// admit reports why the server must not be used, or nil: first what it is,
// then how it is set.
func (s *Server) admit(c *conn) error {
	if s.opt.Emulated {
		c.admitted = time.Now()
		return nil
	}
	text, err := redis.String(c.Do("INFO"))
	if err != nil {
		var said redis.Error
		if errors.As(err, &said) && codeOf(string(said)) == stor.ServerError {
			return s.unfit("it does not answer INFO: %w", said)
		}
		return err
	}
	f := parseInfo(text)
	if err := s.admitKind(f); err != nil {
		return err
	}
	if !s.opt.ReadOnly {
		if err := s.admitSettings(c); err != nil {
			return err
		}
		if err := s.admitState(f); err != nil {
			return err
		}
	}
	c.admitted = time.Now()
	return nil
}

func (s *Server) unfit(format string, a ...any) error {
	return s.refusal(stor.Unfit, format, a...)
}

// admitKind looks at what the server is.
func (s *Server) admitKind(f info) error {
	version := f["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	switch {
	case version == "":
		return s.unfit("INFO has no redis_version: not a Redis")
	case err != nil || n < 7:
		return s.unfit("redis_version is %s; 7.0 or later is needed", clip(version))
	case f["cluster_enabled"] == "1" || f["redis_mode"] == "cluster":
		return s.refusal(stor.Replica, "it is a node of a cluster; a shard server stands alone")
	case f["redis_mode"] == "sentinel":
		return s.unfit("it is a sentinel, which stores nothing")
	case f["role"] != "master":
		return s.refusal(stor.Replica, "its role is %s, not master; give the address of the master, or REPLICAOF NO ONE", clip(f["role"]))
	case f["loading"] == "1" || f["async_loading"] == "1":
		return s.refusal(stor.Busy, "it is loading its data")
	}
	return nil
}

// setting is one that CONFIG GET must answer with one of wanted; the first is
// advised.
type setting struct {
	name   string
	wanted []string
	why    string
}

// settings are those that durability needs. A pool that states a lesser
// durability by name relaxes exactly what that name says.
func settings(d stor.Durability) []setting {
	all := []setting{{"maxmemory-policy", []string{"noeviction"}, "or Redis throws away shards when memory is short"}}
	if d == stor.DurabilityMemory {
		return all
	}
	fsync := []string{"always"}
	if d == stor.DurabilityEverysec {
		fsync = []string{"everysec", "always"}
	}
	return append(all,
		setting{"appendonly", []string{"yes"}, "or a restart forgets what was acknowledged"},
		setting{"appendfsync", fsync, "or a power failure loses what was acknowledged"},
		setting{"no-appendfsync-on-rewrite", []string{"no"}, "or nothing is synced while the log is rewritten"})
}

func (s *Server) admitSettings(c *conn) error {
	want := settings(s.opt.Durability)
	args := make([]any, 0, len(want)+1)
	args = append(args, "GET")
	for _, w := range want {
		args = append(args, w.name)
	}
	have, err := redis.StringMap(c.Do("CONFIG", args...))
	var said redis.Error
	if errors.As(err, &said) {
		code := codeOf(string(said))
		if code == stor.ServerError {
			code = stor.Unfit // renamed away
		}
		return s.refusal(code, "CONFIG GET is refused, so that %s cannot be checked: %w; allow it by ACL SETUSER … +config|get",
			want[len(want)-1].name, said)
	}
	if err != nil {
		return err
	}
	for _, w := range want {
		if err := s.admitSetting(w, have); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) admitSetting(w setting, have map[string]string) error {
	value, ok := have[w.name]
	if !ok {
		return s.unfit("it has no setting %s: not a Redis that is known to keep what it acknowledges", w.name)
	}
	for _, v := range w.wanted {
		if value == v {
			return nil
		}
	}
	return s.unfit("%s is %q, wanted %q, %s; set it by CONFIG SET %s %s and CONFIG REWRITE",
		w.name, clip(value), w.wanted[0], w.why, w.name, w.wanted[0])
}

// admitState looks at what happened to the server. The counter of evicted keys
// begins again with every process: what is compared is one process with
// itself, and a later process with zero.
func (s *Server) admitState(f info) error {
	if s.opt.Durability != stor.DurabilityMemory && f["aof_base_size"] == "0" && f["aof_rewrite_in_progress"] == "1" {
		return s.refusal(stor.Busy, "appendonly was just switched on: its first rewrite is not done")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	run, evicted := f["run_id"], f.number("evicted_keys")
	switch {
	case s.run == "":
		s.evicted = evicted
	case s.run != run:
		s.evicted = 0
	}
	s.run = run
	if evicted > s.evicted {
		return s.unfit("evicted_keys rose from %d to %d: shards may have been thrown away; set maxmemory-policy noeviction, verify the vdisks, and replace this server in the pool",
			s.evicted, evicted)
	}
	return nil
}

// readmit looks at the settings again, on a connection that is not busy with
// shards. A refusal shuts the gate.
func (s *Server) readmit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	err := s.with(ctx, smallReply, func(c *conn) error { return s.admit(c) })
	if refused(err) {
		s.forget()
		s.gate.failed(err, minBackoff, s.opt.MaxBackoff)
		// The outcome of what is in flight is unknown, which a refusal is not.
		return fmt.Errorf("no longer fit: %v", err)
	}
	return nil // not answering is for watch to see
}
