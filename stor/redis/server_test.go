package redis_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tlog"
	"tlog/stor"
	"tlog/stor/memory"
	"tlog/stor/redis"
)

func TestAddresses(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:6379", "[::1]:6379", "redis.example:6379@15"} {
		s, err := redis.Dial(addr, redis.Options{})
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		if s.Name() != addr {
			t.Errorf("name %q, want %q", s.Name(), addr)
		}
		s.Close()
	}
	for _, addr := range []string{"", "localhost", ":6379", "localhost:", "localhost:0", "localhost:65536", "localhost:redis", "localhost:1@", "localhost:1@x", "localhost:1@-1", "::1:6379"} {
		if _, err := redis.Dial(addr, redis.Options{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", addr)) {
			t.Errorf("%s: %v, want an error that names it", addr, err)
		}
	}
	for _, opt := range []redis.Options{{Durability: "sometimes"}, {Username: "u"}, {Timeout: -1}} {
		if _, err := redis.Dial("127.0.0.1:1", opt); err == nil {
			t.Errorf("%+v was accepted", opt)
		}
	}
}

// TestAdmission: the same matrix as against the real one, and what that cannot
// be made to say.
func TestAdmission(t *testing.T) {
	type fields = map[string]string
	tests := []struct {
		info, config fields
		opt          redis.Options
		code         stor.Code
		want         string
	}{
		{info: fields{"redis_version": "7.0.0"}},
		{info: fields{"redis_version": "8.2.1"}},
		{info: fields{"redis_version": "6.2.14"}, code: stor.Unfit, want: "7.0 or later"},
		{info: fields{"redis_version": "255.x"}},
		{info: fields{"redis_version": "new"}, code: stor.Unfit, want: "7.0 or later"},
		{info: fields{"redis_mode": "sentinel"}, code: stor.Unfit, want: "sentinel"},
		{info: fields{"redis_mode": "cluster"}, code: stor.Replica, want: "cluster"},
		{info: fields{"cluster_enabled": "1"}, code: stor.Replica, want: "cluster"},
		{info: fields{"role": "slave"}, code: stor.Replica, want: "REPLICAOF NO ONE"},
		{info: fields{"role": ""}, code: stor.Replica, want: "role"},
		{info: fields{"loading": "1"}, code: stor.Busy, want: "loading"},
		{info: fields{"aof_base_size": "0", "aof_rewrite_in_progress": "1"}, code: stor.Busy, want: "appendonly"},
		{info: fields{"aof_rewrite_in_progress": "1"}},
		{info: fields{"evicted_keys": "5"}}, // before us
		{config: fields{"appendonly": "no"}, code: stor.Unfit, want: `appendonly is "no", wanted "yes"`},
		{config: fields{"appendfsync": "everysec"}, code: stor.Unfit, want: `appendfsync is "everysec", wanted "always"`},
		{config: fields{"appendfsync": "absent"}, code: stor.Unfit, want: "no setting appendfsync"},
		{config: fields{"no-appendfsync-on-rewrite": "yes"}, code: stor.Unfit, want: `no-appendfsync-on-rewrite is "yes", wanted "no"`},
		{config: fields{"maxmemory-policy": "volatile-ttl"}, code: stor.Unfit, want: `maxmemory-policy is "volatile-ttl", wanted "noeviction"`},
		{config: fields{"appendfsync": "everysec"}, opt: redis.Options{Durability: stor.DurabilityEverysec}},
		{config: fields{"appendfsync": "no"}, opt: redis.Options{Durability: stor.DurabilityEverysec}, code: stor.Unfit, want: `wanted "everysec"`},
		{config: fields{"appendonly": "no", "appendfsync": "no", "no-appendfsync-on-rewrite": "yes"}, opt: redis.Options{Durability: stor.DurabilityMemory}},
		{config: fields{"maxmemory-policy": "allkeys-lru"}, opt: redis.Options{Durability: stor.DurabilityMemory}, code: stor.Unfit, want: "noeviction"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.info, test.config, test.opt.Durability), func(t *testing.T) {
			p := peer{info: test.info, config: test.config}
			err := appendOne(t, dialPeer(t, p.start(t), test.opt), shard(1, 10))
			if test.code != 0 {
				mustRefuse(t, err, test.code, test.want)
			} else if err != nil {
				t.Errorf("append: %v", err)
			}
		})
	}
}

// TestEvictedAndRestarted: the counter of a later process begins at zero, so
// what it counts was ours.
func TestEvictedAndRestarted(t *testing.T) {
	for _, test := range []struct {
		run, evicted string
		code         stor.Code
	}{{"a", "5", 0}, {"a", "6", stor.Unfit}, {"b", "0", 0}, {"b", "1", stor.Unfit}} {
		var later atomic.Bool
		p := peer{reply: func(words []string) (string, error) {
			run, evicted := "a", "5"
			if later.Load() {
				run, evicted = test.run, test.evicted
			}
			switch words[0] {
			case "INFO":
				return bulk("redis_version:7.0.1\r\nrole:master\r\nrun_id:" + run + "\r\nevicted_keys:" + evicted + "\r\n"), nil
			case "SMEMBERS":
				return "*0\r\n", nil
			}
			return "", nil
		}}
		s := dialPeer(t, p.start(t), redis.Options{Readmit: time.Nanosecond})
		if _, err := s.Vdisks(t.Context()); err != nil {
			t.Fatal(err)
		}
		later.Store(true)
		_, err := s.Vdisks(t.Context())
		if test.code != 0 {
			mustRefuse(t, err, test.code, "evicted_keys")
		} else if err != nil {
			t.Errorf("run %s, %s evicted: %v", test.run, test.evicted, err)
		}
	}
}

// TestDeadIdleConnection: a restarted server costs readers nothing.
func TestDeadIdleConnection(t *testing.T) {
	var closing atomic.Bool
	var reads atomic.Int32
	p := peer{reply: func(words []string) (string, error) {
		if words[0] == "SMEMBERS" {
			reads.Add(1)
			if closing.Swap(false) {
				return "", io.EOF
			}
			return "*0\r\n", nil
		}
		return "", nil
	}}
	s := dialPeer(t, p.start(t), redis.Options{})
	for range 3 {
		if _, err := s.Vdisks(t.Context()); err != nil {
			t.Fatal(err)
		}
		closing.Store(true)
	}
	if n := reads.Load(); n != 5 {
		t.Errorf("%d reads reached the server, want 5", n)
	}
}

// TestBackoff: a server that refuses is not hammered, and the reason is known
// meanwhile.
func TestBackoff(t *testing.T) {
	var hellos atomic.Int32
	p := peer{reply: func(words []string) (string, error) {
		if words[0] == "INFO" {
			hellos.Add(1)
			return "-NOAUTH Authentication required.\r\n", nil
		}
		return "", nil
	}}
	s := dialPeer(t, p.start(t), redis.Options{MaxBackoff: time.Hour})
	for range 10 {
		_, err := s.Vdisks(t.Context())
		mustRefuse(t, err, stor.Denied, "NOAUTH")
		mustRefuse(t, appendOne(t, s, shard(1, 10)), stor.Denied, "NOAUTH")
	}
	if n := hellos.Load(); n != 1 {
		t.Errorf("%d connections were tried, want 1", n)
	}
}

// TestDown: nobody listens; requests fail soon, and succeed when somebody does.
func TestDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := dialPeer(t, addr, redis.Options{})
	mustBeUnknown(t, appendOne(t, s, shard(1, 10)))
	_, _, err = s.Identify(t.Context())
	mustBeUnknown(t, err)
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); peer{}.serve(c) })
		}
	})
	eventually(t, func() error { return appendOne(t, s, shard(1, 10)) })
	l.Close()
	s.Close()
	wg.Wait()
}

// TestScripts: both scripts are sent whole, once, when the server forgot them.
func TestScripts(t *testing.T) {
	var sent atomic.Int32
	p := peer{reply: func(words []string) (string, error) {
		switch words[0] {
		case "EVALSHA":
			return "-NOSCRIPT No matching script. Please use EVAL.\r\n", nil
		case "EVAL":
			sent.Add(1)
			if !strings.HasPrefix(words[1], "#!lua\n") {
				return "-ERR no shebang\r\n", nil
			}
		}
		return "", nil
	}}
	s := dialPeer(t, p.start(t), redis.Options{})
	mustAppend(t, s, shard(1, 10))
	if n := sent.Load(); n != 1 {
		t.Errorf("EVAL was sent %d times, want 1", n)
	}
}

// TestLimits: what could not be read again is not stored.
func TestLimits(t *testing.T) {
	s, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	own(t, s)
	mustRefuse(t, appendOne(t, s, shard(1, 32<<20)), stor.ServerError, "out of range")
	big := shard(1, 32<<20-4)
	mustAppend(t, s, big)
	if b, err := s.Shard(t.Context(), vdisk, 1, 0); err != nil || len(b) != 32<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if b, err := s.Shard(t.Context(), vdisk, 1, 1<<30); err != nil || len(b) != 32<<20 {
		t.Errorf("with a limit: %d bytes, %v", len(b), err)
	}
	for _, q := range []*stor.AppendRequest{shard(0, 1), {Position: 1, Index: -1}, {Position: 1, Index: 255}} {
		mustRefuse(t, appendOne(t, s, q), stor.ServerError, "out of range")
	}
	top := shard(1<<64-1, 1)
	mustAppend(t, s, top)
	if m, err := s.Metas(t.Context(), vdisk, 1<<64-2, 1<<64-1); err != nil || len(m) != 1 || m[0].Position != 1<<64-1 {
		t.Errorf("metas at the top: %v, %v", m, err)
	}
}

// TestEmptyInit: what expires by itself does not make a server anyone's.
func TestEmptyInit(t *testing.T) {
	s, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// A writer that takes the server for another leaves a temporary key.
	mustRefuse(t, appendOne(t, s, shard(1, 10)), stor.WrongStore, "not initialised")
	if _, _, err := s.Identify(t.Context()); !errors.Is(err, stor.ErrEmpty) {
		t.Errorf("identify: %v, want ErrEmpty", err)
	}
	own(t, s)
	mustAppend(t, s, shard(tlog.Position(1), 10))
}
