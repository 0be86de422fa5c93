package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tlog/internal/failpoint"
)

// pool is the shard servers of a round: Redis servers, or directories.
type pool struct {
	w     *world
	flags []string // STORAGE
	redis []*redisServer
	dir   string // of directories
	undo  string // their journals
	key   string
	count int

	// lost are the servers that forgot something: at most two of them at any
	// time, together with those that are down.
	lost  map[int]bool
	saved map[int]string // copies of servers, to be put back
}

// Shards of every pool here.
const (
	dataShards, parityShards = 4, 2
)

// covered is how many servers may be lost.
func (s shape) covered() int {
	if s.least > 0 {
		return s.least - dataShards
	}
	return parityShards
}

func (w *world) newPool() error {
	p := &pool{w: w, lost: map[int]bool{}, saved: map[int]string{}}
	w.pool = p
	p.key = filepath.Join(w.dir, "key")
	if w.shape.redis == 0 {
		p.dir, p.undo, p.count = filepath.Join(w.dir, "data"), filepath.Join(w.dir, "undo"), dataShards+parityShards+1
		p.key = filepath.Join(p.dir, "key")
		p.flags = []string{"--data-dir", p.dir}
		return os.MkdirAll(p.undo, 0o700)
	}
	var addrs []string
	for i := range w.shape.redis {
		r, err := w.newRedis(i, w.shape.fsync)
		if err != nil {
			return err
		}
		p.redis = append(p.redis, r)
		addrs = append(addrs, r.addr)
	}
	p.count = len(addrs)
	p.flags = []string{"--storage-addresses", strings.Join(addrs, ","), "--key-file", p.key}
	if w.shape.least > 0 {
		p.flags = append(p.flags, "--min-shards", strconv.Itoa(w.shape.least))
	}
	if !w.shape.strict() {
		p.flags = append(p.flags, "--durability", w.shape.fsync)
	}
	return w.must("init", nil, w.cfg.bin("tlogctl"), append([]string{"stores", "init"}, p.flags...)...)
}

// name is how messages call a shard server.
func (p *pool) name(i int) string {
	if p.dir != "" {
		return p.shardDir(i)
	}
	return p.redis[i].addr
}

func (p *pool) shardDir(i int) string { return filepath.Join(p.dir, fmt.Sprintf("shard-%02d", i)) }

// filesOf is the directory that holds what a shard server keeps.
func (p *pool) filesOf(i int) string {
	if p.dir != "" {
		return p.shardDir(i)
	}
	return p.redis[i].dir
}

// serverEnv is what a tlogserver needs to know.
func (p *pool) serverEnv() []string {
	if p.dir == "" {
		return nil
	}
	return []string{"TLOG_UNDO=" + p.undo, fmt.Sprintf("TLOG_SEGMENT_BYTES=%d", p.w.shape.segment)}
}

// killAll kills every Redis.
func (p *pool) killAll() {
	for _, r := range p.redis {
		r.p.kill()
	}
}

// startAll starts every Redis that is dead.
func (p *pool) startAll() error {
	for _, r := range p.redis {
		if r.p.alive() {
			continue
		}
		if err := r.start(); err != nil {
			return err
		}
	}
	return nil
}

// powerLoss loses what was not synced, of processes that were killed: every
// directory's, or that of the Redis servers listed.
func (p *pool) powerLoss(servers ...int) error {
	for _, i := range servers {
		if err := p.redis[i].powerLoss(); err != nil {
			return err
		}
	}
	if p.dir == "" {
		return nil
	}
	var files []string
	for _, kind := range []string{"*.seg", "*.toc"} {
		list, err := filepath.Glob(filepath.Join(p.dir, "shard-*", kind))
		if err != nil {
			return err
		}
		files = append(files, list...)
	}
	// A disk keeps whole sectors; a file system often whole pages.
	size := []int{512, 4096}[p.w.rng.IntN(2)]
	odds := 1 + p.w.rng.IntN(4)
	for _, path := range files {
		n, err := failpoint.Undo(p.undo, path, size, func() bool { return p.w.rng.IntN(5) >= odds })
		if err != nil {
			return err
		}
		p.w.stats.cutBytes += int64(n * size)
	}
	return nil
}

// all lists the Redis servers.
func (p *pool) all() []int {
	var list []int
	for i := range p.redis {
		list = append(list, i)
	}
	return list
}

// save keeps a copy of a server's files. Its process must be dead.
func (p *pool) save(i int) error {
	dir := filepath.Join(p.w.dir, fmt.Sprintf("saved-%d", i))
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(p.filesOf(i))); err != nil {
		return err
	}
	p.saved[i] = dir
	return nil
}

// rollBack puts a copy in place of a dead server's files: it forgot what came
// after. It is counted as lost.
func (p *pool) rollBack(i int) error {
	p.lost[i] = true
	if err := os.RemoveAll(p.filesOf(i)); err != nil {
		return err
	}
	if err := os.CopyFS(p.filesOf(i), os.DirFS(p.saved[i])); err != nil {
		return err
	}
	delete(p.saved, i)
	return p.settleCopy(i)
}

// settleCopy makes what was copied durable in the books.
func (p *pool) settleCopy(i int) error {
	if p.dir != "" {
		return nil
	}
	p.redis[i].broken = false
	return p.redis[i].allDurable()
}

// wipe deletes a dead server's files.
func (p *pool) wipe(i int) error {
	p.lost[i] = true
	delete(p.saved, i)
	if err := os.RemoveAll(p.filesOf(i)); err != nil {
		return err
	}
	if p.dir != "" {
		return nil
	}
	p.redis[i].broken = false
	return os.MkdirAll(p.filesOf(i), 0o700)
}
