package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/stor"
)

// Fence makes r's owner the only one that may append.
func (s *Server) Fence(ctx context.Context, r *stor.FenceRequest) (stor.Control, error) {
	if r.Epoch == 0 {
		return stor.Control{}, s.refusal(stor.ServerError, "fence: epoch 0 owns nothing")
	}
	rest, err := s.script(ctx, "fence", s.scripts.fence,
		"3", keyID, controlKey(r.Vdisk), keyVdisks,
		r.Cookie.String(), number(r.ConfigVersion), number(r.Epoch), r.ID.String(), r.Vdisk.String())
	if err != nil {
		return stor.Control{}, err
	}
	c, err := parseControl(strings.Split(rest, " "))
	if err == nil && c.Owner != r.Owner {
		err = fmt.Errorf("fenced for epoch %d of owner %v, not %d of %v", c.Epoch, c.ID, r.Epoch, r.ID)
	}
	if err != nil {
		return stor.Control{}, s.refusal(stor.ServerError, "fence: %w", err)
	}
	return c, nil
}

// Init makes an empty server one of a pool.
func (s *Server) Init(ctx context.Context, cookie tlog.UUID, m *stor.Manifest) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("stor/redis: init: manifest: %w", err)
	}
	if _, err = s.script(ctx, "init", s.scripts.init, "1", keyID, cookie.String(), number(m.ConfigVersion), string(text)); err != nil {
		return err
	}
	return s.rewrite(ctx)
}

// script runs x and gives what follows the OK of its answer. The words are the
// number of keys, the keys, and the arguments.
func (s *Server) script(ctx context.Context, what string, x script, words ...string) (string, error) {
	if s.opt.ReadOnly {
		return "", s.refusal(stor.Denied, "%s: opened for reading only", what)
	}
	args := make([]any, 0, len(words)+2)
	for _, w := range words {
		args = append(args, w)
	}
	args = append(args, wholeSum(nil, []byte(strings.Join(words, " "))))
	var reply any
	err := s.with(ctx, smallReply, func(c *conn) error {
		var err error
		reply, err = c.Do("EVALSHA", append([]any{x.sha}, args...)...)
		if noScript(err) {
			reply, err = c.Do("EVAL", append([]any{x.text}, args...)...)
		}
		return err
	})
	_, rest, err := s.verdict(what, reply, err)
	return rest, err
}

func noScript(err error) bool {
	var said redis.Error
	return errors.As(err, &said) && strings.HasPrefix(string(said), "NOSCRIPT")
}

// ask sends one command that changes nothing.
func (s *Server) ask(ctx context.Context, limit int, command string, args ...any) (any, error) {
	var reply any
	err := s.with(ctx, limit, func(c *conn) error {
		var err error
		reply, err = c.Do(command, args...)
		return err
	})
	return reply, s.judge(strings.ToLower(command), err)
}

// Control reads a vdisk's owner and hints.
func (s *Server) Control(ctx context.Context, vdisk tlog.UUID) (stor.Control, error) {
	reply, err := s.ask(ctx, smallReply, "HMGET", controlKey(vdisk), "epoch", "owner", "head", "commit")
	f, err := s.fields("control", 4, reply, err)
	if err != nil || f[0] == "" {
		return stor.Control{}, err
	}
	c, err := parseControl(f)
	if err != nil {
		return c, tlog.Corruptf("stor/redis: %s: control of vdisk %v: %w", s.name, vdisk, err)
	}
	return c, nil
}

// fields reads an array of n strings, null as the empty one.
func (s *Server) fields(what string, n int, reply any, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	f, err := redis.Strings(reply, nil)
	if err == nil && n >= 0 && len(f) != n {
		err = fmt.Errorf("%d values instead of %d", len(f), n)
	}
	if err != nil {
		return nil, s.refusal(stor.ServerError, "%s: %w", what, err)
	}
	return f, nil
}

func parseControl(f []string) (c stor.Control, err error) {
	if len(f) != 4 {
		return c, fmt.Errorf("%d values instead of 4", len(f))
	}
	if c.Owner, err = parseOwner(f[0], f[1]); err != nil {
		return c, err
	}
	if c.Head, err = parseNumber[tlog.Position](f[2]); err != nil {
		return c, fmt.Errorf("head: %w", err)
	}
	if c.Commit, err = parseNumber[tlog.Position](f[3]); err != nil {
		return c, fmt.Errorf("commit: %w", err)
	}
	return c, nil
}

// Vdisks lists what was ever fenced here.
func (s *Server) Vdisks(ctx context.Context) ([]tlog.UUID, error) {
	reply, err := s.ask(ctx, listReply, "SMEMBERS", keyVdisks)
	names, err := s.fields("vdisks", -1, reply, err)
	if err != nil {
		return nil, err
	}
	vdisks := make([]tlog.UUID, 0, len(names))
	for _, n := range names {
		v, err := tlog.ParseUUID(n)
		if err != nil {
			return nil, tlog.Corruptf("stor/redis: %s: vdisks: %w", s.name, err)
		}
		vdisks = append(vdisks, v)
	}
	return vdisks, nil
}

// Identify reads cookie and manifest.
func (s *Server) Identify(ctx context.Context) (tlog.UUID, *stor.Manifest, error) {
	reply, err := s.ask(ctx, smallReply, "HMGET", keyID, "cookie", "config", "manifest")
	f, err := s.fields("identify", 3, reply, err)
	if err != nil {
		return tlog.UUID{}, nil, err
	}
	if f[0] == "" {
		return tlog.UUID{}, nil, s.empty(ctx)
	}
	cookie, err := tlog.ParseUUID(f[0])
	if err != nil {
		return tlog.UUID{}, nil, tlog.Corruptf("stor/redis: %s: cookie: %w", s.name, err)
	}
	m := new(stor.Manifest)
	if err := json.Unmarshal([]byte(f[2]), m); err != nil {
		return tlog.UUID{}, nil, tlog.Corruptf("stor/redis: %s: manifest: %w", s.name, err)
	}
	if number(m.ConfigVersion) != f[1] {
		return tlog.UUID{}, nil, tlog.Corruptf("stor/redis: %s: manifest of config version %d under version %q", s.name, m.ConfigVersion, clip(f[1]))
	}
	return cookie, m, nil
}

// empty says what a server without a cookie is: never used, or used by others.
// Like the init script, it overlooks what expires by itself.
func (s *Server) empty(ctx context.Context) error {
	size, err := redis.Uint64(s.ask(ctx, smallReply, "DBSIZE"))
	if err != nil {
		return s.judge("identify", err)
	}
	var keys []string
	if size > 0 && size <= 1024 {
		reply, err := s.ask(ctx, smallReply, "KEYS", "*")
		if keys, err = s.fields("identify", -1, reply, err); err != nil {
			return err
		}
		size = 0
	}
	for _, k := range keys {
		if !strings.HasPrefix(k, "tlog:{") || !strings.Contains(k, "}:t:") {
			size = uint64(len(keys))
		}
	}
	if size > 0 {
		return s.refusal(stor.Denied, "identify: not initialised, but database %d holds %d keys; use an empty one", s.db, size)
	}
	return fmt.Errorf("stor/redis: %s: %w", s.name, stor.ErrEmpty)
}

// Space is the memory used, of maxmemory or else of the machine's.
func (s *Server) Space(ctx context.Context) (stor.Space, error) {
	if s.opt.Emulated {
		_, err := s.ask(ctx, smallReply, "PING")
		return stor.Space{}, err
	}
	text, err := redis.String(s.ask(ctx, smallReply, "INFO", "memory"))
	if err != nil {
		return stor.Space{}, s.judge("space", err)
	}
	f := parseInfo(text)
	space := stor.Space{Used: f.number("used_memory"), Total: f.number("maxmemory")}
	if space.Total == 0 {
		space.Total = f.number("total_system_memory")
	}
	return space, nil
}
