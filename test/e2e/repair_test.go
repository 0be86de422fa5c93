//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"

	"tlog/internal/redistest"
)

// TestRepair damages shard servers one way after the other. Each is named, none
// makes a wrong byte appear, and repair brings the log back to n good shards:
// afterwards any two other servers may be lost.
func TestRepair(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		p := newEmbedded(t)
		s := newStack(t, p)
		s.write(t, "first")
		h := p.holders(t)
		last := repairEmbedded(t, s, h[0], h[1], h[2])
		p.lose(t, h[3], h[4])
		image, _ := restore(t, p, "latest")
		equal(t, image, last.image)
	})
	t.Run("redis", func(t *testing.T) {
		p := newSpare(t)
		s := newStack(t, p)
		s.write(t, "first")
		h := p.holders(t)
		last := repairRedis(t, s, h[0], h[1], h[2])
		p.lose(t, h[3], h[4])
		image, _ := restore(t, p, "latest")
		equal(t, image, last.image)
	})
}

// holders are the servers that store shards of the vdisk: which one of them is
// the spare depends on its UUID.
func (p *pool) holders(t *testing.T) []int {
	t.Helper()
	var list []int
	for i := range 7 {
		if p.shards(t, i) > 30 {
			list = append(list, i)
		}
	}
	if len(list) < 6 {
		t.Fatalf("servers %v hold shards", list)
	}
	return list
}

// shards counts what a server stores.
func (p *pool) shards(t *testing.T, server int) int {
	t.Helper()
	if p.dir == "" {
		c := p.dial(t, server)
		defer c.Close()
		keys, err := redis.Strings(c.Do("KEYS", "tlog:*:d:*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(keys)
	}
	segments, err := filepath.Glob(filepath.Join(p.shardDir(server), "*"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(b, []byte("TLOG\x01"))
	}
	return n
}

// newSpare is seven Redis servers: a spare keeps writing going.
func newSpare(t testing.TB) *pool {
	p := &pool{}
	var addrs []string
	for range 7 {
		s := redistest.Start(t)
		p.redis = append(p.redis, s)
		addrs = append(addrs, s.Addr)
	}
	p.flags = []string{"--storage-addresses", strings.Join(addrs, ","), "--key-file", filepath.Join(t.TempDir(), "key")}
	run(t, bin(t, "tlogctl"), append([]string{"stores", "init"}, p.flags...)...)
	return p
}

// write adds some hundred positions.
func (s *stack) write(t *testing.T, name string) {
	t.Helper()
	s.fio(name, s.socket, 0, "--bs=16k", "--rw=randwrite", "--size=6m", "--fsync=4")
}

func (s *stack) stopAll(t *testing.T) {
	t.Helper()
	if code := s.disk.stop(); code != 0 {
		t.Fatalf("tlognbd ended with code %d:\n%s", code, tail(s.disk.out.String()))
	}
	if code := s.server.stop(); code != 0 {
		t.Fatalf("tlogserver ended with code %d:\n%s", code, tail(s.server.out.String()))
	}
}

// repairEmbedded harms directories while nobody serves them.
func repairEmbedded(t *testing.T, s *stack, rolledBack, rotten, wiped int) moment {
	p := s.pool
	s.stopAll(t)
	old := filepath.Join(t.TempDir(), "old")
	run(t, "cp", "-a", p.shardDir(rolledBack), old)
	s.startServer()
	s.startDisk()
	s.write(t, "second")
	last := s.mark("last.img")
	s.stopAll(t)

	remove(t, p.shardDir(rolledBack))
	run(t, "cp", "-a", old, p.shardDir(rolledBack))
	p.flipTenth(t, rotten)
	p.damaged(t, last, rolledBack, rotten)
	p.ctl(t, 0, "repair", vdisk)
	p.clean(t)

	remove(t, p.shardDir(wiped))
	p.damaged(t, last, wiped)
	p.ctl(t, 6, "stores", "check")
	p.ctl(t, 0, "stores", "replace", "--server", p.shardDir(wiped))
	p.joining(t, true)
	p.ctl(t, 0, "repair", "--all")
	p.clean(t)
	p.joining(t, false)
	return last
}

// repairRedis harms Redis servers, one of them while the disk is written to.
func repairRedis(t *testing.T, s *stack, rolledBack, rotten, wiped int) moment {
	p := s.pool
	old := p.dump(t, rolledBack)
	s.write(t, "second")
	last := s.mark("before.img")
	s.stopAll(t)

	p.load(t, rolledBack, old)
	p.flipTenth(t, rotten)
	p.breakMetas(t, rotten)
	p.damaged(t, last, rolledBack, rotten)
	if out := p.ctl(t, 2, "repair", vdisk); !strings.Contains(out, "--force") {
		t.Errorf("repair without --force said %s", out)
	}
	if out := p.ctl(t, 0, "repair", vdisk, "--dry-run"); !strings.Contains(out, "to be written again") {
		t.Errorf("a dry run said %s", out)
	}
	p.ctl(t, 4, "scrub", vdisk)
	p.ctl(t, 0, "repair", vdisk, "--force")
	p.clean(t)

	// A server is wiped and replaced beside a disk in use; tlogserver repairs
	// by itself and makes the new one a voter.
	s.startServer()
	s.startDisk()
	s.write(t, "third")
	p.do(t, wiped, "FLUSHALL")
	s.write(t, "without")
	p.named(t, wiped)
	busy := start(t, "fio", "--name=beside", "--ioengine=nbd", "--uri="+uri(s.socket), "--bs=16k", "--rw=randwrite", "--size=8m",
		"--time_based", "--runtime=3s", "--fsync=4", "--verify=crc32c", "--verify_state_save=0")
	p.ctl(t, 0, "stores", "replace", "--server", p.serverName(wiped))
	<-busy.done
	if busy.err != nil {
		t.Errorf("writing beside a replacement: %v\n%s", busy.err, tail(busy.out.String()))
	}
	eventually(t, "the new server votes", func() error {
		out, code := try(t, bin(t, "tlogctl"), append([]string{"stores", "check"}, p.flags...)...)
		if code != 0 || strings.Contains(out, "does not vote") {
			return fmt.Errorf("exit code %d: %s", code, out)
		}
		return nil
	})
	last = s.mark("last.img")
	s.unfailed()
	s.stopAll(t)
	p.clean(t)
	return last
}

// joining wants a server that does not vote yet, or none.
func (p *pool) joining(t *testing.T, want bool) {
	t.Helper()
	if out := p.ctl(t, 0, "stores", "check"); strings.Contains(out, "does not vote") != want {
		t.Errorf("joining is not %v:\n%s", want, out)
	}
}

// ctl runs tlogctl and wants an exit code.
func (p *pool) ctl(t *testing.T, want int, args ...string) string {
	t.Helper()
	out, code := try(t, bin(t, "tlogctl"), append(args, p.flags...)...)
	if code != want {
		t.Fatalf("tlogctl %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, tail(out))
	}
	return out
}

// damaged checks that verify names servers, and that a restore is right all the same.
func (p *pool) damaged(t *testing.T, last moment, servers ...int) {
	t.Helper()
	p.named(t, servers...)
	image, _ := restore(t, p, "latest")
	equal(t, image, last.image)
	remove(t, image)
}

func (p *pool) named(t *testing.T, servers ...int) {
	t.Helper()
	out := p.ctl(t, 4, "verify", vdisk)
	for _, i := range servers {
		if !strings.Contains(out, p.serverName(i)) {
			t.Errorf("verify does not name %s:\n%s", p.serverName(i), tail(out))
		}
	}
}

func (p *pool) clean(t *testing.T) {
	t.Helper()
	p.ctl(t, 0, "verify", vdisk)
	p.ctl(t, 0, "scrub", "--all")
}

// breakMetas leaves what a server says of some positions without its form: one
// digit is none, there is a byte too many, or nothing. Of one of them the shard is
// gone too. Other positions the server lost altogether.
func (p *pool) breakMetas(t *testing.T, server int) {
	t.Helper()
	c := p.dial(t, server)
	defer c.Close()
	keys, err := redis.Strings(c.Do("KEYS", "tlog:*:m:*"))
	if err != nil || len(keys) < 30 {
		t.Fatalf("%d metas found to damage: %v", len(keys), err)
	}
	data := func(key string) string { return strings.Replace(key, ":m:", ":d:", 1) }
	for _, args := range [][]any{
		{"SETRANGE", keys[1], 30, "q"}, {"SETRANGE", keys[4], 3, "9"}, {"APPEND", keys[7], "0"}, {"SETRANGE", keys[8], 86, "9"},
		{"SET", keys[11], ""}, {"SETRANGE", keys[14], 84, "."}, {"DEL", data(keys[14])},
		{"DEL", keys[17], data(keys[17])}, {"DEL", keys[18], data(keys[18])},
	} {
		if _, err := c.Do(args[0].(string), args[1:]...); err != nil {
			t.Fatal(err)
		}
	}
}

// flipTenth flips one bit in every tenth shard of a server.
func (p *pool) flipTenth(t *testing.T, server int) {
	t.Helper()
	if p.dir != "" {
		if n := p.flipFilesEvery(t, server, 10); n < 3 {
			t.Fatalf("%d shards were damaged", n)
		}
		return
	}
	c := p.dial(t, server)
	defer c.Close()
	keys, err := redis.Strings(c.Do("KEYS", "tlog:*:d:*"))
	if err != nil || len(keys) < 30 {
		t.Fatalf("%d shards found to damage: %v", len(keys), err)
	}
	for i := 0; i < len(keys); i += 10 {
		b, err := redis.Bytes(c.Do("GETRANGE", keys[i], bodyOffset, bodyOffset))
		if err != nil || len(b) != 1 {
			t.Fatalf("%s: %v", keys[i], err)
		}
		if _, err := c.Do("SETRANGE", keys[i], bodyOffset, []byte{b[0] ^ 0x40}); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *pool) dial(t *testing.T, server int) redis.Conn {
	t.Helper()
	c, err := redis.Dial("tcp", p.redis[server].Addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *pool) do(t *testing.T, server int, command string) {
	t.Helper()
	c := p.dial(t, server)
	defer c.Close()
	if _, err := c.Do(command); err != nil {
		t.Fatal(err)
	}
}

// dump copies all that a Redis holds.
func (p *pool) dump(t *testing.T, server int) map[string][]byte {
	t.Helper()
	c := p.dial(t, server)
	defer c.Close()
	keys, err := redis.Strings(c.Do("KEYS", "tlog:*"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, k := range keys {
		b, err := redis.Bytes(c.Do("DUMP", k))
		if errors.Is(err, redis.ErrNil) {
			continue // it expired
		}
		if err != nil {
			t.Fatal(err)
		}
		all[k] = b
	}
	return all
}

// load puts a Redis back to what it held, cookie and all.
func (p *pool) load(t *testing.T, server int, all map[string][]byte) {
	t.Helper()
	c := p.dial(t, server)
	defer c.Close()
	if _, err := c.Do("FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	for k, b := range all {
		if _, err := c.Do("RESTORE", k, 0, b); err != nil {
			t.Fatal(err)
		}
	}
}

// flipFilesEvery flips a bit in every nth shard of a directory.
func (p *pool) flipFilesEvery(t *testing.T, server, nth int) int {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(p.shardDir(server), "*"))
	if err != nil {
		t.Fatal(err)
	}
	seen, flipped := 0, 0
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; ; at += 5 {
			i := bytes.Index(b[at:], []byte("TLOG\x01"))
			if i < 0 {
				break
			}
			at += i
			if seen++; seen%nth == 0 {
				b[at+bodyOffset] ^= 0x40
				flipped++
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return flipped
}
