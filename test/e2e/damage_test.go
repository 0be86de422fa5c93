//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomodule/redigo/redis"
)

func (p *pool) shardDir(i int) string { return filepath.Join(p.dir, fmt.Sprintf("shard-%02d", i)) }

// serverName is how messages call shard server i.
func (p *pool) serverName(i int) string {
	if p.dir != "" {
		return p.shardDir(i)
	}
	return p.redis[i].Addr
}

// save keeps a copy of the stopped embedded store; Redis servers keep their own.
func (p *pool) save(t testing.TB) string {
	if p.dir == "" {
		return ""
	}
	copied := filepath.Join(t.TempDir(), "saved")
	run(t, "cp", "-a", p.dir, copied)
	return copied
}

// restore undoes lose and flip.
func (p *pool) restore(t testing.TB, saved string) {
	if p.dir == "" {
		for _, i := range p.lost {
			p.redis[i].Restart()
		}
		p.lost = nil
		if p.flipped > 0 { // flipping is its own inverse
			p.flipRedis(t, p.flipped)
			p.flipped = 0
		}
		return
	}
	remove(t, p.dir)
	run(t, "cp", "-a", saved, p.dir)
}

// lose deletes directories, or ends Redis servers.
func (p *pool) lose(t testing.TB, servers ...int) {
	for _, i := range servers {
		if p.dir != "" {
			remove(t, p.shardDir(i))
		} else {
			p.redis[i].Kill()
			p.lost = append(p.lost, i)
		}
	}
}

// flip changes one byte of every shard that one server other than the first
// stores, and returns which: a spare may hold none.
func (p *pool) flip(t testing.TB) int {
	if p.dir == "" {
		p.flipped = 2
		p.flipRedis(t, p.flipped)
		return p.flipped
	}
	for i := 1; i < 3; i++ {
		if p.flipFiles(t, i) >= 10 {
			return i
		}
	}
	t.Fatal("no server with shards to damage")
	return 0
}

func (p *pool) flipFiles(t testing.TB, server int) int {
	segments, err := filepath.Glob(filepath.Join(p.shardDir(server), "*"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Every stored shard begins with the envelope's magic and version.
		for at := 0; ; at += 5 {
			i := bytes.Index(b[at:], []byte("TLOG\x01"))
			if i < 0 {
				break
			}
			at += i
			b[at+bodyOffset] ^= 0x40
			flipped++
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return flipped
}

// bodyOffset lies in the salt of a stored shard: every bit of it is covered.
const bodyOffset = 100

func (p *pool) flipRedis(t testing.TB, server int) {
	c, err := redis.Dial("tcp", p.redis[server].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	keys, err := redis.Strings(c.Do("KEYS", "tlog:*:d:*"))
	if err != nil || len(keys) < 10 {
		t.Fatalf("%d shards found to damage: %v", len(keys), err)
	}
	for _, k := range keys {
		b, err := redis.Bytes(c.Do("GETRANGE", k, bodyOffset, bodyOffset))
		if err != nil || len(b) != 1 {
			t.Fatalf("%s: %v", k, err)
		}
		if _, err := c.Do("SETRANGE", k, bodyOffset, []byte{b[0] ^ 0x40}); err != nil {
			t.Fatal(err)
		}
	}
}
