package stor_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/stor"
)

// lent is a server that another pool goes on using.
type lent struct{ stor.Server }

func (lent) Close() error { return nil }

// tool opens the pool a second time, as tlogctl does.
func (f *fixture) tool() *stor.Pool {
	f.t.Helper()
	var list []stor.Server
	for _, s := range f.fakes {
		list = append(list, lent{s})
	}
	p, err := stor.Open(f.t.Context(), f.cfg, list)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return p
}

// started has a log of two positions, so that the pool is in use.
func started(t testing.TB) *fixture {
	f := newFixture(t, 4, 2, 6, 7)
	l := f.takeover()
	f.commit(l, 2)
	l.Close()
	return f
}

func (f *fixture) wipe(i int) { f.fakes[i].set(f.fakes[i].wipe) }

func (f *fixture) away(away bool, which ...int) {
	for _, i := range which {
		f.fakes[i].set(func() {
			f.fakes[i].down = nil
			if away {
				f.fakes[i].down = errors.New("away")
			}
		})
	}
}

func (f *fixture) replace(slot int) *stor.Manifest {
	f.t.Helper()
	m, err := f.tool().Replace(f.t.Context(), slot, lent{f.fakes[slot]})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// A wiped server is replaced beside a pool that writes: its owner takes over
// again, the log is repaired, and the new server becomes a voter.
func TestReplaceBesideWriter(t *testing.T) { synctest.Test(t, testReplaceBesideWriter) }

func testReplaceBesideWriter(t *testing.T) {
	f := newFixture(t, 4, 2, 6, 7)
	defer f.close()
	l := f.takeover()
	f.commit(l, 10)
	f.wipe(2)
	f.commit(l, 5)
	if m := f.replace(2); m.ConfigVersion != 2 || len(m.Joining) != 1 || m.Joining[0] != 2 {
		t.Fatalf("got manifest %+v", m)
	}
	var err error
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for err == nil { // until the first refusal is answered by a reload
		select {
		case err = <-f.publish(l, 1000):
		case <-limit.C:
			t.Fatal("the owner under the old manifest goes on, or waits")
		}
	}
	if tlog.ClassOf(err) != tlog.Fatal || errors.Is(err, stor.ErrFenced) {
		t.Fatalf("the owner under the old manifest: %v", err)
	}
	l = f.takeover()
	f.commit(l, 5)
	if !f.pool.Joining() || f.pool.Manifest().ConfigVersion != 2 {
		t.Errorf("the writer goes by %+v", f.pool.Manifest())
	}
	if id, err := f.pool.Settle(t.Context()); err != nil || id != f.vdisk || !f.pool.Joining() {
		t.Errorf("settled before the repair: %v, %v", id, err)
	}
	f.repair(l, false)
	f.whole()
	if _, err := f.pool.Settle(t.Context()); err != nil || f.pool.Joining() {
		t.Fatalf("settle: %v, joining %v", err, f.pool.Joining())
	}
	f.commit(l, 3) // the servers are the same: the log goes on
	l.Close()
	for i := range f.fakes {
		for j := range i {
			f.away(true, i, j)
			f.verify()
			f.away(false, i, j)
		}
	}
}

// What a new server lacks is not taken for absent: with it and two more gone,
// nobody finds a shorter log.
func TestJoiningServerDoesNotShortenTheLog(t *testing.T) {
	synctest.Test(t, testJoiningServerDoesNotShortenTheLog)
}

func testJoiningServerDoesNotShortenTheLog(t *testing.T) {
	f := newFixture(t, 4, 2, 6, 7)
	defer f.close()
	l := f.takeover()
	f.commit(l, 4)
	l.Close()
	for slot := range f.fakes { // whichever it was
		f.away(false, 0, 1, 2, 3, 4, 5, 6)
		if f.fakes[slot].stored[f.vdisk][4] == nil {
			continue
		}
		f.wipe(slot)
		f.replace(slot)
		p := f.tool()
		f.away(true, (slot+1)%7)
		if v, err := p.Survey(t.Context(), f.vdisk); err != nil || v.Head() != 4 {
			t.Fatalf("one server joining and one away: %v", err)
		}
		f.away(true, (slot+2)%7)
		if v, err := p.Survey(t.Context(), f.vdisk); tlog.ClassOf(err) != tlog.Unavailable {
			t.Fatalf("one server joining and two away: %v, %v", v, err)
		}
		break
	}
}

// Too few other servers: nothing is begun. Interrupted: it is finished later.
func TestReplaceInterrupted(t *testing.T) { synctest.Test(t, testReplaceInterrupted) }

func testReplaceInterrupted(t *testing.T) {
	f := started(t)
	defer f.close()
	f.wipe(0)
	p := f.tool()
	f.away(true, 5, 6)
	if _, err := p.Replace(t.Context(), 0, lent{f.fakes[0]}); tlog.ClassOf(err) != tlog.Unavailable {
		t.Fatalf("with four others: %v", err)
	}
	if f.fakes[0].manifest != nil {
		t.Error("the new server was written to although the change cannot rule")
	}
	f.away(false, 5, 6)
	// A change that reached the new server and one more.
	m := p.Manifest()
	m.ConfigVersion, m.Joining = 2, []int{0}
	m.Cookies[0] = tlog.UUID{42}
	for i := range 2 {
		if err := f.fakes[i].Init(t.Context(), m.Cookies[i], &m); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := f.version(true); got != 1 || err != nil {
		t.Fatalf("version %d rules with one voter, %v", got, err)
	}
	if got := f.replace(0); got.ConfigVersion != 2 || got.Cookies[0] != m.Cookies[0] {
		t.Errorf("finished as %+v", got)
	}
	for i, s := range f.fakes {
		if s.manifest.ConfigVersion != 2 {
			t.Errorf("server %d holds version %d", i, s.manifest.ConfigVersion)
		}
	}
	if got := f.tool().Manifest(); got.ConfigVersion != 2 {
		t.Errorf("version %d rules", got.ConfigVersion)
	}
}

// A change that reached too few for the new manifest to rule: the old one may
// rule or not, and whoever opens the pool for writing finishes it, from the
// servers alone. The new server is not one of those counted.
func TestReplaceCutShort(t *testing.T) {
	for reached := range 7 {
		t.Run(fmt.Sprintf("reached %d others", reached), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testReplaceCutShort(t, reached) })
		})
	}
}

func testReplaceCutShort(t *testing.T, reached int) {
	f := started(t)
	defer f.close()
	f.wipe(0)
	m := f.tool().Manifest()
	m.ConfigVersion, m.Joining = 2, []int{0}
	m.Cookies[0] = tlog.UUID{42}
	for i := range reached + 1 {
		if err := f.fakes[i].Init(t.Context(), m.Cookies[i], &m); err != nil {
			t.Fatal(err)
		}
	}
	rules := map[int]uint64{0: 1, 1: 1, 5: 2, 6: 2}[reached]
	version, err := f.version(true)
	switch {
	case rules == 0 && (tlog.ClassOf(err) != tlog.Unavailable || !strings.Contains(err.Error(), "begun and not finished")):
		t.Fatalf("a reader opened it by version %d, %v", version, err)
	case rules > 0 && (err != nil || version != rules):
		t.Fatalf("version %d does not rule: %v", rules, err)
	}
	f.away(true, 5, 6)
	version, err = f.version(false)
	if rules == 0 && tlog.ClassOf(err) != tlog.Unavailable {
		t.Errorf("finished with four servers: version %d, %v", version, err)
	}
	for i, s := range f.fakes[1:] { // nothing is begun that cannot be finished
		if told := s.manifest.ConfigVersion == 2; told != (i < reached) {
			t.Errorf("server %d holds version %d", i+1, s.manifest.ConfigVersion)
		}
	}
	f.away(false, 5, 6)
	want := uint64(2)
	if reached == 0 { // what only the new server knows is in nobody's way
		want = 1
	}
	if version, err = f.version(false); err != nil || version != want {
		t.Errorf("opened by version %d, %v", version, err)
	}
}

// An owner's pool that is open meanwhile goes on by itself: it ended a joining,
// and reached too few servers.
func TestSettleCutShort(t *testing.T) { synctest.Test(t, testSettleCutShort) }

func testSettleCutShort(t *testing.T) {
	f := joined(t)
	m := f.pool.Manifest()
	m.ConfigVersion, m.Joining = 3, nil
	for _, i := range []int{0, 1, 3} {
		if err := f.fakes[i].Init(t.Context(), m.Cookies[i], &m); err != nil {
			t.Fatal(err)
		}
	}
	f.pool.Status(t.Context())
	if got := f.pool.Manifest(); got.ConfigVersion != 3 || f.pool.Joining() {
		t.Errorf("the pool goes by %+v", got)
	}
	for i, s := range f.fakes {
		if s.manifest.ConfigVersion != 3 {
			t.Errorf("server %d holds version %d", i, s.manifest.ConfigVersion)
		}
	}
	f.commit(f.takeover(), 3)
}

// version is by which manifest somebody opens the pool.
func (f *fixture) version(readOnly bool) (uint64, error) {
	f.t.Helper()
	cfg := f.cfg
	cfg.ReadOnly = readOnly
	var list []stor.Server
	for _, s := range f.fakes {
		list = append(list, lent{s})
	}
	p, err := stor.Open(f.t.Context(), cfg, list)
	if err != nil {
		return 0, err
	}
	defer f.closePool(p)
	return p.Manifest().ConfigVersion, nil
}

func (f *fixture) closePool(p *stor.Pool) {
	f.t.Helper()
	if err := p.Close(); err != nil {
		f.t.Error(err)
	}
}

// joined is a pool in which the server of slot 2 was replaced and repaired, and
// does not vote yet.
func joined(t *testing.T) *fixture {
	f := started(t)
	t.Cleanup(f.close)
	f.wipe(2)
	f.replace(2)
	f.pool.Status(t.Context()) // it meets the new manifest
	l := f.takeover()
	f.repair(l, false)
	l.Close()
	return f
}

// Before a new server votes every server must have answered: one that is
// silent may be the only one to know a vdisk, or to claim a position twice.
func TestSettleNeedsEveryServer(t *testing.T) { synctest.Test(t, testSettleNeedsEveryServer) }

func testSettleNeedsEveryServer(t *testing.T) {
	f := joined(t)
	for silent := range f.fakes {
		f.away(true, silent)
		if _, err := f.pool.Settle(t.Context()); tlog.ClassOf(err) != tlog.Unavailable || !f.pool.Joining() {
			t.Errorf("settled without server %d: %v", silent, err)
		}
		f.away(false, silent)
	}
	if _, err := f.pool.Settle(t.Context()); err != nil || f.pool.Joining() {
		t.Errorf("settle: %v", err)
	}
}

// Of two changes to the same version none rules by less than a majority, and
// a third one is not begun on top of them.
func TestTwoChangesAtOnce(t *testing.T) { synctest.Test(t, testTwoChangesAtOnce) }

func testTwoChangesAtOnce(t *testing.T) {
	f := started(t)
	defer f.close()
	base := f.pool.Manifest()
	for n, servers := range [][]int{{1, 2, 3}, {4, 5, 6}} {
		m := base
		m.Cookies = append([]tlog.UUID(nil), base.Cookies...)
		m.ConfigVersion, m.Joining = 2, []int{n}
		m.Cookies[n] = tlog.UUID{byte(40 + n)}
		for _, i := range servers {
			if err := f.fakes[i].Init(t.Context(), f.fakes[i].cookie, &m); err != nil {
				t.Fatal(err)
			}
		}
	}
	var list []stor.Server
	for _, s := range f.fakes {
		list = append(list, lent{s})
	}
	if p, err := stor.Open(t.Context(), f.cfg, list); tlog.ClassOf(err) != tlog.Unavailable || !strings.Contains(err.Error(), "two changes") {
		t.Errorf("opened as %+v, %v", p, err)
	}
	if _, err := f.pool.Replace(t.Context(), 0, lent{newFake(t, "new")}); tlog.ClassOf(err) != tlog.Unavailable || !strings.Contains(err.Error(), "two changes") {
		t.Errorf("a third change: %v", err)
	}
}

// A server that was away during the change learns of it when it is met.
func TestReplaceInformsWhoWasAway(t *testing.T) { synctest.Test(t, testReplaceInformsWhoWasAway) }

func testReplaceInformsWhoWasAway(t *testing.T) {
	f := started(t)
	defer f.close()
	f.away(true, 6)
	f.wipe(1)
	f.replace(1)
	f.away(false, 6)
	p := f.tool()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for version := uint64(0); version != 2; {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("it still holds version %d", version)
		}
		f.fakes[6].set(func() { version = f.fakes[6].manifest.ConfigVersion })
	}
	if s := p.Status(t.Context())[1]; s.Err != nil || !s.Joining {
		t.Errorf("slot 1: %+v", s)
	}
}

func TestReplaceRefuses(t *testing.T) { synctest.Test(t, testReplaceRefuses) }

func testReplaceRefuses(t *testing.T) {
	f := started(t)
	defer f.close()
	if _, err := f.pool.Replace(t.Context(), 0, lent{f.fakes[1]}); !errors.Is(err, stor.ErrNotEmpty) {
		t.Errorf("a server that is part of the pool: %v", err)
	}
	if _, err := f.pool.Replace(t.Context(), 7, lent{newFake(t, "new")}); !errors.Is(err, stor.ErrConfig) {
		t.Errorf("a slot that is not there: %v", err)
	}
	for slot := range 2 {
		f.wipe(slot)
		f.replace(slot)
	}
	p := f.tool()
	f.wipe(2)
	if _, err := p.Replace(t.Context(), 2, lent{f.fakes[2]}); !errors.Is(err, stor.ErrConfig) && tlog.ClassOf(err) != tlog.Unavailable {
		t.Errorf("more servers at once than may be lost: %v", err)
	}
}
