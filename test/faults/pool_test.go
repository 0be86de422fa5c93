//go:build e2e

package faults

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/crypto"
	"tlog/internal/redistest"
	"tlog/stor"
	"tlog/stor/redis"
)

// The pool of the store matrix: 2+1 and a spare. Two servers are enough to stop
// it, and one less than enough.
const (
	shardsK, shardsM = 2, 1
	quorum           = shardsK + shardsM
	servers          = quorum + 1
)

// stores are the Redis servers of one worker, each behind its station. They
// outlive cells; every cell has a vdisk of its own.
type stores struct {
	t        testing.TB
	redis    []*redistest.Server
	stations []*station
	admins   []*admin
	keys     *crypto.Keyring
}

func newStores(t testing.TB) *stores {
	s := &stores{t: t}
	for range servers {
		r := redistest.Start(t, "--busy-reply-threshold", "10")
		s.redis = append(s.redis, r)
		s.stations = append(s.stations, newStation(t, r.Addr))
		a := &admin{addr: r.Addr}
		t.Cleanup(a.close)
		s.admins = append(s.admins, a)
	}
	var err error
	if s.keys, err = crypto.CreateKeyFile(filepath.Join(t.TempDir(), "key")); err != nil {
		t.Fatal(err)
	}
	list := s.dial()
	if _, err := stor.Init(t.Context(), poolConfig(nil), list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	return s
}

// requestTime is how long one answer may take: long enough for a machine that
// has much else to do, short enough for a hang to be noticed within a cell.
const requestTime = time.Second

func (s *stores) dial() (list []stor.Server) {
	for _, st := range s.stations {
		c, err := redis.Dial(st.addr, redis.Options{Timeout: requestTime, MaxBackoff: 50 * time.Millisecond, Readmit: 100 * time.Millisecond})
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

func poolConfig(log *slog.Logger) stor.Config {
	return stor.Config{K: shardsK, M: shardsM, Check: check, Logger: log}
}

func check(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{
		Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body,
	}, nil
}

// seal makes a position with content that names it.
func (s *stores) seal(key *crypto.DataKey, wrapped []byte, pool *stor.Pool, vdisk tlog.UUID, pos tlog.Position, text string) (*crypto.Sealed, []byte, error) {
	payload := bytes.Repeat([]byte(text), 4000/len(text))
	h := crypto.Header{
		Kind: crypto.KindData, Vdisk: vdisk, Position: pos, First: 1, Last: 1, Count: 1,
		PlainLength: uint32(len(payload)), StoredLength: uint32(len(payload)), K: shardsK, M: shardsM, KeyID: key.ID,
	}
	if pos == 1 {
		h.Kind, h.Last, h.Count = crypto.KindGenesis, 0, 0
		h.Genesis = &crypto.Genesis{Name: "disk", BlockSize: 4096, W: quorum, WrappedKey: wrapped}
	}
	sealed, err := crypto.Seal(key, h, payload, pool.Encode, rand.Reader)
	return sealed, payload, err
}

// admin is a connection to the Redis itself, past its station: what a fault is
// made with, and what is believed about a server.
type admin struct {
	addr string
	mu   sync.Mutex
	c    redigo.Conn
}

// do tries once more on a new connection: the last one may be of before a
// restart.
func (a *admin) do(command string, args ...any) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reply, err := a.once(command, args...)
	if err != nil && a.c != nil && a.c.Err() != nil {
		return a.once(command, args...)
	}
	return reply, err
}

func (a *admin) once(command string, args ...any) (any, error) {
	if a.c == nil || a.c.Err() != nil {
		c, err := redigo.Dial("tcp", a.addr, redigo.DialReadTimeout(5*time.Second))
		if err != nil {
			return nil, err
		}
		a.c = c
	}
	return a.c.Do(command, args...)
}

func (a *admin) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.c != nil {
		_ = a.c.Close()
	}
}

// must does what cannot be refused.
func (s *stores) must(i int, command string, args ...any) any {
	reply, err := s.admins[i].do(command, args...)
	if err != nil {
		panic(fmt.Errorf("%s %v: %w", command, args, err))
	}
	return reply
}

// comesBack waits until a server does what it is told again.
func (s *stores) comesBack(i int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for {
		_, err := s.admins[i].do("PING")
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			panic(fmt.Errorf("a Redis does not come back: %w", err))
		}
	}
}

// copyFiles copies a server's files; putFiles restarts it on such a copy.
func (s *stores) copyFiles(i int) string {
	to := filepath.Join(s.t.TempDir(), "copy")
	shell("cp", "-a", filepath.Join(s.redis[i].Dir, "appendonlydir"), to)
	return to
}

func (s *stores) putFiles(i int, from string) {
	s.redis[i].Kill()
	shell("rm", "-rf", filepath.Join(s.redis[i].Dir, "appendonlydir"))
	shell("cp", "-a", from, filepath.Join(s.redis[i].Dir, "appendonlydir"))
	s.redis[i].Restart()
}

func shell(name string, args ...string) {
	if out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput(); err != nil {
		panic(fmt.Errorf("%s %v: %w\n%s", name, args, err, out))
	}
}
