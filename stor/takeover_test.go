package stor_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/stor"
)

var errLost = errors.New("fake: connection reset")

// lose has all but the servers that keep a shard fail the next appends.
func (f *fixture) lose(keep int, stored bool) {
	for _, s := range f.fakes {
		s.set(func() {
			fault := func(*stor.AppendRequest) error { return errLost }
			switch {
			case keep > 0 && stored:
				s.after = fault
			case keep > 0: // stored and acknowledged
			default:
				s.refuse = fault
			}
			keep--
		})
	}
}

func (f *fixture) heal() {
	for _, s := range f.fakes {
		s.set(func() {
			s.refuse, s.after, s.down, s.hang, s.hangData, s.corrupt, s.metas = nil, nil, nil, false, false, nil, nil
		})
	}
}

func TestWhatACrashLeavesIsAdoptedOrDropped(t *testing.T) {
	for _, c := range []struct {
		name   string
		keep   int
		stored bool
		head   tlog.Position
	}{
		{"not stored anywhere", 0, false, 2},
		{"stored on fewer than k", 3, false, 2},
		{"stored on fewer than k, no answers", 3, true, 2},
		{"stored on k", 4, false, 3},
		{"stored on k, no answers", 4, true, 3},
		{"stored on all, no answers", 6, true, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 4, 2, 0, 6)
				defer func() { f.close() }()
				l := f.takeover()
				f.commit(l, 2)
				f.lose(c.keep, c.stored)
				done := f.publish(l, 500)
				synctest.Wait()
				l.Close()
				if err := <-done; tlog.ClassOf(err) != tlog.Fatal {
					t.Fatalf("acknowledged: %v", err)
				}
				f.heal()
				f.reopen()
				l = f.takeover()
				if got := l.View().Head(); got != c.head {
					t.Errorf("head %d, want %d", got, c.head)
				}
				f.verify()
				f.wholly(l.Epoch(), c.head)
				f.commit(l, 2) // at head + 1 too, over what was dropped
				f.verify()
			})
		})
	}
}

// wholly checks that an adopted position is on all n servers in the owner's epoch.
func (f *fixture) wholly(epoch tlog.Epoch, head tlog.Position) {
	f.t.Helper()
	if head < 3 {
		return
	}
	for _, s := range f.fakes {
		if sh := s.stored[f.vdisk][head]; sh == nil || sh.meta.Epoch != epoch {
			f.t.Errorf("%s: position %d is not adopted: %+v", s.name, head, sh)
		}
	}
}

func TestVerifySeesWhatIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 6)
		defer f.close()
		l := f.takeover()
		f.commit(l, 2)
		f.lose(4, true)
		f.publish(l, 500)
		synctest.Wait()
		l.Close()
		f.heal()
		f.fakes[0].corrupt = flip // claims it, and damaged: the spare parity is there? no: halt
		_, err := f.pool.Takeover(t.Context(), f.vdisk, accept)
		if tlog.ClassOf(err) != tlog.Corrupt {
			t.Fatalf("four claims, three good, everybody answers: %v", err)
		}
		f.heal()
		refused := errors.New("test: not like this")
		_, err = f.pool.Takeover(t.Context(), f.vdisk, func(context.Context, *stor.View, *stor.Fetched) error { return refused })
		if !errors.Is(err, refused) {
			t.Fatalf("verify's error: %v", err)
		}
		var seen []tlog.Position
		_, err = f.pool.Takeover(t.Context(), f.vdisk, func(ctx context.Context, v *stor.View, x *stor.Fetched) error {
			seen = append(seen, x.Position)
			if v.Head() != x.Position || x.Prev != f.chain[x.Position-2].digest || !bytes.HasPrefix(x.Data, f.data[x.Position-1]) {
				t.Errorf("position %d: head %d, %.20q", x.Position, v.Head(), x.Data)
			}
			if r, err := v.Read(ctx, x.Position-1); err != nil || !bytes.HasPrefix(r.Data, f.data[x.Position-2]) {
				t.Errorf("position before: %v", err)
			}
			clear(x.Data) // it is verify's to overwrite
			return nil
		})
		if err != nil || !slices.Contains(seen, 3) {
			t.Fatalf("%v, saw %v", err, seen)
		}
		f.verify()
	})
}

func flip(_ tlog.Position, b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

func TestADamagedShardIsWrittenAgainWhenAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 6)
		defer f.close()
		l := f.takeover()
		f.commit(l, 1)
		f.lose(6, true)
		f.publish(l, 500)
		synctest.Wait()
		l.Close()
		f.heal()
		b := f.fakes[5].stored[f.vdisk][2].data
		b[len(b)-1] ^= 1
		f.takeover()
		v := f.verify()
		if damaged, err := v.Inspect(t.Context(), 2); err != nil || len(damaged) > 0 {
			t.Errorf("%v %v", damaged, err)
		}
	})
}

func TestWithoutWServersNobodyIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		defer f.close()
		l := f.takeover()
		f.commit(l, 2)
		for _, s := range f.fakes[:2] {
			s.set(func() { s.hang = true })
		}
		if _, err := f.pool.Takeover(t.Context(), f.vdisk, accept); tlog.ClassOf(err) != tlog.Unavailable {
			t.Fatalf("%v", err)
		}
		for _, s := range f.fakes {
			if got := s.ctl[f.vdisk].Epoch; got > l.Epoch() {
				t.Errorf("%s is fenced with epoch %d", s.name, got)
			}
		}
		f.heal()
		f.commit(l, 2) // the owner was not disturbed
		f.verify()
	})
}

func TestOfTwoOwnersAtMostOneAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 2, 1, 0, 4)
		defer f.close()
		var logs [4]*stor.Log
		done := make(chan error)
		for i := range logs {
			go func() {
				l, err := f.pool.Takeover(t.Context(), f.vdisk, accept)
				logs[i] = l
				done <- err
			}()
		}
		for range logs {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		committed := 0
		var chain []*sealed
		var data [][]byte
		for _, l := range logs {
			f.chain, f.data = nil, nil
			if err := <-f.publish(l, 100); err == nil {
				committed++
				chain, data = f.chain, f.data
			}
		}
		f.chain, f.data = chain, data
		if committed != 1 {
			t.Errorf("%d of four owners appended position 1", committed)
		}
		f.verify()
	})
}

func TestTakeoverEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 6)
		defer f.close()
		l := f.takeover()
		f.commit(l, 1)
		f.lose(6, true)
		f.publish(l, 500)
		synctest.Wait()
		l.Close()
		f.heal()
		f.fakes[2].set(func() { f.fakes[2].refuse = func(*stor.AppendRequest) error { return f.fakes[2].refusal(stor.Full) } })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := f.pool.Takeover(ctx, f.vdisk, accept)
		if !errors.Is(err, context.DeadlineExceeded) || tlog.ClassOf(err) != tlog.Unavailable {
			t.Fatalf("adopted positions cannot be committed: %v", err)
		}
		f.heal()
		f.takeover()
		f.verify()
	})
}
