//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tlog/internal/redistest"
)

// TestNewAddress replaces a dead shard server by one at another address while
// the disk is written to and nothing is restarted: tlogserver reads its file
// again, repairs, and makes the new one a voter, after which any two others may
// be lost.
func TestNewAddress(t *testing.T) {
	p := newRedisPool(t, 7)
	config := filepath.Join(t.TempDir(), "tlog.yaml")
	p.configure(t, config, 256)
	p.flags = []string{"--config", config}
	s := newStack(t, p)
	s.write(t, "before")
	used := p.used(t)
	dead, old := used[0], p.redis[used[0]].Addr
	load := start(t, "fio", "--name=load", "--ioengine=nbd", "--uri="+uri(s.socket), "--bs=16k", "--rw=randwrite", "--size=8m",
		"--iodepth=4", "--time_based", "--runtime=8s", "--fsync=4", "--verify=crc32c", "--verify_state_save=0")
	p.redis[dead].Kill()
	fresh := redistest.Start(t)
	p.ctl(t, 0, "stores", "replace", "--server", old, fresh.Addr)
	p.redis[dead] = fresh

	p.configure(t, config, 257) // no other key may change
	s.server.signal(syscall.SIGHUP)
	s.says(t, "flush-size (257, in force is 256)")
	if n := p.shards(t, dead); n > 0 {
		t.Errorf("%d shards are on a server that nobody was told of", n)
	}
	p.configure(t, config, 256)
	s.server.signal(syscall.SIGHUP)
	s.says(t, "the configuration was read again\" storage-addresses=")
	s.says(t, "every shard server votes")
	<-load.done
	if load.err != nil {
		t.Errorf("writing beside a replacement: %v\n%s", load.err, tail(load.out.String()))
	}
	p.joining(t, false)
	m := s.mark("disk.img")
	s.unfailed()
	s.stopAll(t)
	p.clean(t)
	p.lose(t, used[1], used[2])
	image, _ := restore(t, p, "latest")
	equal(t, image, m.image)
}

// configure writes the configuration of the pool as it is now.
func (p *pool) configure(t *testing.T, path string, flushSize int) {
	t.Helper()
	key := filepath.Join(filepath.Dir(path), "key")
	if _, err := os.Stat(key); err != nil {
		run(t, "cp", "-p", p.flags[len(p.flags)-1], key)
	}
	var addrs []string
	for _, r := range p.redis {
		addrs = append(addrs, r.Addr)
	}
	text := fmt.Sprintf("storage-addresses: [%s]\nkey-file: %s\nflush-size: %d\n", strings.Join(addrs, ", "), key, flushSize)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// says waits until tlogserver's log has words.
func (s *stack) says(t *testing.T, words string) {
	t.Helper()
	eventually(t, "tlogserver says "+words, func() error {
		if out := s.server.out.String(); !strings.Contains(out, words) {
			return errors.New(tail(out))
		}
		return nil
	})
}
