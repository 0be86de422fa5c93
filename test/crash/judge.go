package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/internal/check"
	"tlog/player"
	"tlog/stor"
	"tlog/stor/file"
	"tlog/stor/redis"
)

// open opens the pool for reading, in this process.
func (p *pool) open(ctx context.Context) (*stor.Pool, *crypto.Keyring, error) {
	keys, err := crypto.LoadKeyFile(p.key)
	if err != nil {
		return nil, nil, err
	}
	var servers []stor.Server
	for i := range p.count {
		var s stor.Server
		if p.dir != "" {
			s, err = file.Open(p.shardDir(i), file.Options{ReadOnly: true})
		} else {
			s, err = redis.Dial(p.redis[i].addr, redis.Options{Durability: stor.Durability(p.w.shape.fsync)})
		}
		if err != nil {
			return nil, nil, err
		}
		servers = append(servers, s)
	}
	pool, err := stor.Open(ctx, stor.Config{ReadOnly: true, Check: checkShard}, servers)
	return pool, keys, err
}

func checkShard(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body}, nil
}

// unreadable says that a log does not open. If every shard server answered
// (class tlog.Corrupt), it is lost.
type unreadable struct{ error }

// Unwrap gives the player's error.
func (u unreadable) Unwrap() error { return u.error }

// read reads every vdisk's log from the shard servers as they are, compares it
// with what was sent and acknowledged, and lets then look at it.
func (w *world) read(then func(context.Context, *ledger, *player.Log, check.Point) error) error {
	most := patience // and more for long histories: it is read here, on a machine that others use
	for _, l := range w.ledgers {
		records, _ := l.counts()
		most += time.Duration(records) * 10 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	pool, keys, err := w.pool.open(ctx)
	if err != nil {
		w.violated(fmt.Errorf("the pool cannot be read: %w", err))
		return nil
	}
	defer pool.Close()
	for vdisk, l := range w.ledgers {
		log, err := player.Open(ctx, pool, keys, vdisk, player.Config{})
		if errors.Is(err, player.ErrNoVdisk) && l.durable().Sequence == 0 {
			continue
		}
		if err != nil {
			w.violated(unreadable{fmt.Errorf("vdisk %s, durable up to record %d: %w", vdisk, l.durable().Sequence, err)})
			continue
		}
		p, err := l.walk(ctx, log)
		if err == nil && then != nil {
			err = then(ctx, l, log, p)
		}
		if err != nil && !slices.Contains(l.violations(), err) {
			w.violated(fmt.Errorf("vdisk %s: %w", vdisk, err))
		}
		w.stats.restores++
	}
	return nil
}

// walk compares every record of the log.
func (l *ledger) walk(ctx context.Context, log *player.Log) (check.Point, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	walk := l.rec.Walk()
	if log.Info().Last > 0 {
		if err := log.Replay(ctx, 0, tlog.Hash{}, log.Info().Last, walk.Add); err != nil {
			return check.Point{}, err
		}
	}
	return walk.End()
}

// inspect reads what lies on the shard servers after the power was lost, before
// any server has touched it.
func (w *world) inspect() error { return w.read(nil) }

// judge reads everything at the end of a round.
func (w *world) judge() error {
	if err := w.read(w.moments); err != nil || len(w.violations()) > 0 {
		return err
	}
	for _, l := range w.ledgers {
		w.cfg.say("  verify")
		if err := w.verify(l); err != nil {
			return err
		}
		records, flushes := l.counts()
		w.stats.records += records
		w.stats.flushes += flushes
	}
	return nil
}

// moments restores the end of a log and moments of its past: each must be the
// disk that was, to the byte.
func (w *world) moments(ctx context.Context, l *ledger, log *player.Log, end check.Point) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	path := l.rec.Path(end)
	if err := same(ctx, log, "latest", path, end.Sequence); err != nil || end.Sequence == 0 {
		return err
	}
	return w.past(ctx, log, path, 4)
}

// past restores so many sequences and times.
func (w *world) past(ctx context.Context, log *player.Log, path *check.Path, n int) error {
	for range n {
		s := 1 + tlog.Sequence(w.rng.Uint64N(uint64(path.Len())))
		if err := same(ctx, log, fmt.Sprintf("seq:%d", s), path, s); err != nil {
			return err
		}
		at := path.Record(s).Timestamp + w.rng.Uint64N(2_000_000)
		when := time.Unix(0, int64(at)).UTC().Format(time.RFC3339Nano)
		if err := same(ctx, log, when, path, path.At(at)); err != nil {
			return err
		}
		w.stats.restores += 2
	}
	return nil
}

// same restores a moment and compares it with the disk after record s.
func same(ctx context.Context, log *player.Log, when string, path *check.Path, s tlog.Sequence) error {
	m, err := player.ParseWhen(when, time.Now())
	if err != nil {
		return err
	}
	p, err := log.Resolve(ctx, m)
	if err != nil {
		return err
	}
	if p.Sequence != s {
		return fmt.Errorf("%s is record %d to the player, and was record %d", when, p.Sequence, s)
	}
	want := path.Image(s)
	image := memory(make([]byte, len(want)))
	if _, err := log.Restore(ctx, p, image, player.RestoreOptions{Fresh: true}); err != nil {
		return fmt.Errorf("restore of %s: %w", when, err)
	}
	if !bytes.Equal(image, want) {
		return fmt.Errorf("the disk restored to %s (record %d) is not the one that was written", when, s)
	}
	return nil
}

// memory is a disk in memory.
type memory []byte

// WriteAt writes inside the disk.
func (m memory) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }

// Zero clears a part of the disk.
func (m memory) Zero(off, n int64) error {
	clear(m[off : off+n])
	return nil
}

// verify asks tlogctl: nothing may be wrong but what was done to servers that
// are counted as lost, and after a repair nothing at all.
func (w *world) verify(l *ledger) error {
	damaged, err := w.verifyOnce(l)
	if err != nil {
		return err
	}
	for server := range damaged {
		known := server == unawaited
		for i := range w.pool.lost {
			known = known || w.pool.name(i) == server
		}
		if !known {
			again, err := w.verifyOnce(l) // tells what was on its way from what is missing
			if err != nil {
				return err
			}
			w.violated(fmt.Errorf("vdisk %s: verify finds shard server %q damaged, which was not harmed: %v; looked at again: %v; lost are %v", l.vdisk, server, damaged[server], again, w.pool.lost))
		}
	}
	if len(w.pool.lost) > 0 || len(damaged) > 0 {
		for _, s := range w.servers { // directories are locked, and none of them is needed any more
			s.p.stop()
		}
		if err := w.must("repair", nil, w.cfg.bin("tlogctl"), append([]string{"repair", "--all", "--force"}, w.pool.flags...)...); err != nil {
			w.violated(err)
		}
		if damaged, err = w.verifyOnce(l); err != nil {
			return err
		}
		if len(damaged) > 0 {
			w.violated(fmt.Errorf("vdisk %s: repaired, and verify still finds %v", l.vdisk, damaged))
		}
	}
	return w.restoreImage(l)
}

// unawaited stands for the servers whose shards an acknowledgement does not wait
// for, in a pool that can do with less than all.
const unawaited = "(not waited for)"

// verifyOnce gives the reasons by server.
func (w *world) verifyOnce(l *ledger) (map[string][]string, error) {
	out := filepath.Join(w.dir, "verify.json")
	f, err := os.Create(out)
	if err != nil {
		return nil, err
	}
	p, err := w.launchWith("verify", nil, nil, f, w.cfg.bin("tlogctl"), append([]string{"verify", string(l.vdisk), "--json"}, w.pool.flags...)...)
	f.Close()
	if err != nil {
		return nil, err
	}
	<-p.done
	var report struct {
		Whole   bool
		Error   string
		Damaged []struct {
			Server, Reason string
			Position       uint64
		}
	}
	b, err := os.ReadFile(out)
	if err == nil {
		err = json.Unmarshal(b, &report)
	}
	if err != nil || !report.Whole {
		w.violated(fmt.Errorf("vdisk %s: verify: %v %s\n%s", l.vdisk, err, report.Error, p.tail()))
	}
	damaged := map[string][]string{}
	missing := map[uint64]int{}
	for _, d := range report.Damaged {
		if w.shape.least > 0 && strings.HasSuffix(d.Reason, "no such shard") {
			d.Server = unawaited
			if missing[d.Position]++; missing[d.Position] > dataShards+parityShards-w.shape.least+len(w.pool.lost) {
				w.violated(fmt.Errorf("vdisk %s: %d shards of position %d are missing, and it was acknowledged", l.vdisk, missing[d.Position], d.Position))
			}
		}
		if list := damaged[d.Server]; len(list) < 3 {
			damaged[d.Server] = append(list, fmt.Sprintf("position %d: %s", d.Position, d.Reason))
		}
	}
	return damaged, nil
}

// restoreImage has tlogctl restore the disk.
func (w *world) restoreImage(l *ledger) error {
	image := filepath.Join(w.dir, string(l.vdisk)+".restored")
	if err := w.must("restore", nil, w.cfg.bin("tlogctl"), append([]string{"restore", string(l.vdisk), "--to", image}, w.pool.flags...)...); err != nil {
		w.violated(err)
		return nil
	}
	got, err := os.ReadFile(image)
	if err == nil {
		err = os.Remove(image)
	}
	if err != nil {
		return err
	}
	if err := l.disk(got); err != nil {
		w.violated(fmt.Errorf("tlogctl restore: %w", err))
	}
	return nil
}
