package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"tlog/stor"
	"tlog/stor/discard"
	"tlog/stor/file"
	"tlog/stor/memory"
	"tlog/stor/redis"
)

// servers makes the shard servers of an existing pool; Redis servers are not yet
// connected to.
func (f *Flags) servers(log *slog.Logger, write bool) ([]stor.Server, error) {
	if f.DataDir != "" {
		return f.fileServers(log, write)
	}
	return f.redisServers(write)
}

func (f *Flags) memoryServers() ([]stor.Server, error) {
	k, m := f.shards()
	var list []stor.Server
	for range k + m {
		s, err := memory.New()
		if err != nil {
			return nil, errors.Join(err, closeAll(list))
		}
		if f.Discard {
			list = append(list, discard.New(s))
			continue
		}
		list = append(list, s)
	}
	return list, nil
}

// fileServers opens the shard-NN directories of the data directory;
// stor.ErrEmpty if a writer finds none that is part of a store.
func (f *Flags) fileServers(log *slog.Logger, write bool) ([]stor.Server, error) {
	dirs, err := filepath.Glob(filepath.Join(f.DataDir, "shard-*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(dirs)
	list, err := openDirs(dirs, file.Options{ReadOnly: !write, EveryFrame: f.EveryFrame, Logger: log})
	if err != nil {
		return nil, err
	}
	size := poolSize(list)
	if size == 0 {
		// Nothing, or a first start that was cut short: Init makes the rest.
		err := fmt.Errorf("%s: %w", f.DataDir, stor.ErrEmpty)
		if !write {
			err = configf("%s holds no tlog store", f.DataDir)
		}
		return nil, errors.Join(err, closeAll(list))
	}
	// Directories that are gone are shown as what they are: empty servers. They
	// are not made again, so that nobody takes them for whole.
	var gone []string
	for i := range size {
		if dir := f.shardDir(i); !slices.Contains(dirs, dir) {
			gone = append(gone, dir)
		}
	}
	missing, err := openDirs(gone, file.Options{ReadOnly: true, Logger: log})
	if err != nil {
		return nil, errors.Join(err, closeAll(list))
	}
	// In the order of slots: messages name a missing one by its place.
	list = append(list, missing...)
	slices.SortFunc(list, func(a, b stor.Server) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// openDirs opens directories beside one another: most of it is waiting for disks.
func openDirs(dirs []string, opt file.Options) ([]stor.Server, error) {
	opened, errs := make([]*file.Server, len(dirs)), make([]error, len(dirs))
	var all sync.WaitGroup
	for i, dir := range dirs {
		all.Go(func() { opened[i], errs[i] = file.Open(dir, opt) })
	}
	all.Wait()
	var list []stor.Server
	for i, s := range opened {
		if errs[i] == nil {
			list = append(list, s)
		}
	}
	for _, err := range errs {
		if err != nil { // one says enough: the others mostly say the same
			return nil, errors.Join(err, closeAll(list))
		}
	}
	return list, nil
}

// poolSize is the number of servers of the pool that any of list is part of;
// 0: none is initialised.
func poolSize(list []stor.Server) int {
	size := 0
	for _, s := range list {
		// A server that cannot tell is the pool's to judge.
		if _, m, err := s.Identify(context.Background()); err == nil && m != nil {
			size = max(size, m.P())
		}
	}
	return size
}

func (f *Flags) shardDir(i int) string {
	return filepath.Join(f.DataDir, fmt.Sprintf("shard-%02d", i))
}

// makeShardDirs makes the directories of a new embedded store: k+m and a spare.
func (f *Flags) makeShardDirs(log *slog.Logger) ([]stor.Server, error) {
	k, m := f.shards()
	if err := os.MkdirAll(f.DataDir, 0o700); err != nil {
		return nil, configError{err}
	}
	var dirs []string
	for i := range k + m + embeddedSpares {
		dirs = append(dirs, f.shardDir(i))
	}
	return openDirs(dirs, file.Options{Logger: log})
}

// Relist makes the addresses of f the list of the pool's servers, which are
// Redis servers and in use.
func (f *Flags) Relist(ctx context.Context, pool *stor.Pool) error {
	if err := f.check(); err != nil {
		return err
	}
	addresses, err := f.addresses()
	if err != nil {
		return err
	}
	opt, err := f.redisOptions(true)
	if err != nil {
		return err
	}
	return pool.Relist(ctx, addresses, func(name string) (stor.Server, error) {
		s, err := redis.Dial(name, opt)
		if err != nil {
			return nil, configError{err}
		}
		return s, nil
	})
}

// OpenServer opens one server beside the pool's, to be made part of it: a
// directory, which is made if there is none, or a Redis.
func (f *Flags) OpenServer(name string, log *slog.Logger) (stor.Server, error) {
	if f.DataDir != "" {
		s, err := file.Open(name, file.Options{Logger: log})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if _, _, _, err := splitAddress(name); err != nil {
		return nil, err
	}
	opt, err := f.redisOptions(true)
	if err != nil {
		return nil, err
	}
	s, err := redis.Dial(name, opt)
	if err != nil {
		return nil, configError{err}
	}
	return s, nil
}

func (f *Flags) redisOptions(write bool) (redis.Options, error) {
	opt := redis.Options{Username: f.RedisUsername, Durability: stor.Durability(f.Durability), ReadOnly: !write}
	if f.RedisPassword != "" {
		b, err := os.ReadFile(f.RedisPassword)
		if err != nil {
			return opt, configError{err}
		}
		opt.Password = strings.TrimRight(string(b), "\r\n")
	}
	return opt, nil
}

func (f *Flags) redisServers(write bool) ([]stor.Server, error) {
	addresses, err := f.addresses()
	if err != nil {
		return nil, err
	}
	opt, err := f.redisOptions(write)
	if err != nil {
		return nil, err
	}
	var list []stor.Server
	for _, a := range addresses {
		s, err := redis.Dial(a, opt)
		if err != nil {
			return nil, errors.Join(configError{err}, closeAll(list))
		}
		list = append(list, s)
	}
	return list, nil
}
