package player_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"tlog"
	"tlog/player"
	"tlog/stor"
)

// counted is a shard server that counts what is read of it, and may change it.
type counted struct {
	stor.Server
	whole, parts *atomic.Int64
	spoil        *atomic.Bool // parts come with a bit flipped
	stall        *atomic.Bool // parts do not come
}

func (c counted) Fill(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, buf []byte) (shard, memory []byte, err error) {
	c.whole.Add(1)
	return c.Server.(stor.Filler).Fill(ctx, vdisk, pos, buf)
}

func (c counted) Ranges(ctx context.Context, vdisk tlog.UUID, shards []stor.ShardRanges) error {
	for _, h := range shards {
		c.parts.Add(int64(len(h.Ranges)))
	}
	if c.stall.Load() {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	err := c.Server.(stor.Ranger).Ranges(ctx, vdisk, shards)
	if err == nil && c.spoil.Load() {
		for _, h := range shards {
			b := h.Ranges[len(h.Ranges)-1].B
			b[len(b)/2] ^= 4
		}
	}
	return err
}

// watched opens the log over counted servers.
func (s *store) watched(t *testing.T) (*player.Log, counted) {
	t.Helper()
	c := counted{whole: new(atomic.Int64), parts: new(atomic.Int64), spoil: new(atomic.Bool), stall: new(atomic.Bool)}
	var list []stor.Server
	for _, f := range s.servers(t, true) {
		list = append(list, counted{f, c.whole, c.parts, c.spoil, c.stall})
	}
	pool, err := stor.Open(t.Context(), stor.Config{Check: check}, list)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := player.Open(t.Context(), pool, s.keys, disk, player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

// TestRecordsByThemselves reads a piece of a record of each position without
// reading one position whole; parts that were changed are not believed. As in
// the tests below time stands still while anybody works: a server that lets a part
// wait for 250 ms, as any does on a busy machine, would not be asked for a while.
func TestRecordsByThemselves(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 150, 70)
	synctest.Test(t, func(t *testing.T) {
		l, c := s.watched(t)
		ix := openIndex(t, l, "")
		p := resolve(t, l, "latest")
		for _, spoil := range []bool{false, true} {
			c.spoil.Store(spoil)
			past := openPast(t, ix, p)
			c.whole.Store(0)
			c.parts.Store(0)
			pieces := 0
			past.Extents(0, past.Size(), func(off, n int64, data bool) bool {
				if data && n >= 100 {
					b := make([]byte, 50)
					if err := past.ReadAt(t.Context(), b, off+n/2); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(b, m.disk[off+n/2:][:50]) {
						t.Errorf("spoiled %v: 50 bytes at %d are not the disk's", spoil, off+n/2)
					}
					pieces++
				}
				return true
			})
			switch parts, whole := c.parts.Load(), c.whole.Load(); {
			case pieces < 5 || parts == 0 || !spoil && parts < int64(pieces)/2:
				t.Errorf("spoiled %v: %d parts were read for %d pieces", spoil, parts, pieces)
			case !spoil && whole > int64(pieces)/2:
				t.Errorf("%d whole shards were read for %d pieces", whole, pieces)
			case spoil && whole == 0:
				t.Error("nothing else was read in place of what was spoiled")
			}
		}
	})
}

// TestSparsePositionsAreReadByRecord overwrites a disk until its old positions
// have a record or two that are alive: no more is read of those.
func TestSparsePositionsAreReadByRecord(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 600, 71)
	synctest.Test(t, func(t *testing.T) {
		l, c := s.watched(t)
		past := openPast(t, openIndex(t, l, ""), resolve(t, l, "latest"))
		_, _, positions := past.Need()
		c.whole.Store(0)
		got := make([]byte, diskSize)
		err := past.Each(t.Context(), nil, func(off int64, data []byte) error {
			copy(got[off:], data)
			return nil
		})
		if err != nil || !bytes.Equal(got, m.disk) {
			t.Errorf("the pieces make the model's disk: %v, %v", bytes.Equal(got, m.disk), err)
		}
		// Two data shards make a position.
		if whole := c.whole.Load() / 2; c.parts.Load() == 0 || whole > int64(positions)*9/10 {
			t.Errorf("%d of %d positions were read whole, %d parts of others", whole, positions, c.parts.Load())
		}
	})
}

// TestPartsAroundLosses reads by parts while servers are away or damaged.
func TestPartsAroundLosses(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 200, 72)
	remove(t, s.dirs[1])
	segments, err := filepath.Glob(filepath.Join(s.dirs[3], "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range segments {
		if strings.Contains(filepath.Base(path), "lock") {
			continue
		}
		if b, err := os.ReadFile(path); err == nil && len(b) > 100_000 {
			for i := 20_000; i < len(b); i += 9_001 {
				b[i] ^= 1
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := s.player(t)
	ix := openIndex(t, l, "")
	for _, seq := range []int{50, 120, m.last()} {
		comparePast(t, openPast(t, ix, resolve(t, l, fmt.Sprint("seq:", seq))), m.after(seq), fmt.Sprint("seq:", seq))
	}
}

// TestMemoryOfLateAnswers reads parts, by themselves, into memory that is used
// again, and then from servers that do not answer: they may write to that memory
// later, so it is nobody's any more.
func TestMemoryOfLateAnswers(t *testing.T) {
	s := newStore(t)
	s.write(t, 300, 74)
	synctest.Test(t, func(t *testing.T) {
		l, c := s.watched(t)
		past := openPast(t, openIndex(t, l, ""), resolve(t, l, "latest"))
		for _, stall := range []bool{false, true} {
			c.stall.Store(stall)
			if read, kept := past.PeekAll(t.Context()); read == stall || kept == stall {
				t.Errorf("servers do not answer: %v: all was read: %v, its memory is kept: %v", stall, read, kept)
			}
		}
	})
}

// TestPartsOfSlowServers reads by parts from servers that do not answer: each is
// asked once and then left alone for a while, and the disk is read all the same.
func TestPartsOfSlowServers(t *testing.T) {
	s := newStore(t)
	m := s.write(t, 150, 73)
	synctest.Test(t, func(t *testing.T) {
		l, c := s.watched(t)
		past := openPast(t, openIndex(t, l, ""), resolve(t, l, "latest"))
		c.parts.Store(0)
		c.stall.Store(true)
		pieces := int64(0)
		past.Extents(0, past.Size(), func(off, n int64, data bool) bool {
			if data {
				b := make([]byte, min(n, 50))
				if err := past.ReadAt(t.Context(), b, off); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(b, m.disk[off:][:len(b)]) {
					t.Errorf("%d bytes at %d are not the disk's", len(b), off)
				}
				pieces++
			}
			return true
		})
		if parts := c.parts.Load(); parts == 0 || parts > int64(len(s.dirs)) || pieces < 3*int64(len(s.dirs)) {
			t.Errorf("%d parts were asked for, of %d servers that do not answer, for %d pieces", parts, len(s.dirs), pieces)
		}
	})
}
