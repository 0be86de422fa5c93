package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/stor"
)

// Opened is a pool with its keys.
type Opened struct {
	Pool    *stor.Pool
	Keys    *crypto.Keyring // nil if a reader needs none and names none
	Where   string          // where data goes, for people
	Promise string          // what FlushOK promises, for people
}

// Close closes the pool's servers.
func (o *Opened) Close() error { return o.Pool.Close() }

// dialTimeout bounds the first answer of all servers together.
const dialTimeout = 15 * time.Second

// OpenWriter opens a pool for tlogserver: an embedded store that is not there
// yet is made, with its key file; Redis servers must have been prepared by
// `tlogctl stores init`.
func (f *Flags) OpenWriter(ctx context.Context, log *slog.Logger) (*Opened, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	pool, err := f.openOrMake(ctx, log)
	if err != nil {
		return nil, f.explain(err)
	}
	o := &Opened{Pool: pool}
	if o.Keys, err = f.writerKeys(ctx, pool); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	f.describe(o)
	return o, nil
}

// OpenReader opens a pool for tools; nothing is created or changed. Without
// needKeys a missing key file is no error, and Keys is nil.
func (f *Flags) OpenReader(ctx context.Context, log *slog.Logger, needKeys bool) (*Opened, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.Memory {
		return nil, usagef("a store in memory cannot be read from outside its server")
	}
	keys, err := f.readerKeys(needKeys)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	pool, err := f.openPool(ctx, log, false)
	if err != nil {
		return nil, f.explain(err)
	}
	o := &Opened{Pool: pool, Keys: keys}
	f.describe(o)
	return o, nil
}

// OpenOwner opens a pool for tools that take logs over: keys are needed, and
// nothing is created. An embedded store that a server has open is locked.
func (f *Flags) OpenOwner(ctx context.Context, log *slog.Logger) (*Opened, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	keys, err := f.readerKeys(true)
	if err != nil {
		return nil, err
	}
	o, err := f.OpenForChange(ctx, log)
	if err == nil {
		o.Keys = keys
	}
	return o, err
}

// OpenForChange opens a pool for tools that change its servers, without keys.
func (f *Flags) OpenForChange(ctx context.Context, log *slog.Logger) (*Opened, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.Memory {
		return nil, usagef("a store in memory cannot be changed from outside its server")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	pool, err := f.openPool(ctx, log, true)
	if err != nil {
		return nil, f.explain(err)
	}
	o := &Opened{Pool: pool}
	f.describe(o)
	return o, nil
}

// openPool opens the pool that the flags name; it owns its servers.
func (f *Flags) openPool(ctx context.Context, log *slog.Logger, write bool) (*stor.Pool, error) {
	servers, err := f.servers(log, write)
	if err != nil {
		return nil, err
	}
	cfg := f.poolConfig(log)
	cfg.ReadOnly = !write
	return stor.Open(ctx, cfg, servers)
}

// openOrMake is openPool for a writer; an embedded store that is not there yet,
// or a store in memory, is made first.
func (f *Flags) openOrMake(ctx context.Context, log *slog.Logger) (*stor.Pool, error) {
	if f.Memory || f.Discard {
		return f.memoryPool(ctx, log)
	}
	pool, err := f.openPool(ctx, log, true)
	if !errors.Is(err, stor.ErrEmpty) || len(f.StorageAddresses) > 0 {
		return pool, err
	}
	if _, err := f.initPool(ctx, log); err != nil {
		return nil, err
	}
	return f.openPool(ctx, log, true)
}

func (f *Flags) memoryPool(ctx context.Context, log *slog.Logger) (*stor.Pool, error) {
	servers, err := f.memoryServers()
	if err != nil {
		return nil, err
	}
	if _, err := stor.Init(ctx, f.newPoolConfig(log), servers); err != nil {
		return nil, errors.Join(err, closeAll(servers))
	}
	return stor.Open(ctx, f.poolConfig(log), servers)
}

// initPool prepares the servers that the flags name; of an embedded store it
// makes the directories that are not there.
func (f *Flags) initPool(ctx context.Context, log *slog.Logger) (*stor.Manifest, error) {
	var servers []stor.Server
	var err error
	if f.DataDir != "" {
		servers, err = f.makeShardDirs(log)
	} else {
		servers, err = f.redisServers(true)
	}
	if err != nil {
		return nil, err
	}
	m, err := stor.Init(ctx, f.newPoolConfig(log), servers)
	return m, errors.Join(err, closeAll(servers))
}

// InitPool prepares empty servers, once (`tlogctl stores init`).
func (f *Flags) InitPool(ctx context.Context, log *slog.Logger) (*stor.Manifest, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return f.initPool(ctx, log)
}

// poolConfig is what an existing pool must agree with.
func (f *Flags) poolConfig(log *slog.Logger) stor.Config {
	return stor.Config{K: f.DataShards, M: f.ParityShards, MinShards: f.MinShards,
		Durability: stor.Durability(f.Durability), Check: Check, Logger: log}
}

// newPoolConfig is what a new pool becomes.
func (f *Flags) newPoolConfig(log *slog.Logger) stor.Config {
	c := f.poolConfig(log)
	c.K, c.M = f.shards()
	if (f.Memory || f.Discard) && c.Durability == "" {
		c.Durability = stor.DurabilityMemory
	}
	return c
}

// explain adds what to do to errors that name only what is wrong.
func (f *Flags) explain(err error) error {
	if errors.Is(err, stor.ErrEmpty) && len(f.StorageAddresses) > 0 {
		return fmt.Errorf("%w; prepare the servers once with: tlogctl stores init --storage-addresses %s --key-file FILE",
			err, strings.Join(f.StorageAddresses, ","))
	}
	if errors.Is(err, stor.ErrEmpty) && f.DataDir != "" {
		return fmt.Errorf("%w; %s holds no tlog store", err, f.DataDir)
	}
	return err
}

func closeAll(servers []stor.Server) error {
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Check is the stor.CheckFunc of the envelope: it joins package stor, which
// knows no format, to package crypto.
func Check(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body}, nil
}

// describe says where data goes and what a flush promises.
func (f *Flags) describe(o *Opened) {
	m := o.Pool.Manifest()
	switch {
	case f.Discard:
		o.Where = "NOWHERE"
		o.Promise = "--discard: a flushed write is GONE: nothing is kept"
		return
	case f.Memory:
		o.Where = fmt.Sprintf("the memory of this process (%d+%d)", m.K, m.M)
	case f.DataDir != "":
		o.Where = fmt.Sprintf("%d directories in %s (%d+%d)", m.P(), f.DataDir, m.K, m.M)
	default:
		o.Where = fmt.Sprintf("%d Redis servers from %s (%d+%d)", m.P(), f.StorageAddresses[0], m.K, m.M)
	}
	o.Promise = Promise(m)
}

// Promise says in words what an acknowledged flush is worth in a pool.
func Promise(m stor.Manifest) string {
	lost := fmt.Sprintf("the loss of any %d of them", m.W-m.K)
	if m.W == m.K {
		lost = "no loss of a shard server"
	}
	switch m.Durability {
	case stor.DurabilityMemory:
		return fmt.Sprintf("a flushed write is in the memory of %d shard servers: it survives %s, and NOT the end of their processes", m.W, lost)
	case stor.DurabilityEverysec:
		return fmt.Sprintf("a flushed write is on %d shard servers: it survives crashes and %s, and NOT a power loss within about a second", m.W, lost)
	}
	return fmt.Sprintf("a flushed write is synced on %d shard servers: it survives crashes, power loss and %s", m.W, lost)
}

// fileExists reports whether path exists; a path that cannot be looked at exists.
func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}
