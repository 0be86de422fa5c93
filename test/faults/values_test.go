//go:build e2e

package faults

import (
	"errors"
	"fmt"

	"math/rand/v2"

	redigo "github.com/gomodule/redigo/redis"

	"tlog"
)

// spoil changes the value of a key, or of a field of it, in its own way.
type spoil func(c *cell, v int, value []byte, kind string) []byte

// damage spoils what the operation is about: the owner for a fence, the meta
// that an append finds or the shard that it wrote, a shard that is read.
func damage(how spoil) func(*cell, int) func() {
	return func(c *cell, v int) func() {
		switch {
		case c.op == "fence":
			return c.spoilControl(v, how)
		case c.op == "append" && !c.after:
			return c.spoilMeta(v, how)
		case c.op == "append":
			return c.spoilShard(v, how, c.lastShard(v))
		}
		return c.spoilShard(v, how, 3)
	}
}

// lastShard is the highest position that a server holds.
func (c *cell) lastShard(v int) int {
	for p := len(c.chain); p > 0; p-- {
		if n, ok := c.s.must(v, "EXISTS", c.shardKey(p)).(int64); ok && n == 1 {
			return p
		}
	}
	panic("a server without a shard")
}

func (c *cell) bytes(v int, command string, args ...any) []byte {
	b, err := redigo.Bytes(c.s.admins[v].do(command, args...))
	if err != nil && !errors.Is(err, redigo.ErrNil) {
		panic(fmt.Errorf("%s %v: %w", command, args, err))
	}
	return b
}

func (c *cell) spoilControl(v int, how spoil) func() {
	key := c.controlKey()
	epoch := c.bytes(v, "HGET", key, "epoch")
	spoiled := how(c, v, epoch, "control")
	if spoiled == nil {
		kept := c.bytes(v, "DUMP", key)
		c.s.must(v, "DEL", key)
		c.s.must(v, "SET", key, "of another kind")
		return func() {
			c.s.must(v, "RESTORE", key, 0, kept, "REPLACE")
		}
	}
	c.s.must(v, "HSET", key, "epoch", spoiled)
	return func() { // it may have been fenced meanwhile
		if string(c.bytes(v, "HGET", key, "epoch")) == string(spoiled) {
			c.s.must(v, "HSET", key, "epoch", epoch)
		}
	}
}

// spoilMeta leaves a meta where the next append goes.
func (c *cell) spoilMeta(v int, how spoil) func() {
	key := c.metaKey(len(c.chain) + 1)
	value := c.bytes(v, "GET", c.metaKey(c.lastShard(v)))
	spoiled := how(c, v, value, "meta")
	if spoiled == nil {
		c.s.must(v, "HSET", key, "of another", "kind")
	} else {
		c.s.must(v, "SET", key, spoiled)
	}
	return func() {
		if spoiled == nil || string(c.bytes(v, "GET", key)) == string(spoiled) {
			c.s.must(v, "DEL", key)
		}
	}
}

func (c *cell) spoilShard(v int, how spoil, pos int) func() {
	key := c.shardKey(pos)
	value := c.bytes(v, "GET", key)
	if value == nil { // the cell took it away, or it is on the others
		pos = 1
		key = c.shardKey(pos)
		value = c.bytes(v, "GET", key)
	}
	spoiled := how(c, v, value, "shard")
	if spoiled != nil {
		c.s.must(v, "SET", key, spoiled)
		return nil
	}
	c.s.must(v, "DEL", key)
	c.s.must(v, "HSET", key, "of another", "kind")
	return func() { c.s.must(v, "DEL", key) }
}

// wrongType is nil: the key is to be of another kind.
func wrongType(*cell, int, []byte, string) []byte { return nil }

func truncated(_ *cell, _ int, value []byte, _ string) []byte { return value[:len(value)/2] }

func flipped(_ *cell, _ int, value []byte, _ string) []byte {
	b := append([]byte(nil), value...)
	i := rand.IntN(8 * len(b))
	b[i/8] ^= 1 << (i % 8)
	return b
}

// another is the value of another position, or of another vdisk.
func another(c *cell, v int, value []byte, kind string) []byte {
	switch kind {
	case "control":
		return fmt.Appendf(nil, "%020d", 1)
	case "meta":
		return value
	}
	for p := 1; p <= len(c.chain); p++ {
		if b := c.bytes(v, "GET", c.shardKey(p)); b != nil && string(b) != string(value) {
			return b
		}
	}
	panic("a server with one shard only")
}

// stale is what was true before: an owner of before, the meta of an owner of
// before, a shard of an aggregation that was never acknowledged.
func stale(c *cell, _ int, value []byte, kind string) []byte {
	switch kind {
	case "control":
		return fmt.Appendf(nil, "%020d", 0)
	case "meta":
		return fmt.Appendf(nil, "%020d %s", 0, value[21:])
	}
	pos := tlog.Position(3)
	sealed, _, err := c.s.seal(c.key, c.wrap, c.pool, c.vdisk, pos, "what nobody acknowledged ")
	if err != nil {
		panic(err)
	}
	sealed.Chain(c.chain[pos-2].digest)
	head, body := sealed.Shard(0)
	return append(append([]byte(nil), head...), body...)
}
