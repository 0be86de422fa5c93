package redis_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/stor"
	"tlog/stor/redis"
)

// listen accepts connections until the test ends, and waits for their handlers.
func listen(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { defer c.Close(); handle(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// peer is a scripted Redis: reply gives the raw answer to a command, or "" for
// the usual one; errQuiet answers nothing, and io.EOF closes the connection.
type peer struct {
	info   map[string]string // overrules
	config map[string]string
	reply  func(command []string) (string, error)
}

var errQuiet = errors.New("no answer")

func (p peer) start(t testing.TB) string { return listen(t, p.serve) }

func (p peer) serve(c net.Conn) {
	commands := redigo.NewConn(c, 0, 0)
	for {
		words, err := redigo.Strings(commands.Receive())
		if err != nil {
			return
		}
		answer := ""
		if p.reply != nil {
			answer, err = p.reply(words)
			if errors.Is(err, errQuiet) {
				continue
			}
			if err != nil {
				return
			}
		}
		if answer == "" {
			answer = p.usual(words)
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func (p peer) usual(words []string) string {
	switch words[0] {
	case "INFO":
		f := map[string]string{
			"redis_version": "7.0.15", "redis_mode": "standalone", "run_id": "a", "role": "master", "loading": "0",
			"cluster_enabled": "0", "evicted_keys": "0", "aof_base_size": "88", "aof_rewrite_in_progress": "0",
		}
		var b strings.Builder
		for k, v := range f {
			if o, ok := p.info[k]; ok {
				v = o
			}
			fmt.Fprintf(&b, "%s:%s\r\n", k, v)
		}
		return bulk(b.String())
	case "CONFIG":
		f := map[string]string{
			"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no",
		}
		var all []string
		for _, k := range words[2:] {
			v, ok := p.config[k]
			if !ok {
				v = f[k]
			}
			if v != "absent" {
				all = append(all, k, v)
			}
		}
		return array(all...)
	case "SCRIPT":
		return bulk(strings.Repeat("0", 40))
	case "SET":
		return "+OK\r\n"
	case "EVALSHA", "EVAL":
		return bulk(accept(words))
	}
	return "-ERR unknown command\r\n"
}

// accept answers an append as if it had been done.
func accept(words []string) string {
	args := words[8:] // behind the keys: cookie, config, epoch, owner, position, index, digest
	return "OK " + args[2] + " " + args[6] + " " + args[5]
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func array(all ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(all))
	for _, s := range all {
		b.WriteString(bulk(s))
	}
	return b.String()
}

func dialPeer(t testing.TB, addr string, opt redis.Options) *redis.Server {
	t.Helper()
	if opt.MaxBackoff == 0 {
		opt.MaxBackoff = time.Millisecond
	}
	if opt.Timeout == 0 {
		opt.Timeout = 5 * time.Second
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

// patience is the time of a peer's answer: little for one that never ends it, what
// a busy machine takes for others.
func patience(endless bool) redis.Options {
	if endless {
		return redis.Options{Timeout: 300 * time.Millisecond}
	}
	return redis.Options{Timeout: 30 * time.Second}
}

func mustBeUnknown(t testing.TB, err error) {
	t.Helper()
	if err == nil || tlog.ClassOf(err) != tlog.Transient {
		t.Fatalf("got %v, want an unknown outcome", err)
	}
	if refused(err) {
		t.Fatalf("%v: an unknown outcome is not a refusal", err)
	}
}

func refused(err error) bool {
	_, ok := errors.AsType[*stor.Refusal](err)
	return ok
}
