package stor_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/stor"
)

func TestPublishAndReadBack(t *testing.T) {
	for _, c := range []struct {
		name       string
		k, m, w, p int
	}{
		{"4+2 with a spare", 4, 2, 0, 7},
		{"4+2", 4, 2, 0, 6},
		{"one copy", 1, 0, 0, 1},
		{"three copies", 1, 2, 0, 3},
		{"no parity", 3, 0, 0, 3},
		{"min-shards 5", 4, 2, 5, 6},
		{"16+4, two spares", 16, 4, 0, 22},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, c.k, c.m, c.w, c.p)
				defer func() { f.close() }()
				l := f.takeover()
				f.commit(l, 5)
				f.verify()
				l.Close()
				f.reopen()
				l = f.takeover()
				if got, want := l.Epoch(), tlog.Epoch(2); got != want {
					t.Errorf("epoch %d, want %d", got, want)
				}
				f.commit(l, 3)
				f.verify()
			})
		})
	}
}

func TestFlushesGoOnOverTheSpare(t *testing.T) {
	unknown := errors.New("fake: connection reset")
	for _, c := range []struct {
		name  string
		fault func(*fakeServer)
	}{
		{"down", func(s *fakeServer) { s.down = unknown }},
		{"hung", func(s *fakeServer) { s.hang = true }},
		{"full", func(s *fakeServer) { s.refuse = func(*stor.AppendRequest) error { return s.refusal(stor.Full) } }},
		{"busy", func(s *fakeServer) { s.refuse = func(*stor.AppendRequest) error { return s.refusal(stor.Busy) } }},
		{"wiped", func(s *fakeServer) { s.wipe() }},
		{"stored, but an error came back", func(s *fakeServer) { s.after = func(*stor.AppendRequest) error { return unknown } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 4, 2, 0, 7)
				defer f.close()
				l := f.takeover()
				f.commit(l, 2)
				f.fakes[2].set(func() { c.fault(f.fakes[2]) })
				start := time.Now()
				f.commit(l, 20)
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("20 positions took %v with one server in trouble", took)
				}
				f.verify()
				l.Close()
				f.takeover()
				f.verify()
			})
		})
	}
}

func TestWithoutSpareWritingStopsAndGoesOn(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(*fakeServer)
	}{
		{"down", func(s *fakeServer) { s.down = errors.New("fake: refused") }},
		{"hung", func(s *fakeServer) { s.hang = true }},
		{"full", func(s *fakeServer) { s.refuse = func(*stor.AppendRequest) error { return s.refusal(stor.Full) } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 4, 2, 0, 6)
				defer f.close()
				l := f.takeover()
				f.commit(l, 1)
				f.fakes[3].set(func() { c.fault(f.fakes[3]) })
				done := f.publish(l, 1000)
				wait := time.NewTimer(10 * time.Minute)
				select {
				case err := <-done:
					t.Fatalf("acknowledged with five of six servers: %v", err)
				case <-wait.C:
				}
				if l.Stalled() == nil {
					t.Error("not stalled")
				}
				f.fakes[3].set(func() { f.fakes[3].down, f.fakes[3].hang, f.fakes[3].refuse = nil, false, nil })
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if err := l.Stalled(); err != nil {
					t.Errorf("still stalled: %v", err)
				}
				f.commit(l, 3)
				f.verify()
			})
		})
	}
}

func TestEveryShardIsReleasedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		defer f.close()
		l := f.takeover()
		f.commit(l, 1)
		used := slices.IndexFunc(f.fakes, func(s *fakeServer) bool { return s.appends > 0 })
		f.fakes[used].set(func() { f.fakes[used].hang = true })
		f.commit(l, 4)
		if f.chain[1].free() {
			t.Error("position 2 released while a hung server may still read it")
		}
		f.fakes[used].set(func() { f.fakes[used].hang = false })
		wait := time.NewTimer(30 * time.Second)
		<-wait.C
		for i, s := range f.chain {
			if !s.free() {
				t.Errorf("position %d is not released", i+1)
			}
		}
	})
}

func TestCloseFailsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 2, 1, 0, 3)
		defer f.close()
		l := f.takeover()
		f.commit(l, 1)
		f.fakes[0].set(func() { f.fakes[0].hang = true })
		done := []<-chan error{f.publish(l, 10), f.publish(l, 10)}
		synctest.Wait()
		l.Close()
		l.Close()
		late := f.publish(l, 10)
		for i, ch := range append(done, late) {
			err := <-ch
			if tlog.ClassOf(err) != tlog.Fatal || !errors.Is(err, stor.ErrClosed) {
				t.Errorf("publish %d: %v", i, err)
			}
		}
		synctest.Wait()
		for i, s := range f.chain {
			if !s.free() {
				t.Errorf("position %d is not released", i+1)
			}
		}
	})
}

func TestANewOwnerFencesTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		defer f.close()
		old := f.takeover()
		f.commit(old, 3)
		l := f.takeover()
		f.commit(l, 1)
		chain, data := f.chain, f.data
		f.chain, f.data = f.chain[:3:3], f.data[:3:3]
		err := <-f.publish(old, 100)
		if !errors.Is(err, stor.ErrFenced) || tlog.ClassOf(err) != tlog.Fatal {
			t.Fatalf("the old owner appends: %v", err)
		}
		f.chain, f.data = chain, data
		f.commit(l, 2)
		f.verify()
	})
}

func TestAServerThatMissedTheTakeoverIsFencedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		defer f.close()
		old := f.takeover()
		f.commit(old, 3)
		f.fakes[0].set(func() { f.fakes[0].down = errors.New("fake: away") })
		l := f.takeover()
		f.fakes[0].set(func() { f.fakes[0].down = nil })
		f.fakes[5].set(func() { f.fakes[5].down = errors.New("fake: away") })
		f.commit(l, 2)
		if got, want := f.fakes[0].ctl[f.vdisk].Epoch, l.Epoch(); got != want {
			t.Errorf("server holds epoch %d, want %d", got, want)
		}
		f.verify()
	})
}
