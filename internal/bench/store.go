package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"tlog/internal/bench/bare"
	"tlog/internal/redisrun"
)

// The shards of every pool here.
const (
	dataShards   = 4
	parityShards = 2
	shards       = dataShards + parityShards
)

// The stores there are.
const (
	StoreNull   = "null"         // acknowledges, keeps nothing
	StoreRedis  = "redis"        // six Redis servers in memory
	StoreAlways = "redis-always" // six Redis servers, appendfsync always
	StoreFile   = "file"         // directories of this machine
)

// store is where a server keeps shards: directories, or processes.
type store struct {
	kind    string
	dir     string
	servers []*redisrun.Server
	flags   []string // how tlogserver and tlogctl are told of it
}

// newStore makes a store in a directory of its own. Redis servers run, and
// hold nothing.
func (h *Harness) newStore(kind string) (*store, error) {
	dir, err := os.MkdirTemp(h.dir, kind+"-")
	if err != nil {
		return nil, err
	}
	s := &store{kind: kind, dir: dir}
	switch kind {
	case StoreNull:
		s.flags = []string{"--discard"}
	case StoreFile:
		s.flags = []string{"--data-dir", filepath.Join(dir, "data")}
	case StoreRedis:
		err = s.startRedis("--appendonly", "no")
	case StoreAlways:
		// It does not rewrite its file behind a measurement's back.
		err = s.startRedis("--auto-aof-rewrite-percentage", "0")
	default:
		err = fmt.Errorf("bench: store %q: want null, redis, redis-always or file", kind)
	}
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *store) startRedis(args ...string) error {
	for i := range shards {
		dir := filepath.Join(s.dir, fmt.Sprintf("redis-%d", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		r, err := redisrun.Start(dir, args...)
		if err != nil {
			return err
		}
		s.servers = append(s.servers, r)
	}
	return nil
}

func (s *store) addrs() (list []string) {
	for _, r := range s.servers {
		list = append(list, r.Addr)
	}
	return list
}

func (s *store) pids() (list []int) {
	for _, r := range s.servers {
		list = append(list, r.Pid)
	}
	return list
}

// prepare initialises Redis servers as a pool.
func (h *Harness) prepare(ctx context.Context, s *store) error {
	if len(s.servers) == 0 {
		return nil
	}
	durability := "always"
	if s.kind == StoreRedis {
		durability = "memory"
	}
	s.flags = []string{"--storage-addresses", strings.Join(s.addrs(), ","), "--key-file", filepath.Join(s.dir, "key"), "--durability", durability}
	out, err := exec.CommandContext(ctx, h.cfg.Self, append([]string{"stores", "init"}, s.flags...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("bench: stores init: %w: %s", err, out)
	}
	return nil
}

// bare opens the bare counterpart in the same place; nil where there is none.
func (s *store) bare() (*bare.Store, error) {
	switch {
	case len(s.servers) > 0:
		return bare.OpenRedis(s.addrs())
	case s.kind == StoreFile:
		return bare.OpenFiles(s.dir, shards)
	}
	return nil, nil
}

// end ends what runs, and removes what is kept.
func (s *store) end() error {
	var errs []error
	for _, r := range s.servers {
		errs = append(errs, r.End(syscall.SIGKILL))
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
