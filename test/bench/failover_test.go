//go:build e2e

package bench

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tlog/client"
	"tlog/crypto"
	"tlog/stor"
	"tlog/stor/redis"
)

// BenchmarkFailover is the time from kill -9 of the tlogserver that owns a
// vdisk to the first FlushOK from the next one, for a client that knows both
// and is about to write. The servers are processes here, as `make build` made
// them. An operation is a fail-over.
func BenchmarkFailover(b *testing.B) {
	flags := fleetFlags(b)
	servers := map[string]*exec.Cmd{}
	var addrs []string
	for range 2 {
		addr, cmd := startServer(b, "127.0.0.1:0", flags)
		servers[addr] = cmd
		addrs = append(addrs, addr)
	}
	c, err := client.Open(b.Context(), client.Config{Servers: addrs, Vdisk: vdisk, DiskSize: diskSize})
	if err != nil {
		b.Fatal(err)
	}
	w := writer{c: c, size: 4 << 10}
	flush := func() {
		w.write(b)
		if err := c.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	var l latencies
	for b.Loop() {
		flush()
		owner := c.Session().Server
		start := time.Now()
		kill(servers[owner])
		flush()
		l.since(start)
		if c.Session().Server == owner {
			b.Fatal("flushed by a dead server")
		}
		_, servers[owner] = startServer(b, owner, flags)
	}
	l.report(b)
	if err := c.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// fleetFlags makes a pool of seven Redis servers and returns how tlogserver is
// told of it.
func fleetFlags(b *testing.B) []string {
	b.Helper()
	var addrs []string
	var servers []stor.Server
	for range shards + 1 {
		r := startRedis(b)
		addrs = append(addrs, r.Addr)
		c, err := redis.Dial(r.Addr, redis.Options{})
		if err != nil {
			b.Fatal(err)
		}
		servers = append(servers, c)
	}
	if _, err := stor.Init(b.Context(), stor.Config{K: dataShards, M: parityShards, Check: check}, servers); err != nil {
		b.Fatal(err)
	}
	for _, s := range servers {
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	key := filepath.Join(b.TempDir(), "key")
	if _, err := crypto.CreateKeyFile(key); err != nil {
		b.Fatal(err)
	}
	return []string{"--storage-addresses", strings.Join(addrs, ","), "--key-file", key}
}

// startServer starts a tlogserver and returns where it listens.
func startServer(b *testing.B, listen string, flags []string) (addr string, cmd *exec.Cmd) {
	b.Helper()
	cmd = exec.Command(filepath.Join("..", "..", "bin", "tlogserver"), append([]string{"--listen", listen}, flags...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatalf("%v: run make build first", err)
	}
	b.Cleanup(func() { kill(cmd) })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			return addr, cmd
		}
	}
	b.Fatal("tlogserver did not start")
	return "", nil
}

// kill ends a process, if it still runs, and waits for its end.
func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // of a killed process: an error, always
}
