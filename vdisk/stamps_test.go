package vdisk

import (
	"bytes"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/group"
)

// testClock is a group's clock without a file.
type testClock struct {
	last   atomic.Uint64
	raised uint64
}

const testStamp = group.Stamp(7<<36 | 5<<8 | 3)

func (c *testClock) Next() uint64       { return c.last.Add(1) }
func (c *testClock) Last() uint64       { return c.last.Load() }
func (c *testClock) Raise(to uint64)    { c.raised = to }
func (c *testClock) Stamp() group.Stamp { return testStamp }

// acker acknowledges writes before the disk has them, as the NBD plugin's ring
// does: it draws the time of each under the lock that orders them.
type acker struct {
	clock Clock
	disk  *Disk

	mu     sync.Mutex
	writes []Write
	giving sync.Mutex // held while writes go to the disk
}

func (a *acker) write(off int64, data []byte) (at uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at = a.clock.Next()
	a.writes = append(a.writes, Write{Offset: off, Data: data, Time: at})
	return at
}

func (a *acker) gather() {
	a.giving.Lock()
	defer a.giving.Unlock()
	a.mu.Lock()
	writes := a.writes
	a.writes = nil
	a.mu.Unlock()
	if a.disk != nil {
		a.disk.Accept(writes)
	}
}

func openGrouped(t testing.TB, s *store, cfg Config, c Clock) (*rig, *acker) {
	t.Helper()
	a := &acker{clock: c}
	cfg.Clock, cfg.Gather, cfg.Returned = c, a.gather, func(int) {}
	r := openRig(t, s, cfg)
	a.giving.Lock() // the disk puts watermarks already
	defer a.giving.Unlock()
	a.disk = r.Disk
	return r, a
}

// Every record's time was drawn between the beginning of its operation and its
// end, and in the log times do not decrease, whoever acknowledges and however
// operations overlap.
func TestTimesOfOperations(t *testing.T) {
	s, c := newStore("d"), &testClock{}
	r, a := openGrouped(t, s, testConfig(t, s), c)
	const each = 300
	var mu sync.Mutex
	spans := map[int64][2]uint64{} // by offset, which no two operations share
	op := func(off int64, do func() error) {
		from := c.Next()
		check(t, do())
		mu.Lock()
		spans[off] = [2]uint64{from, c.Next()}
		mu.Unlock()
	}
	var wg sync.WaitGroup
	for w := range int64(4) {
		wg.Go(func() {
			for i := range int64(each) {
				off := (i*4 + w) * 512
				switch w {
				case 0, 1:
					op(off, func() error { a.write(off, []byte{1}); return nil })
				case 2:
					op(off, func() error { return r.Zero(ctx, off, 1, false) })
				case 3:
					op(off, func() error { return r.WriteAt(ctx, []byte{2}, off) })
				}
				if i%16 == 15 {
					check(t, r.Flush(ctx))
				}
			}
		})
	}
	wg.Wait()
	check(t, r.Flush(ctx))
	r.mustClose(t)
	last, seen := uint64(0), 0
	for i, rec := range s.taken {
		at := rec.rec.Timestamp
		if at < last || at == 0 || group.Stamp(rec.rec.Group).SameClock(testStamp) == false {
			t.Fatalf("record %d: %v at %d after %d, group %d", i+1, rec.rec.Operation, at, last, rec.rec.Group)
		}
		last = at
		if rec.rec.Size == 0 {
			continue
		}
		seen++
		if span := spans[int64(rec.rec.Offset)]; at <= span[0] || at >= span[1] {
			t.Errorf("%v at %d: stamped %d, and it was under way from %d to %d", rec.rec.Operation, rec.rec.Offset, at, span[0], span[1])
		}
	}
	if seen != 4*each {
		t.Errorf("%d operations of %d in the log", seen, 4*each)
	}
}

// meddler acknowledges a write just before each draw by someone else.
type meddler struct {
	testClock
	write func()
}

func (m *meddler) Next() uint64 {
	if write := m.write; write != nil {
		m.write = nil
		write()
		m.write = write
	}
	return m.testClock.Next()
}

// What was acknowledged before an operation drew its time is in the log before it.
func TestDrawThenGather(t *testing.T) {
	s, c := newStore("d"), &meddler{}
	r, a := openGrouped(t, s, testConfig(t, s), c)
	n := int64(0)
	c.write = func() { n++; a.write(512*n, []byte{1}) }
	for range 3 {
		r.write(t, 0, 1, 'a')
		check(t, r.Trim(ctx, 100, 5))
		check(t, r.Flush(ctx))
	}
	r.mustClose(t)
	last := uint64(0)
	for i, rec := range s.taken {
		if rec.rec.Timestamp <= last {
			t.Errorf("record %d: %v at %d after %d", i+1, rec.rec.Operation, rec.rec.Timestamp, last)
		}
		last = rec.rec.Timestamp
	}
	if n < 9 {
		t.Errorf("%d writes", n)
	}
}

// A write that was acknowledged before its time could be that of its place ends
// writing: it cannot be told where it belongs.
func TestLateTimeHalts(t *testing.T) {
	s, c := newStore("d"), &testClock{}
	r, a := openGrouped(t, s, testConfig(t, s), c)
	late := c.Next()
	r.write(t, 0, 512, 'a')
	a.writes = append(a.writes, Write{Offset: 0, Data: []byte{1}, Time: late})
	a.gather()
	if err := r.Flush(ctx); err == nil {
		t.Error("flushed")
	}
	_ = r.Close(ctx) // not all of it is durable
}

// watermarks lists the time and stamp of the log's watermarks, and whether each is
// the last record so far.
func watermarks(s *store) (out []tlog.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.taken {
		if r.rec.Operation == tlog.OpWatermark {
			out = append(out, r.rec)
		}
	}
	return out
}

// A disk in a group begins and ends with a watermark, and has one for each
// interval in which others of the group went on and it did not.
func TestWatermarks(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, c := newStore("d"), &testClock{}
		cfg := testConfig(t, s)
		cfg.Base, cfg.WatermarkInterval = filepath.Join(dir, "b.img"), time.Second
		r, a := openGrouped(t, s, cfg, c)
		want := []uint64{1}
		expect := func(what string) {
			t.Helper()
			synctest.Wait()
			var got []uint64
			for _, b := range watermarks(s) {
				got = append(got, b.Timestamp)
				if b.Group != uint64(testStamp) {
					t.Errorf("%s: group %x", what, b.Group)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: watermarks at %v, want %v", what, got, want)
			}
		}
		step := func() { <-time.After(time.Second); synctest.Wait() }
		expect("joined")
		step()
		expect("the group rests")
		c.Next() // another disk's
		want = append(want, c.Next())
		step()
		expect("others went on")
		step()
		step()
		expect("the group rests again")
		a.write(0, bytes.Repeat([]byte{'x'}, 512))
		step() // it wrote itself
		c.Next()
		a.gather()
		expect("it went on itself")
		check(t, r.Flush(ctx))
		r.mustClose(t)
		all := watermarks(s)
		if last := s.taken[len(s.taken)-1].rec; len(all) < 3 || last.Operation != tlog.OpWatermark || last.Group != uint64(testStamp.Closed()) || last.Timestamp != c.Last() {
			t.Errorf("the log ends with %v, group %x, at %d of %d", last.Operation, last.Group, last.Timestamp, c.Last())
		}
	})
}

// A disk in no group has neither times nor watermarks.
func TestNoGroup(t *testing.T) {
	s := newStore("d")
	cfg := testConfig(t, s)
	cfg.WatermarkInterval = time.Millisecond
	r := openRig(t, s, cfg)
	r.write(t, 0, 512, 'a')
	check(t, r.Flush(ctx))
	r.mustClose(t)
	for _, rec := range s.taken {
		if rec.rec.Timestamp != 0 || rec.rec.Group != 0 || rec.rec.Operation == tlog.OpWatermark {
			t.Errorf("%+v", rec.rec)
		}
	}
}
