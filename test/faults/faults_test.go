//go:build e2e

package faults

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"tlog"
)

// fault is one thing that goes wrong with a shard server.
type fault struct {
	name    string
	victims int // servers that have it; two of the four stop the pool

	// A fault of a real Redis, or of what it holds, has begin, which gives what
	// ends it (nil: nothing can); ready comes before the operation and the
	// fault. Else answer takes the place of the Redis.
	ready  func(c *cell, v int)
	begin  func(c *cell, v int) func()
	answer func(c *cell, x *exchange) ([]byte, error)

	says     []string         // one of these is to be said of a victim; nil: it heals unseen
	heals    bool             // unseen also when it came after the operation
	healed   func(*cell) bool // unseen in these cells
	deaf     bool             // the Redis cannot be asked meanwhile
	lies     bool             // as a server may that is not only broken
	destroys bool             // data, until it is repaired
}

var storeFaults = []fault{
	{name: "error", victims: 2, says: []string{"it broke"}, answer: func(c *cell, x *exchange) ([]byte, error) {
		return c.instead(x, "-ERR it broke\r\n")
	}},
	{name: "slow", victims: 2, answer: func(c *cell, x *exchange) ([]byte, error) {
		return c.around(x, func() { c.pause(requestTime / 2) })
	}},
	{name: "hang", victims: 2, deaf: true, says: []string{"no answer", "deadline"}, begin: func(c *cell, v int) func() {
		c.s.redis[v].Freeze()
		return c.s.redis[v].Thaw
	}},
	{name: "executed but unanswered", victims: 2, says: []string{"no answer", "EOF", "reset", "closed", "deadline"}, answer: func(c *cell, x *exchange) ([]byte, error) {
		_, err := x.run()
		if err == nil && !c.after { // the connection stays open, and nothing comes
			<-c.over
		}
		return nil, errCut
	}},
	{name: "executed twice", victims: 2, answer: func(c *cell, x *exchange) ([]byte, error) {
		first, err := x.run()
		if err != nil {
			return nil, err
		}
		second, err := x.run()
		if c.after {
			return first, err
		}
		return second, err
	}},
	{name: "answer of another request", victims: 2, lies: true, answer: func(c *cell, x *exchange) ([]byte, error) {
		other := x.previous()
		if other == nil {
			return nil, errCut
		}
		if c.after {
			if _, err := x.run(); err != nil {
				return nil, err
			}
		}
		return other, nil
	}},
	{name: "OOM", victims: 2, says: []string{"OOM"}, healed: reading, begin: setting("maxmemory", "1", "0")},
	{name: "READONLY", victims: 2, says: []string{"READONLY", "role is slave"}, begin: func(c *cell, v int) func() {
		c.s.must(v, "REPLICAOF", "127.0.0.1", "1")
		return func() { c.s.must(v, "REPLICAOF", "NO", "ONE") }
	}},
	{name: "LOADING", victims: 2, deaf: true, says: []string{"LOADING", "loading", "refused", "no answer"}, ready: ballast, begin: load},
	{name: "MISCONF", victims: 2, says: []string{"MISCONF"}, healed: reading, begin: failingSave},
	{name: "NOAUTH", victims: 2, says: []string{"NOAUTH"}, begin: func(c *cell, v int) func() {
		c.s.must(v, "ACL", "SETUSER", "default", ">secret")
		c.s.must(v, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		return func() { c.s.must(v, "ACL", "SETUSER", "default", "nopass") }
	}},
	{name: "NOPERM", victims: 2, deaf: true, says: []string{"NOPERM"}, begin: func(c *cell, v int) func() {
		c.s.must(v, "ACL", "SETUSER", "default", "-evalsha", "-eval", "-set", "-get", "-getrange", "-mget", "-hmget")
		return func() { c.s.must(v, "ACL", "SETUSER", "default", "+@all") }
	}},
	{name: "NOSCRIPT", victims: 2, begin: func(c *cell, v int) func() {
		c.s.must(v, "SCRIPT", "FLUSH")
		return nil
	}},
	{name: "BUSY", victims: 2, deaf: true, says: []string{"BUSY", "no answer"}, begin: busy},
	{name: "max clients", victims: 2, says: []string{"max number of clients"}, begin: func(c *cell, v int) func() {
		c.s.must(v, "CONFIG", "SET", "maxclients", "1")
		c.s.must(v, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		return func() { c.s.must(v, "CONFIG", "SET", "maxclients", "10000") }
	}},
	{name: "eviction", victims: 1, destroys: true, says: []string{"evict", "cookie", "maxmemory-policy"}, begin: evict},
	{name: "key of a wrong type", victims: 1, destroys: true, says: []string{"WRONGTYPE", "cannot", "absent", "no such shard"}, begin: damage(wrongType)},
	{name: "truncated value", victims: 1, destroys: true, says: []string{"position", "not a number", "meta"}, healed: controlHeals, begin: damage(truncated)},
	{name: "stale value", victims: 1, destroys: true, says: []string{"digest", "position"}, healed: controlHeals, begin: damage(stale)},
	{name: "another position's value", victims: 1, destroys: true, says: []string{"position"}, healed: controlHeals, begin: damage(another)},
	{name: "bit flip", victims: 1, destroys: true, says: []string{"position", "not a number", "epoch"}, healed: controlHeals, begin: damage(flipped)},
	{name: "amnesia", victims: 1, destroys: true, says: []string{"empty", "WRONGSTORE", "lost its data", "not initialised"}, begin: amnesia},
	{name: "roll-back", victims: 1, destroys: true, healed: forgotten, ready: remember, says: []string{"no such shard", "holds"}, begin: rollBack},
	{name: "two servers exchanged", victims: 1, says: []string{"cookie", "same store", "another server"}, begin: exchange2},
}

// reading cells see nothing of a server that refuses writes only.
func reading(c *cell) bool { return c.op == "read" }

// controlHeals: a fence writes an owner whatever was there.
func controlHeals(c *cell) bool { return c.op == "fence" || c.op == "append" && !c.after }

// forgotten positions are written again by a takeover.
func forgotten(c *cell) bool { return c.op == "fence" }

// instead gives this answer: in place of the command, or after it.
func (c *cell) instead(x *exchange, answer string) ([]byte, error) {
	if c.after {
		if _, err := x.run(); err != nil {
			return nil, err
		}
	}
	return []byte(answer), nil
}

// around does something before or after the command.
func (c *cell) around(x *exchange, f func()) ([]byte, error) {
	if !c.after {
		f()
		return x.run()
	}
	answer, err := x.run()
	f()
	return answer, err
}

func (c *cell) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.over:
	}
}

func newID() (u tlog.UUID) {
	rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

func contains(s, part string) bool { return strings.Contains(s, part) }

// setting is a fault that a setting of Redis makes and ends.
func setting(name, bad, good string) func(*cell, int) func() {
	return func(c *cell, v int) func() {
		c.s.must(v, "CONFIG", "SET", name, bad)
		return func() { c.s.must(v, "CONFIG", "SET", name, good) }
	}
}

// ballast makes the next start take a while: keys of another database.
func ballast(c *cell, v int) {
	conn, err := redigo.Dial("tcp", c.s.redis[v].Addr)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_ = conn.Send("SELECT", 9)
	const keys = 4000
	for i := range keys {
		_ = conn.Send("SET", fmt.Sprint("ballast", i%100), i)
	}
	if err := conn.Flush(); err != nil {
		panic(err)
	}
	for range keys + 1 {
		if _, err := conn.Receive(); err != nil {
			panic(err)
		}
	}
}

// load restarts a server with so much to load that it says so for a while.
func load(c *cell, v int) func() {
	c.s.redis[v].Kill()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.s.redis[v].Restart("--busy-reply-threshold", "10", "--key-load-delay", "400")
	}()
	return func() {
		<-done
		c.s.must(v, "CONFIG", "SET", "key-load-delay", "0")
		c.s.must(v, "CONFIG", "SET", "loading-process-events-interval-bytes", "2097152")
	}
}

// failingSave has a background save fail: its file cannot be put in place.
func failingSave(c *cell, v int) func() {
	dump := filepath.Join(c.s.redis[v].Dir, "dump.rdb")
	if err := os.RemoveAll(dump); err != nil { // of the last time
		panic(err)
	}
	if err := os.MkdirAll(filepath.Join(dump, "in the way"), 0o700); err != nil {
		panic(err)
	}
	c.s.must(v, "CONFIG", "SET", "save", "3600 1000000")
	c.s.must(v, "BGSAVE")
	c.until(v, "persistence", "rdb_last_bgsave_status:err")
	return func() {
		if err := os.RemoveAll(dump); err != nil {
			panic(err)
		}
		c.s.must(v, "BGSAVE")
		c.until(v, "persistence", "rdb_last_bgsave_status:ok")
		c.s.must(v, "CONFIG", "SET", "save", "")
	}
}

// until waits for a line of INFO.
func (c *cell) until(v int, section, line string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(c.ctx, 20*time.Second)
	defer cancel()
	for {
		if text, err := redigo.String(c.s.admins[v].do("INFO", section)); err == nil && strings.Contains(text, line) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			panic("a Redis never said " + line)
		}
	}
}

// busy keeps a server in a script that does not end.
func busy(c *cell, v int) func() {
	conn, err := net.Dial("tcp", c.s.redis[v].Addr)
	if err != nil {
		panic(err)
	}
	if _, err := fmt.Fprint(conn, "EVAL \"while true do end\" 0\r\n"); err != nil {
		panic(err)
	}
	return func() {
		c.s.must(v, "SCRIPT", "KILL")
		_ = conn.Close()
	}
}

// evict has a server throw keys away, as one does whose policy was changed.
func evict(c *cell, v int) func() {
	kept := c.s.copyFiles(v)
	c.s.must(v, "CONFIG", "SET", "maxmemory-policy", "allkeys-random")
	c.s.must(v, "CONFIG", "SET", "maxmemory", "1")
	if _, err := c.s.admins[v].do("SET", "one", "more"); err != nil && !strings.Contains(err.Error(), "OOM") {
		panic(err)
	}
	c.s.must(v, "CONFIG", "SET", "maxmemory", "0")
	return func() {
		c.s.must(v, "CONFIG", "SET", "maxmemory-policy", "noeviction")
		c.s.putFiles(v, kept)
	}
}

func amnesia(c *cell, v int) func() {
	kept := c.s.copyFiles(v)
	c.s.must(v, "FLUSHALL")
	return func() { c.s.putFiles(v, kept) }
}

// remember keeps a copy for rollBack, and has the log go on.
func remember(c *cell, v int) {
	kept := c.s.copyFiles(v)
	if err := c.publish(2); err != nil {
		panic(err)
	}
	c.old = kept
}

func rollBack(c *cell, v int) func() {
	c.s.putFiles(v, c.old)
	return nil
}

// exchange2 gives a server's address to another, and the other way round.
func exchange2(c *cell, v int) func() {
	w := (v + 1) % servers
	c.s.stations[v].lead(c.s.redis[w].Addr)
	c.s.stations[w].lead(c.s.redis[v].Addr)
	return func() {
		c.s.stations[v].lead(c.s.redis[v].Addr)
		c.s.stations[w].lead(c.s.redis[w].Addr)
	}
}
