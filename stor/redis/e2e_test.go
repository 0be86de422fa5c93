//go:build e2e

package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/internal/redistest"
	"tlog/stor"
	"tlog/stor/redis"
	"tlog/stor/stortest"
)

func dial(t testing.TB, addr string, opt redis.Options) *redis.Server {
	t.Helper()
	if opt.Timeout == 0 {
		opt.Timeout = 5 * time.Second
	}
	if opt.MaxBackoff == 0 {
		opt.MaxBackoff = time.Millisecond
	}
	s, err := redis.Dial(addr, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// TestRealConformance reopens by kill -9: what was answered must be there.
func TestRealConformance(t *testing.T) {
	r := redistest.Start(t)
	stortest.Run(t, stortest.Backend{
		Open: func(t *testing.T) stor.Server {
			r.Do("FLUSHALL")
			return dial(t, r.Addr, redis.Options{})
		},
		Reopen: func(t *testing.T, s stor.Server) stor.Server {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			r.Kill()
			r.Restart()
			return dial(t, r.Addr, redis.Options{})
		},
	})
}

func TestForeignKeys(t *testing.T) {
	r := redistest.Start(t)
	r.Do("SET", "session:1", "someone's")
	s := dial(t, r.Addr, redis.Options{})
	_, _, err := s.Identify(t.Context())
	mustRefuse(t, err, stor.Denied, "empty one")
	mustRefuse(t, s.Init(t.Context(), me.Cookie, manifest), stor.Denied, "empty one")
	other := dial(t, r.Addr+"@3", redis.Options{})
	own(t, other)
	mustAppend(t, other, shard(1, 100))
	if got := r.Do("DBSIZE"); got != ":1" {
		t.Errorf("database 0 has %s keys, want 1", got)
	}
}

func TestWrongType(t *testing.T) {
	for _, key := range []string{"tlog:id", "tlog:vdisks", "tlog:{" + vdisk.String() + "}:ctl"} {
		r := redistest.Start(t)
		s := dial(t, r.Addr, redis.Options{})
		own(t, s)
		r.Do("SET", key, "x")
		_, err := s.Fence(t.Context(), &stor.FenceRequest{Identity: me, Owner: stor.Owner{Epoch: 9, ID: owner.ID}, Vdisk: vdisk})
		mustRefuse(t, err, stor.Denied, "WRONGTYPE")
	}
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{})
	own(t, s)
	r.Do("HSET", fmt.Sprintf("tlog:{%v}:m:%020d", vdisk, 1), "a", "b")
	mustRefuse(t, appendOne(t, s, shard(1, 100)), stor.Denied, "WRONGTYPE")
	if got := r.Do("EXISTS", fmt.Sprintf("tlog:{%v}:d:%020d", vdisk, 1)); got != ":0" {
		t.Error("a shard was published without its meta")
	}
}

// TestMetaWithoutShard: a digest whose shard was deleted is not held.
func TestMetaWithoutShard(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{})
	own(t, s)
	mustAppend(t, s, shard(1, 100))
	r.Do("DEL", fmt.Sprintf("tlog:{%v}:d:%020d", vdisk, 1))
	q := shard(1, 0)
	q.Head = nil
	mustRefuse(t, appendOne(t, s, q), stor.NoData)
	mustAppend(t, s, shard(1, 100))
	mustHold(t, s, shard(1, 100))
}

// TestTornShard: a temporary key that is missing, or not as long as was said,
// publishes nothing.
func TestTornShard(t *testing.T) {
	r := redistest.Start(t)
	own(t, dial(t, r.Addr, redis.Options{}))
	c, err := redigo.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, test := range []struct{ held, size, want string }{
		{"", "4", "NODATA"}, {"abc", "4", "NODATA"}, {"abcde", "4", "NODATA"}, {"abcd", "4", "OK"},
	} {
		if _, err := c.Do("SET", "tmp", test.held); err != nil {
			t.Fatal(err)
		}
		if test.held == "" {
			r.Do("DEL", "tmp")
		}
		words := appendWords(test.size)
		got, err := evalAppend(c, append(words, redis.WholeSum(words...)))
		if word, _, _ := strings.Cut(got, " "); err != nil || word != test.want {
			t.Errorf("%q of %s bytes: %q, %v; want %s", test.held, test.size, got, err, test.want)
		}
		if published := r.Do("EXISTS", "d") == ":1"; published != (test.want == "OK") {
			t.Errorf("%q of %s bytes: published is %v", test.held, test.size, published)
		}
	}
}

// TestRetriesWrite: what repeats an earlier request is written too, so that its
// answer waits for an fsync.
func TestRetriesWrite(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{})
	own(t, s)
	mustAppend(t, s, shard(1, 100))
	other := shard(1, 0)
	other.Head, other.Index = nil, 4
	for name, again := range map[string]func() error{
		"append": func() error { return appendOne(t, s, shard(1, 100)) },
		"append without data": func() error {
			q := shard(1, 0)
			q.Head = nil
			return appendOne(t, s, q)
		},
		"append of another index": func() error { mustRefuse(t, appendOne(t, s, other), stor.HasIndex); return nil },
		"fence": func() error {
			_, err := s.Fence(t.Context(), &stor.FenceRequest{Identity: me, Owner: owner, Vdisk: vdisk})
			return err
		},
		"init": func() error { return s.Init(t.Context(), me.Cookie, manifest) },
	} {
		before := logSize(t, r)
		if err := again(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if after := logSize(t, r); after <= before {
			t.Errorf("%s again wrote nothing", name)
		}
	}
}

func logSize(t *testing.T, r *redistest.Server) (n int64) {
	files, err := filepath.Glob(filepath.Join(r.Dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n += st.Size()
	}
	return n
}

func TestOutOfMemory(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{})
	own(t, s)
	mustAppend(t, s, shard(1, 100))
	r.Do("CONFIG", "SET", "maxmemory", "1")
	mustRefuse(t, appendOne(t, s, shard(2, 100)), stor.Full, "OOM", "maxmemory")
	mustHold(t, s, shard(1, 100))
	r.Do("CONFIG", "SET", "maxmemory", "0")
	mustAppend(t, s, shard(2, 100))
	r.Do("CONFIG", "SET", "maxmemory", "64mb")
	space, err := s.Space(t.Context())
	if err != nil || space.Total != 64<<20 || space.Used == 0 || space.Used > space.Total {
		t.Errorf("space: %+v, %v", space, err)
	}
}

func TestScriptFlush(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{})
	own(t, s)
	mustAppend(t, s, shard(1, 100))
	r.Do("SCRIPT", "FLUSH")
	var answers []chan error
	for p := tlog.Position(2); p < 40; p++ {
		answers = append(answers, start(s, t.Context(), shard(p, 5000)))
	}
	for i, a := range answers {
		if err := <-a; err != nil {
			t.Errorf("append %d: %v", i, err)
		}
		mustHold(t, s, shard(tlog.Position(i+2), 5000))
	}
	r.Do("SCRIPT", "FLUSH")
	if _, err := s.Fence(t.Context(), &stor.FenceRequest{Identity: me, Owner: owner, Vdisk: vdisk}); err != nil {
		t.Error(err)
	}
}

func TestTooManyClients(t *testing.T) {
	r := redistest.Start(t)
	first := dial(t, r.Addr, redis.Options{})
	own(t, first)
	r.Do("CONFIG", "SET", "maxclients", "1")
	s := dial(t, r.Addr, redis.Options{})
	_, _, err := s.Identify(t.Context())
	mustRefuse(t, err, stor.Busy, "max number of clients")
}

// TestFrozen stops the process: nothing answers, nothing closes.
func TestFrozen(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{Timeout: 2 * time.Second})
	own(t, s)
	mustAppend(t, s, shard(1, 100))
	r.Freeze()
	var answers []chan error
	for p := tlog.Position(2); p < 12; p++ {
		answers = append(answers, start(s, t.Context(), shard(p, 1<<20)))
	}
	for i, a := range answers {
		var refused *stor.Refusal
		if err := <-a; err == nil || errors.As(err, &refused) || tlog.ClassOf(err) != tlog.Transient {
			t.Errorf("append %d to a frozen server: %v, want an unknown outcome", i, err)
		}
	}
	if _, err := s.Shard(t.Context(), vdisk, 1, 0); tlog.ClassOf(err) != tlog.Transient {
		t.Errorf("read from a frozen server: %v", err)
	}
	r.Thaw()
	eventually(t, func() error { return appendOne(t, s, shard(20, 100)) })
	for p := tlog.Position(2); p < 12; p++ {
		mustAppend(t, s, shard(p, 1<<20))
		mustHold(t, s, shard(p, 1<<20))
	}
}

// TestKill kills Redis in the middle of pipelined appends, again and again:
// what was acknowledged is there, whole, after the next start, also when
// temporary keys expired in between.
func TestKill(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{Timeout: 500 * time.Millisecond})
	own(t, s)
	const rounds, ahead = 6, 12
	acked := map[tlog.Position]int{}
	next := tlog.Position(1)
	late := 0 // with the machine: what was on its way in three stalls, and no more
	for round := range rounds {
		type flight struct {
			*stor.AppendRequest
			answer chan error
		}
		var flights []flight
		send := func() {
			q := shard(next, 1000+int(next%7)*40_000)
			flights = append(flights, flight{q, start(s, t.Context(), q)})
			next++
		}
		for range ahead {
			send()
		}
		for killed := false; len(flights) > 0; flights = flights[1:] {
			if err := <-flights[0].answer; err == nil {
				acked[flights[0].Position] = len(flights[0].Body)
			} else if !killed {
				if late++; tlog.ClassOf(err) != tlog.Transient || late > 3*ahead {
					t.Fatalf("append %d: %v, %d late", flights[0].Position, err, late)
				}
			}
			if !killed {
				send()
			}
			if !killed && len(acked) > (round+1)*30 {
				killed = true
				r.Kill()
			}
		}
		r.Restart()
		eventually(t, func() error { _, err := s.Control(t.Context(), vdisk); return err })
		for p, n := range acked {
			mustHold(t, s, shard(p, n))
		}
	}
	for p, n := range acked { // and not because of an expiry that comes later
		if got := r.Do("PTTL", fmt.Sprintf("tlog:{%v}:d:%020d", vdisk, p)); got != ":-1" {
			t.Errorf("shard %d of %d bytes expires: %s", p, n, got)
		}
	}
	if len(acked) < rounds*30 {
		t.Errorf("only %d appends were acknowledged", len(acked))
	}
}

// TestRestartAfterExpiry replays an append-only file whose temporary keys have
// expired since.
func TestRestartAfterExpiry(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{Timeout: time.Second})
	own(t, s)
	mustAppend(t, s, shard(1, 10_000))
	r.Kill()
	<-time.After(3 * time.Second) // Redis's own clock decides what expired
	r.Restart()
	eventually(t, func() error { _, err := s.Control(t.Context(), vdisk); return err })
	mustHold(t, s, shard(1, 10_000))
}

// TestLeftovers: a fenced writer's shard does not stay.
func TestLeftovers(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{Timeout: 2 * time.Second})
	own(t, s)
	q := shard(1, 10_000)
	q.Owner.Epoch--
	mustRefuse(t, appendOne(t, s, q), stor.Fenced)
	if got := r.Do("DBSIZE"); got != ":4" {
		t.Errorf("%s keys, want id, vdisks, ctl and the temporary one", got)
	}
	eventually(t, func() error {
		r.Do("EXISTS", fmt.Sprintf("tlog:{%v}:t:%020d:%v:%020d:%03d", vdisk, q.Epoch, q.ID, 1, q.Index))
		if got := r.Do("DBSIZE"); got != ":3" {
			return fmt.Errorf("%s keys, want 3", got)
		}
		return nil
	})
	// A retry that finds its digest held leaves nothing either.
	mustAppend(t, s, shard(1, 100))
	mustAppend(t, s, shard(1, 100))
	if got := r.Do("DBSIZE"); got != ":5" {
		t.Errorf("%s keys, want id, vdisks, ctl, meta and shard", got)
	}
}

// TestLoading: while it loads, Redis looks at its clients every 1024 commands.
func TestLoading(t *testing.T) {
	r := redistest.Start(t, "--key-load-delay", "1000")
	s := dial(t, r.Addr, redis.Options{})
	own(t, s)
	const appends = 300
	var answers []chan error
	for p := range tlog.Position(appends) {
		answers = append(answers, start(s, t.Context(), shard(p+1, 100)))
	}
	for _, a := range answers {
		if err := <-a; err != nil {
			t.Fatal(err)
		}
	}
	r.Kill()
	loaded := make(chan struct{})
	go func() { defer close(loaded); r.Restart() }()
	seen := false
	eventually(t, func() error {
		_, err := s.Control(t.Context(), vdisk)
		var refused *stor.Refusal
		if errors.As(err, &refused) && refused.Code == stor.Busy {
			seen = true
		}
		return err
	})
	<-loaded
	if !seen {
		t.Error("loading was never seen")
	}
	mustHold(t, s, shard(appends, 100))
}

func mustHold(t testing.TB, s stor.Server, q *stor.AppendRequest) {
	t.Helper()
	b, err := s.Shard(context.Background(), q.Vdisk, q.Position, 0)
	if want := append(append([]byte{}, q.Head...), q.Body...); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("shard %d: %d bytes, %v; want %d bytes", q.Position, len(b), err, len(want))
	}
	m, err := s.Metas(context.Background(), q.Vdisk, q.Position, q.Position)
	if err != nil || len(m) != 1 || m[0] != (stor.Meta{Position: q.Position, Epoch: q.Epoch, Digest: q.Digest, Index: q.Index}) {
		t.Fatalf("meta %d: %v, %v", q.Position, m, err)
	}
}

// BenchmarkReal measures a Redis that syncs every write, and one that keeps no
// file, which shows what the rest costs.
func BenchmarkReal(b *testing.B) {
	b.Run("always", func(b *testing.B) { benchmarkServer(b, dial(b, redistest.Start(b).Addr, redis.Options{})) })
	b.Run("memory", func(b *testing.B) {
		r := redistest.Start(b, "--appendonly", "no")
		benchmarkServer(b, dial(b, r.Addr, redis.Options{Durability: stor.DurabilityMemory}))
	})
}
