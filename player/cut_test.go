package player_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tlog"
	"tlog/group"
	"tlog/player"
	"tlog/vdisk"
)

const (
	groupName = "vm"
	slots     = 4 // of writers, whose counters lie one behind the other
)

// pair is two disks of a group, a and b, on one server, and the store they are in.
type pair struct {
	*store
	addr string
	stop func()
}

func newPair(t testing.TB) *pair {
	t.Helper()
	s := newStore(t)
	addr, stop := s.serve(t, 100)
	return &pair{s, addr, stop}
}

// ring acknowledges writes before the disk has them, as the NBD plugin does. With
// late set it draws their times when it hands them over: too late.
type ring struct {
	clock *group.Clock
	disk  *vdisk.Disk
	late  bool

	mu     sync.Mutex
	writes []vdisk.Write
	giving sync.Mutex
}

func (r *ring) write(off int64, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, vdisk.Write{Offset: off, Data: data, Time: r.clock.Next()})
}

func (r *ring) gather() {
	r.giving.Lock()
	defer r.giving.Unlock()
	r.mu.Lock()
	writes := r.writes
	r.writes = nil
	r.mu.Unlock()
	for i := range writes {
		if r.late {
			writes[i].Time = r.clock.Next()
		}
	}
	if r.disk != nil {
		r.disk.Accept(writes)
	}
}

func (p *pair) open(t testing.TB, name string, cfg group.Config, late bool) *ring {
	t.Helper()
	cfg.Name = groupName
	clock, err := group.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{clock: clock, late: late}
	d, err := vdisk.Open(t.Context(), vdisk.Config{
		Vdisk: tlog.VdiskID(name), Size: diskSize, Base: filepath.Join(t.TempDir(), name), Servers: []string{p.addr},
		Clock: clock, WatermarkInterval: 20 * time.Millisecond, Gather: r.gather, Returned: func(int) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.giving.Lock() // the disk puts watermarks already
	defer r.giving.Unlock()
	r.disk = d
	return r
}

func (r *ring) close(t testing.TB) {
	t.Helper()
	r.gather()
	if err := r.disk.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := r.clock.Close(); err != nil {
		t.Error(err)
	}
}

// depend writes n times, by each writer, a counter to a, and when that is
// acknowledged to b, and so on; by turns in each way that there is to write. Now
// and then somebody flushes, which is when the ring is emptied.
func depend(t testing.TB, a, b *ring, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range int64(slots) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(w)))
			for i := range uint64(n) {
				for _, r := range []*ring{a, b} {
					data := binary.LittleEndian.AppendUint64(nil, i+1)
					if rng.IntN(4) > 0 {
						r.write(8*w, data)
					} else if err := r.disk.WriteAt(context.Background(), data, 8*w); err != nil {
						t.Error(err)
						return
					}
					if rng.IntN(50) == 0 {
						if err := r.disk.Flush(context.Background()); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	wg.Wait()
}

// history is a log's counters after each record, and its times.
type history struct {
	ix     *player.Index
	counts [][slots]uint64 // by sequence
	times  []time.Time
}

func (p *pair) history(t testing.TB, name tlog.VdiskID) *history {
	t.Helper()
	l, err := player.Open(t.Context(), p.store.open(t, true), p.keys, name, player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := &history{counts: make([][slots]uint64, 1)}
	if h.ix, err = l.OpenIndex(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.ix.Close() }) //nolint:errcheck // forgotten
	err = l.Replay(t.Context(), 0, tlog.Hash{}, l.Info().Last, func(r *tlog.Record) error {
		c := h.counts[len(h.counts)-1]
		if r.Operation == tlog.OpWrite {
			c[r.Offset/8] = binary.LittleEndian.Uint64(r.Data)
		}
		h.counts = append(h.counts, c)
		h.times = append(h.times, time.Unix(0, int64(r.Timestamp)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// violations cuts at random moments and counts those at which a write is there
// and one is missing that was acknowledged before it was issued.
func violations(t testing.TB, a, b *history, cuts int, edit func(*player.CutConfig)) (bad int) {
	t.Helper()
	first, last := a.times[0], a.times[len(a.times)-1]
	for _, h := range []*history{b} {
		first, last = later(first, h.times[0]), later(last, h.times[len(h.times)-1])
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range cuts {
		at := first.Add(time.Duration(rng.Int64N(int64(last.Sub(first)))))
		cfg := player.CutConfig{Group: groupName, When: moment(t, at), Snap: player.SnapAny}
		if edit != nil {
			edit(&cfg)
		}
		cut, err := player.NewCut([]*player.Index{a.ix, b.ix}, cfg)
		if err != nil {
			t.Fatalf("%v: %v", at, err)
		}
		x, y := a.counts[cut.Points[0].Sequence], b.counts[cut.Points[1].Sequence]
		for w := range slots {
			if y[w] > x[w] || x[w] > y[w]+1 {
				bad++
				break
			}
		}
	}
	return bad
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func moment(t testing.TB, at time.Time) player.When {
	t.Helper()
	w, err := player.ParseWhen(at.UTC().Format(time.RFC3339Nano), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// run has two disks written, by the clocks of the configurations, and cut.
func run(t *testing.T, a, b group.Config, late bool, edit func(*player.CutConfig)) (bad int) {
	t.Helper()
	p := newPair(t)
	x, y := p.open(t, "a", a, late), p.open(t, "b", b, late)
	depend(t, x, y, 2000)
	x.close(t)
	y.close(t)
	p.stop()
	bad = violations(t, p.history(t, "a"), p.history(t, "b"), 4000, edit)
	t.Logf("%d of 4000 cuts are not consistent", bad)
	return bad
}

// At thousands of random moments no cut has a write and lacks one that was
// acknowledged before it was issued, whether the moment is moved to a flush or not.
func TestCutsAreConsistent(t *testing.T) {
	for _, snap := range []player.Snap{player.SnapAny, player.SnapFlush} {
		t.Run(map[player.Snap]string{player.SnapAny: "any", player.SnapFlush: "flush"}[snap], func(t *testing.T) {
			dir := t.TempDir()
			cfg := group.Config{Dir: dir}
			if bad := run(t, cfg, cfg, false, func(c *player.CutConfig) { c.Snap = snap }); bad != 0 {
				t.Errorf("%d cuts are not consistent", bad)
			}
		})
	}
}

// The test sees clocks that are not one, and times that are drawn too late.
func TestCutsSeeBrokenClocks(t *testing.T) {
	made := time.Now()
	// The clocks are made in one second, so their stamps do not tell them apart.
	skewed := func(by time.Duration) func() time.Time {
		first := true
		return func() time.Time {
			if first {
				first = false
				return made
			}
			return time.Now().Add(by)
		}
	}
	t.Run("two clocks", func(t *testing.T) {
		a := group.Config{Dir: t.TempDir(), Now: skewed(0)}
		b := group.Config{Dir: t.TempDir(), Now: skewed(3 * time.Millisecond)}
		if bad := run(t, a, b, false, nil); bad == 0 {
			t.Error("not seen")
		}
	})
	t.Run("late", func(t *testing.T) {
		cfg := group.Config{Dir: t.TempDir()}
		if bad := run(t, cfg, cfg, true, nil); bad == 0 {
			t.Error("not seen")
		}
	})
}
