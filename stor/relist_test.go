package stor_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"tlog"
	"tlog/stor"
)

func (f *fixture) names() []string {
	var list []string
	for _, s := range f.fakes {
		list = append(list, s.name)
	}
	return list
}

// relist names other servers; those in fresh may be new.
func (f *fixture) relist(names []string, fresh ...*fakeServer) error {
	return f.pool.Relist(f.t.Context(), names, func(name string) (stor.Server, error) {
		for _, s := range fresh {
			if s.name == name {
				return s, nil
			}
		}
		return nil, fmt.Errorf("%s: nobody expects it", name)
	})
}

// A lost server is replaced by one at another address, and the pool that is in
// use hears of it: the new one is written to, then votes, and the old one
// is let go of.
func TestRelistMeetsTheNewServer(t *testing.T) { synctest.Test(t, testRelistMeetsTheNewServer) }

func testRelistMeetsTheNewServer(t *testing.T) {
	f := newFixture(t, 4, 2, 6, 7)
	defer f.close()
	l := f.takeover()
	f.commit(l, 5)
	old := f.fakes[3]
	f.away(true, 3)
	fresh := newFake(t, "new")
	if _, err := f.tool().Replace(t.Context(), 3, lent{fresh}); err != nil {
		t.Fatal(err)
	}
	f.fakes[3] = fresh
	if err := f.relist(f.names(), fresh); err != nil {
		t.Fatal(err)
	}
	if !old.closed {
		t.Error("the old server was not let go of")
	}
	if s := f.pool.Status(t.Context()); len(s) != 7 || s[3].Name != "new" || s[3].Err != nil || !s[3].Joining {
		t.Errorf("got %+v", s)
	}
	if err := <-f.publish(l, 1000); tlog.ClassOf(err) != tlog.Fatal {
		t.Errorf("the log that counted on the old server goes on: %v", err)
	}
	l = f.takeover()
	f.commit(l, 5)
	f.repair(l, false)
	if _, err := f.pool.Settle(t.Context()); err != nil || f.pool.Joining() {
		t.Fatalf("settle: %v, joining %v", err, f.pool.Joining())
	}
	f.commit(l, 1)
	l.Close()
	f.away(true, 0, 1) // so that the new one is needed
	f.verify()
	f.away(false, 0, 1)
}

// A new server that nobody has given a slot is in none; what does not answer is met later.
func TestRelistGivesNoSlots(t *testing.T) { synctest.Test(t, testRelistGivesNoSlots) }

func testRelistGivesNoSlots(t *testing.T) {
	f := started(t)
	defer f.close()
	stranger := newFake(t, "stranger")
	names := f.names()
	names[6] = "stranger"
	if err := f.relist(names, stranger); !errors.Is(err, stor.ErrConfig) {
		t.Errorf("without slot 6: %v", err)
	}
	if f.fakes[6].closed {
		t.Error("a server in a slot was let go of")
	}
	s := f.pool.Status(t.Context())
	if len(s) != 8 || s[6].Name != "s6" || s[6].Err != nil || s[7].Name != "stranger" || !errors.Is(s[7].Err, stor.ErrEmpty) {
		t.Errorf("got %+v", s)
	}
	l := f.takeover()
	f.commit(l, 3)
	l.Close()
	if err := f.relist(f.names()); err != nil || !stranger.closed {
		t.Errorf("back to the old list: %v, closed %v", err, stranger.closed)
	}
	f.verify()
}

func TestRelistChangesNothing(t *testing.T) { synctest.Test(t, testRelistChangesNothing) }

func testRelistChangesNothing(t *testing.T) {
	f := started(t)
	defer f.close()
	names := f.names()
	slices.Reverse(names)
	if err := f.relist(names); err != nil {
		t.Errorf("another order: %v", err)
	}
	one := newFake(t, "one")
	if err := f.relist(append(names, "one"), one); !errors.Is(err, stor.ErrConfig) || one.closed {
		t.Errorf("one too many: %v", err)
	}
	if err := f.relist([]string{"s0", "s1", "s2", "s3", "s4", "one", "two"}, one); err == nil || !one.closed {
		t.Errorf("one that cannot be dialled: %v, the other closed: %v", err, one.closed)
	}
	l := f.takeover()
	defer l.Close()
	f.commit(l, 1)
	f.verify()
}

// Too many may be silent for the pool to tell who was replaced: nobody is let go of.
func TestRelistWithoutAnswers(t *testing.T) { synctest.Test(t, testRelistWithoutAnswers) }

func testRelistWithoutAnswers(t *testing.T) {
	f := started(t)
	defer f.close()
	fresh := newFake(t, "new")
	if _, err := f.tool().Replace(t.Context(), 2, lent{fresh}); err != nil {
		t.Fatal(err)
	}
	f.away(true, 0, 1, 2, 3)
	names := f.names()
	names[2] = "new"
	if err := f.relist(names, fresh); !errors.Is(err, stor.ErrConfig) || f.fakes[2].closed {
		t.Errorf("with three servers: %v", err)
	}
	f.away(false, 0, 1, 2, 3)
	f.fakes[2] = fresh
	if err := f.relist(f.names()); err != nil {
		t.Error(err)
	}
	if v, err := f.pool.Survey(t.Context(), tlog.UUID{9}); err != nil || v.Head() != 0 {
		t.Errorf("%v, %v", v, err)
	}
}
