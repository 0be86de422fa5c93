//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gomodule/redigo/redis"
)

// TestDamagedServers wipes a Redis, takes an older copy of another one's files
// back, and flips a bit in every tenth value of a third: verify names each, and
// no restore has a wrong byte.
func TestDamagedServers(t *testing.T) {
	p := newRedisPool(t, 7)
	s := newStack(t, p)
	s.fio("before", s.socket, 0, "--bs=4k", "--rw=randwrite", "--size=4m", "--fsync=8")
	used := p.used(t)
	flipped, older, wiped := used[0], used[1], used[2]
	r := p.redis[older]
	r.Kill()
	saved := t.TempDir()
	run(t, "cp", "-a", r.Dir+"/.", saved)
	r.Restart()
	s.fio("after", s.socket, 4<<20, "--bs=4k", "--rw=randwrite", "--size=4m", "--fsync=8")
	m := s.mark("disk.img")
	for _, end := range []*process{s.disk, s.server} {
		if code := end.stop(); code != 0 {
			t.Fatalf("exit code %d", code)
		}
	}
	check := func(what string, want int, bad ...int) {
		t.Helper()
		out, code := try(t, bin(t, "tlogctl"), append([]string{"verify", vdisk}, p.flags...)...)
		if code != want {
			t.Errorf("%s: verify ended with code %d, want %d", what, code, want)
		}
		named(t, p, out, bad...)
		image, _ := restore(t, p, "latest")
		equal(t, image, m.image)
		remove(t, image)
	}
	flipTenth(t, p.redis[flipped].Addr)
	check("a bit flipped in every tenth value", 4, flipped)
	flipTenth(t, p.redis[flipped].Addr) // its own inverse
	check("the same bits flipped again", 0)

	r.Kill()
	run(t, "find", r.Dir, "-mindepth", "1", "-delete")
	run(t, "cp", "-a", saved+"/.", r.Dir)
	r.Restart()
	check("an older copy", 4, older)
	p.redis[wiped].Do("FLUSHALL")
	check("an older copy, and one wiped", 4, older, wiped)
}

// flipTenth changes a bit of every tenth shard that a server holds.
func flipTenth(t testing.TB, addr string) {
	t.Helper()
	c, err := redis.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	keys, err := redis.Strings(c.Do("KEYS", "tlog:*:d:*0"))
	if err != nil || len(keys) < 3 {
		t.Fatalf("%d shards found to damage: %v", len(keys), err)
	}
	for _, k := range keys {
		n, err := redis.Int(c.Do("STRLEN", k))
		if err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprint(n / 2)
		b, err := redis.Bytes(c.Do("GETRANGE", k, at, at))
		if err != nil || len(b) != 1 {
			t.Fatalf("%s: %v", k, err)
		}
		if _, err := c.Do("SETRANGE", k, at, []byte{b[0] ^ 0x10}); err != nil {
			t.Fatal(err)
		}
	}
}

// used are the servers of the pool that hold shards: not its spare.
func (p *pool) used(t testing.TB) (servers []int) {
	t.Helper()
	for i, r := range p.redis {
		c, err := redis.Dial("tcp", r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := redis.Strings(c.Do("KEYS", "tlog:*:d:*"))
		if err = errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
		if len(keys) > 30 {
			servers = append(servers, i)
		}
	}
	if len(servers) < 6 {
		t.Fatalf("only %v hold shards", servers)
	}
	return servers
}
