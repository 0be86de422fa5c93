package stor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"tlog"
	"tlog/stor"
)

// unbounded is a pass that no test waits for.
func unbounded(deep bool) stor.RepairConfig {
	return stor.RepairConfig{Deep: deep, BytesPerSecond: -1, PositionsPerSecond: -1}
}

func (f *fixture) repair(l *stor.Log, deep bool) stor.RepairProgress {
	f.t.Helper()
	p, err := l.Repair(f.t.Context(), unbounded(deep))
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// whole fails unless every position has n good shards.
func (f *fixture) whole() {
	f.t.Helper()
	v := f.verify()
	for pos := tlog.Position(1); pos <= v.Head(); pos++ {
		d, err := v.Inspect(f.t.Context(), pos)
		if err != nil || len(d) > 0 {
			f.t.Fatalf("position %d: %v, %v", pos, d, err)
		}
	}
}

// forget loses positions of a server that match.
func (f *fakeServer) forget(which func(tlog.Position) bool) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, log := range f.stored {
		for pos := range log {
			if which(pos) {
				delete(log, pos)
				n++
			}
		}
	}
	return n
}

// flip damages the data of positions that match.
func (f *fakeServer) flip(which func(tlog.Position) bool) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, log := range f.stored {
		for pos, s := range log {
			if which(pos) {
				s.data[len(s.data)-1] ^= 1
				n++
			}
		}
	}
	return n
}

// Of a server whose metas of some positions are none, the others are believed:
// what it lacks is written to it, and what it does not claim as it should.
func TestRepairOfDamagedMetas(t *testing.T) { synctest.Test(t, testRepairOfDamagedMetas) }

func testRepairOfDamagedMetas(t *testing.T) {
	for _, deep := range []bool{false, true} {
		f := newFixture(t, 4, 2, 6, 7)
		l := f.takeover()
		f.commit(l, 12)
		s := f.fakes[3]
		s.forget(third)
		s.badMetas = map[tlog.Position]bool{2: true, 5: true}
		bare := f.fakes[1]
		bare.forget(func(p tlog.Position) bool { return p == 7 })
		bare.badMetas = map[tlog.Position]bool{7: true, 8: true}
		v := f.verify()
		if d, err := v.Inspect(t.Context(), 5); err != nil || len(d) != 1 || d[0].Server != s.name || !strings.Contains(d[0].Err.Error(), "as its meta") {
			t.Errorf("position 5: %v, %v", d, err)
		}
		if p := f.repair(l, deep); p.Short != 0 || p.Lost != 0 {
			t.Errorf("deep %v: %+v", deep, p)
		}
		if len(s.badMetas)+len(bare.badMetas) > 0 {
			t.Errorf("deep %v: left are %v and %v", deep, s.badMetas, bare.badMetas)
		}
		f.whole()
		l.Close()
		f.close()
	}
}

// Where too few servers have a meta, what the others claim decides nothing.
func TestTooManyDamagedMetas(t *testing.T) { synctest.Test(t, testTooManyDamagedMetas) }

func testTooManyDamagedMetas(t *testing.T) {
	f := newFixture(t, 1, 2, 2, 3) // one shard is enough to read, and two answers are needed
	defer f.close()
	l := f.takeover()
	f.commit(l, 4)
	l.Close()
	v, err := f.pool.Survey(t.Context(), f.vdisk)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		f.fakes[i].badMetas = map[tlog.Position]bool{2: true}
	}
	if r, err := v.Read(t.Context(), 2); tlog.ClassOf(err) != tlog.Corrupt {
		t.Errorf("a position of which one server has a meta: %v, %v", r, err)
	}
	if _, err := v.Read(t.Context(), 1); err != nil {
		t.Errorf("the position before: %v", err)
	}
}

// A server that is wiped after it was asked who it is does not claim to hold
// nothing: the pass ends, and the next one knows.
func TestRepairBesideAServerThatIsWiped(t *testing.T) {
	synctest.Test(t, testRepairBesideAServerThatIsWiped)
}

func testRepairBesideAServerThatIsWiped(t *testing.T) {
	f := newFixture(t, 4, 2, 6, 7)
	defer f.close()
	l := f.takeover()
	defer l.Close()
	f.commit(l, 4)
	s := f.fakes[2]
	s.set(func() {
		s.metas = func([]stor.Meta) ([]stor.Meta, error) {
			s.wipe()
			return nil, nil
		}
	})
	if p, err := l.Repair(t.Context(), unbounded(false)); tlog.ClassOf(err) != tlog.Unavailable {
		t.Fatalf("%+v, %v", p, err)
	}
	if p := f.repair(l, false); p.Lost != 0 {
		t.Errorf("the next pass: %+v", p)
	}
}

func odd(p tlog.Position) bool   { return p%2 == 1 }
func third(p tlog.Position) bool { return p%3 == 0 }

func TestRepair(t *testing.T) { synctest.Test(t, testRepair) }

func testRepair(t *testing.T) {
	f := newFixture(t, 4, 2, 6, 7)
	defer f.close()
	l := f.takeover()
	defer l.Close()
	f.commit(l, 20)
	missing := f.fakes[1].forget(odd)
	damaged := f.fakes[3].flip(third)
	if p := f.repair(l, false); p.Written < missing || p.Looked >= 20 {
		t.Errorf("a cheap pass: %+v, %d shards were missing", p, missing)
	}
	p := f.repair(l, true)
	if p.Looked != 20 || p.Short != 0 || p.Done != 20 || p.Written > damaged || p.Bytes == 0 {
		t.Errorf("a deep pass: %+v, %d shards were damaged", p, damaged)
	}
	f.whole()
	if p := f.repair(l, true); p.Written != 0 {
		t.Errorf("a second pass: %+v", p)
	}
	// Any two servers may be lost now, and the log goes on.
	for i := range f.fakes {
		for j := range i {
			for _, s := range []int{i, j} {
				f.fakes[s].set(func() { f.fakes[s].down = errors.New("gone") })
			}
			f.verify()
			for _, s := range []int{i, j} {
				f.fakes[s].set(func() { f.fakes[s].down = nil })
			}
		}
	}
	f.commit(l, 3)
	f.verify()
}

// A server that is away is not done without; when it is back it gets what it missed.
func TestRepairWaitsForServersThatAreAway(t *testing.T) {
	synctest.Test(t, testRepairWaitsForServersThatAreAway)
}

func testRepairWaitsForServersThatAreAway(t *testing.T) {
	f := newFixture(t, 4, 2, 5, 6) // min-shards
	defer f.close()
	l := f.takeover()
	defer l.Close()
	f.commit(l, 4)
	f.fakes[1].set(func() { f.fakes[1].down = errors.New("away") })
	f.commit(l, 4)
	if p := f.repair(l, false); p.Short == 0 || p.Written != 0 {
		t.Errorf("with a server away: %+v", p)
	}
	f.fakes[1].set(func() { f.fakes[1].down = nil })
	if p := f.repair(l, false); p.Short != 0 || p.Written == 0 {
		t.Errorf("with the server back: %+v", p)
	}
	f.whole()
}

// A stale owner repairs nothing.
func TestRepairIsFenced(t *testing.T) { synctest.Test(t, testRepairIsFenced) }

func testRepairIsFenced(t *testing.T) {
	f := newFixture(t, 2, 1, 3, 4)
	defer f.close()
	stale := f.takeover()
	defer stale.Close()
	f.commit(stale, 6)
	for _, s := range f.fakes {
		s.forget(func(p tlog.Position) bool { return p == 3 && s == f.fakes[0] })
		s.flip(func(p tlog.Position) bool { return p == 4 && s == f.fakes[1] })
	}
	l := f.takeover()
	defer l.Close()
	f.fakes[0].forget(func(p tlog.Position) bool { return p == 2 })
	before := make([]int, len(f.fakes))
	for i, s := range f.fakes {
		before[i] = len(s.stored[f.vdisk])
	}
	if _, err := stale.Repair(t.Context(), unbounded(true)); !errors.Is(err, stor.ErrFenced) || tlog.ClassOf(err) != tlog.Fatal {
		t.Errorf("a stale owner's repair: %v", err)
	}
	for i, s := range f.fakes {
		if got := len(s.stored[f.vdisk]); got != before[i] {
			t.Errorf("%s holds %d positions after a stale repair, %d before", s.name, got, before[i])
		}
	}
	if p := f.repair(l, true); p.Written == 0 || p.Short != 0 {
		t.Errorf("the owner's repair: %+v", p)
	}
	f.whole()
}

// A server that missed the takeover is fenced before it is written to.
func TestRepairFencesWhoMissedTheTakeover(t *testing.T) {
	synctest.Test(t, testRepairFencesWhoMissedTheTakeover)
}

func testRepairFencesWhoMissedTheTakeover(t *testing.T) {
	f := newFixture(t, 2, 1, 3, 4)
	defer f.close()
	l := f.takeover()
	f.commit(l, 3)
	l.Close()
	for _, s := range f.fakes {
		s.forget(func(tlog.Position) bool { return s == f.fakes[2] })
	}
	f.fakes[2].set(func() { f.fakes[2].down = errors.New("away") })
	l = f.takeover()
	defer l.Close()
	f.fakes[2].set(func() { f.fakes[2].down = nil })
	f.repair(l, false)
	f.whole()
}

func TestScrubChangesNothing(t *testing.T) { synctest.Test(t, testScrubChangesNothing) }

func testScrubChangesNothing(t *testing.T) {
	f := newFixture(t, 4, 2, 6, 7)
	defer f.close()
	l := f.takeover()
	defer l.Close()
	f.commit(l, 9)
	wrong := f.fakes[1].forget(odd) + f.fakes[3].flip(third)
	appends := 0
	for _, s := range f.fakes {
		appends += s.appends
	}
	found := 0
	cfg := unbounded(true)
	cfg.Found = func(stor.Damage) { found++ }
	p, err := f.verify().Scrub(t.Context(), cfg)
	if err != nil || p.Written != wrong || p.Looked != 9 || found != wrong {
		t.Errorf("scrub: %+v, %d found, %v; %d shards were wrong", p, found, err, wrong)
	}
	for _, s := range f.fakes {
		appends -= s.appends
	}
	if appends != 0 {
		t.Errorf("a scrub wrote %d shards", -appends)
	}
}

// A pass ends with its context, its log, and when too few servers answer.
func TestRepairEnds(t *testing.T) { synctest.Test(t, testRepairEnds) }

func testRepairEnds(t *testing.T) {
	f := newFixture(t, 2, 1, 3, 4)
	defer f.close()
	l := f.takeover()
	f.commit(l, 5)
	ctx, cancel := context.WithCancel(t.Context())
	slow := stor.RepairConfig{Deep: true, PositionsPerSecond: 1, Progress: func(p stor.RepairProgress) {
		if p.Done == 1 {
			cancel()
		}
	}}
	if _, err := l.Repair(ctx, slow); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, s := range f.fakes[:2] {
		s.set(func() { s.down = errors.New("away") })
	}
	if _, err := l.Repair(t.Context(), unbounded(false)); tlog.ClassOf(err) != tlog.Unavailable {
		t.Errorf("with two of four servers: %v", err)
	}
	l.Close()
	if _, err := l.Repair(t.Context(), unbounded(true)); tlog.ClassOf(err) != tlog.Fatal {
		t.Errorf("after Close: %v", err)
	}
}

// A server whose claim and shard differ in the index is as good as damaged: a
// takeover would not count it.
func TestRepairSwappedIndex(t *testing.T) { synctest.Test(t, testRepairSwappedIndex) }

func testRepairSwappedIndex(t *testing.T) {
	f := newFixture(t, 2, 1, 3, 3)
	defer f.close()
	l := f.takeover()
	defer l.Close()
	f.commit(l, 3)
	s := f.fakes[0].stored[f.vdisk][2]
	for _, other := range f.fakes[1:] {
		if o := other.stored[f.vdisk][2]; o.meta.Index == (s.meta.Index+1)%3 {
			s.data = o.data // the shard of another index under this claim
		}
	}
	if p := f.repair(l, true); p.Written != 1 {
		t.Errorf("got %+v, want one shard written", p)
	}
	f.whole()
}
