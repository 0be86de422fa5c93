//go:build e2e

package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tlog/internal/redistest"
	"tlog/stor"
	"tlog/stor/redis"
)

func TestRealAdmission(t *testing.T) {
	master := redistest.Start(t)
	tests := []struct {
		name string
		args []string
		opt  redis.Options
		code stor.Code // 0: admitted, and initialised
		want []string  // in the message
	}{
		{name: "as it must be"},
		{"everysec", []string{"--appendfsync", "everysec"}, redis.Options{}, stor.Unfit,
			[]string{"appendfsync", `"everysec"`, `"always"`, "CONFIG SET appendfsync always"}},
		{"no fsync", []string{"--appendfsync", "no"}, redis.Options{}, stor.Unfit, []string{"appendfsync"}},
		{"no append-only file", []string{"--appendonly", "no"}, redis.Options{}, stor.Unfit, []string{"CONFIG SET appendonly yes"}},
		{"no fsync on rewrite", []string{"--no-appendfsync-on-rewrite", "yes"}, redis.Options{}, stor.Unfit, []string{"no-appendfsync-on-rewrite"}},
		{"eviction", []string{"--maxmemory-policy", "allkeys-lru"}, redis.Options{}, stor.Unfit,
			[]string{"maxmemory-policy", `"allkeys-lru"`, `"noeviction"`, "CONFIG SET maxmemory-policy noeviction"}},
		{"everysec stated", []string{"--appendfsync", "everysec"}, redis.Options{Durability: stor.DurabilityEverysec}, 0, nil},
		{"better than stated", nil, redis.Options{Durability: stor.DurabilityEverysec}, 0, nil},
		{"no fsync, everysec stated", []string{"--appendfsync", "no"}, redis.Options{Durability: stor.DurabilityEverysec}, stor.Unfit, []string{"appendfsync"}},
		{"everysec stated, without a file", []string{"--appendonly", "no"}, redis.Options{Durability: stor.DurabilityEverysec}, stor.Unfit, []string{"appendonly"}},
		{"memory stated", []string{"--appendonly", "no"}, redis.Options{Durability: stor.DurabilityMemory}, 0, nil},
		{"memory stated, eviction", []string{"--appendonly", "no", "--maxmemory-policy", "volatile-ttl"}, redis.Options{Durability: stor.DurabilityMemory}, stor.Unfit,
			[]string{"maxmemory-policy"}},
		{"cluster", []string{"--cluster-enabled", "yes"}, redis.Options{}, stor.Replica, []string{"cluster"}},
		{"replica", []string{"--replicaof", strings.Replace(master.Addr, ":", " ", 1)}, redis.Options{}, stor.Replica, []string{"role", "slave"}},
		{"no CONFIG", []string{"--rename-command", "CONFIG", ""}, redis.Options{}, stor.Unfit, []string{"CONFIG GET is refused"}},
		{"no INFO", []string{"--rename-command", "INFO", ""}, redis.Options{}, stor.Unfit, []string{"INFO"}},
		{"no password given", []string{"--requirepass", "secret"}, redis.Options{}, stor.Denied, []string{"NOAUTH", "password"}},
		{"wrong password", []string{"--requirepass", "secret"}, redis.Options{Password: "guess"}, stor.Denied, []string{"WRONGPASS"}},
		{"password", []string{"--requirepass", "secret"}, redis.Options{Password: "secret"}, 0, nil},
		{"user", strings.Fields("--user tlog on >secret ~tlog:* -@all " + permissions), redis.Options{Username: "tlog", Password: "secret"}, 0, nil},
		{"user without CONFIG", strings.Fields("--user tlog on >secret ~* +@all -config"), redis.Options{Username: "tlog", Password: "secret"}, stor.Denied,
			[]string{"NOPERM", "CONFIG GET is refused"}},
		{"user without scripts", strings.Fields("--user tlog on >secret ~* +@all -@scripting"), redis.Options{Username: "tlog", Password: "secret"}, stor.Denied,
			[]string{"NOPERM"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := redistest.Start(t, test.args...)
			s := dial(t, r.Addr, test.opt)
			_, _, err := s.Identify(t.Context())
			if test.code == 0 {
				if !errors.Is(err, stor.ErrEmpty) {
					t.Fatalf("identify: %v, want ErrEmpty", err)
				}
				own(t, s)
				mustAppend(t, s, shard(1, 100))
				mustHold(t, s, shard(1, 100))
				if v, err := s.Vdisks(t.Context()); err != nil || len(v) != 1 {
					t.Errorf("vdisks: %v, %v", v, err)
				}
				if b, err := s.Shard(t.Context(), vdisk, 1, 4); err != nil || string(b) != "head" {
					t.Errorf("shard: %q, %v", b, err)
				}
				if space, err := s.Space(t.Context()); err != nil || space.Used == 0 || space.Total == 0 {
					t.Errorf("space: %+v, %v", space, err)
				}
				return
			}
			mustRefuse(t, err, test.code, test.want...)
			mustRefuse(t, appendOne(t, s, shard(1, 100)), test.code, test.want...)
		})
	}
}

// permissions is the rule of docs/format-redis.md.
const permissions = "+info +config|get +script|load +eval +evalsha +get +set +mget +getrange +strlen +exists +del +rename +persist +hset +hmget +sadd +smembers +dbsize +keys +select"

// TestReadOnlyAdmission: what cannot be trusted with new shards can be read.
func TestReadOnlyAdmission(t *testing.T) {
	r := redistest.Start(t)
	own(t, dial(t, r.Addr, redis.Options{}))
	mustAppend(t, dial(t, r.Addr, redis.Options{}), shard(1, 100))
	r.Do("CONFIG", "SET", "appendfsync", "everysec")
	s := dial(t, r.Addr, redis.Options{ReadOnly: true})
	mustHold(t, s, shard(1, 100))
	mustRefuse(t, appendOne(t, s, shard(2, 100)), stor.Denied, "reading only")
	_, err := s.Fence(t.Context(), &stor.FenceRequest{Identity: me, Owner: owner, Vdisk: vdisk})
	mustRefuse(t, err, stor.Denied, "reading only")
}

// TestReadmission changes a setting under a connection that is in use.
func TestReadmission(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{Readmit: 20 * time.Millisecond})
	own(t, s)
	mustAppend(t, s, shard(1, 100))
	for name, bad := range map[string]string{"appendfsync": "everysec", "maxmemory-policy": "allkeys-random", "no-appendfsync-on-rewrite": "yes"} {
		good := strings.Split(r.Get(name), " ")[0]
		r.Do("CONFIG", "SET", name, bad)
		eventually(t, func() error {
			var refused *stor.Refusal
			if err := appendOne(t, s, shard(1, 100)); !errors.As(err, &refused) || refused.Code != stor.Unfit || !strings.Contains(err.Error(), name) {
				return fmt.Errorf("after %s %s: append: %v, want unfit", name, bad, err)
			}
			return nil
		})
		_, _, err := s.Identify(t.Context())
		mustRefuse(t, err, stor.Unfit, name)
		r.Do("CONFIG", "SET", name, good)
		eventually(t, func() error { return appendOne(t, s, shard(1, 100)) })
	}
}

// TestEvictedKeys: shards were thrown away while nobody looked at the policy.
func TestEvictedKeys(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{Readmit: time.Nanosecond})
	own(t, s)
	r.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
	r.Do("CONFIG", "SET", "maxmemory", "1")
	r.Do("PING")
	r.Do("CONFIG", "SET", "maxmemory", "0")
	r.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	_, err := s.Control(t.Context(), vdisk)
	mustRefuse(t, err, stor.Unfit, "evicted_keys")
}
