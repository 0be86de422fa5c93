package stor_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/stor"
)

// trouble is what may befall a server that a reader needs.
var trouble = map[string]func(*fakeServer){
	"down":         func(s *fakeServer) { s.down = errLost },
	"hung":         func(s *fakeServer) { s.hang = true },
	"wiped":        func(s *fakeServer) { s.wipe() },
	"damaged":      func(s *fakeServer) { s.corrupt = flip },
	"hung on data": func(s *fakeServer) { s.hangData = true },
	"emptied of shards": func(s *fakeServer) {
		s.metas = func([]stor.Meta) ([]stor.Meta, error) { return nil, tlog.Corruptf("fake: lost some") }
	},
}

func TestAnyTwoServersMayBeLost(t *testing.T) {
	for name, befall := range trouble {
		for a := range 7 {
			t.Run(fmt.Sprintf("%s %d", name, a), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFixture(t, 4, 2, 0, 7)
					defer f.close()
					f.commit(f.takeover(), 4)
					for _, s := range []*fakeServer{f.fakes[a], f.fakes[(a+3)%7]} {
						s.set(func() { befall(s) })
					}
					start := time.Now()
					f.verify()
					if took := time.Since(start); took > 10*time.Second {
						t.Errorf("took %v", took)
					}
				})
			})
		}
	}
}

func TestThreeLostAreTooMany(t *testing.T) {
	for _, c := range []struct {
		name   string
		befall func(*fakeServer)
		class  tlog.Class
	}{
		{"down", trouble["down"], tlog.Unavailable},
		{"wiped", trouble["wiped"], tlog.Unavailable},
		{"damaged", trouble["damaged"], tlog.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 4, 2, 0, 6)
				defer f.close()
				f.commit(f.takeover(), 4)
				v := f.verify()
				for _, s := range f.fakes[:3] {
					s.set(func() { c.befall(s) })
				}
				if _, err := f.pool.Survey(t.Context(), f.vdisk); tlog.ClassOf(err) != c.class {
					t.Errorf("survey: %v", err)
				}
				if _, err := v.Read(t.Context(), 2); err == nil {
					t.Error("position 2 is read with three servers lost")
				}
			})
		})
	}
}

func TestReadsNameWhatIsDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 6)
		defer f.close()
		f.commit(f.takeover(), 3)
		f.fakes[4].set(func() { f.fakes[4].down = errLost })
		f.fakes[1].set(func() { f.fakes[1].corrupt = flip })
		v := f.verify()
		if d := v.Damaged(); len(d) != 1 || d[0].Server != "s4" || d[0].Position != 0 || !errors.Is(d[0].Err, errLost) {
			t.Errorf("servers: %+v", d)
		}
		check := func(want map[string]func(error) bool) {
			t.Helper()
			damaged, err := v.Inspect(t.Context(), 2)
			if err != nil || len(damaged) != len(want) {
				t.Fatalf("%+v, %v", damaged, err)
			}
			for _, d := range damaged {
				if is := want[d.Server]; is == nil || !is(d.Err) {
					t.Errorf("%+v", d)
				}
			}
		}
		corrupt := func(err error) bool { return tlog.ClassOf(err) == tlog.Corrupt }
		away := func(err error) bool { return errors.Is(err, errLost) }
		absent := func(err error) bool { return errors.Is(err, stor.ErrAbsent) }
		check(map[string]func(error) bool{"s1": corrupt, "s4": away})
		f.heal()
		check(nil)
		f.fakes[2].set(func() { delete(f.fakes[2].stored[f.vdisk], 2) })
		check(map[string]func(error) bool{"s2": absent}) // its meta was seen before
		v = f.verify()
		check(map[string]func(error) bool{"s2": absent}) // it does not even claim it
	})
}

func TestReadHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		defer f.close()
		f.commit(f.takeover(), 3)
		v := f.verify()
		for pos := tlog.Position(1); pos <= 3; pos++ {
			x, err := v.ReadHead(t.Context(), pos)
			if err != nil || x.Digest != f.chain[pos-1].digest || !bytes.Equal(x.Head, f.chain[pos-1].head) || x.Data != nil {
				t.Errorf("position %d: %+v, %v", pos, x, err)
			}
		}
		for _, pos := range []tlog.Position{0, 4} {
			if _, err := v.ReadHead(t.Context(), pos); err == nil {
				t.Errorf("position %d has a head", pos)
			}
		}
	})
}

func TestLongLogsAreReadInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 1, 0, 2)
		defer f.close()
		l := f.takeover()
		for range 2500 {
			if err := <-f.publish(l, 20); err != nil {
				t.Fatal(err)
			}
		}
		f.fakes[1].set(func() { f.fakes[1].down = errLost })
		f.verify()
		f.heal()
		l.Close()
		if got := f.takeover().View().Head(); got != 2500 {
			t.Errorf("head %d", got)
		}
	})
}

func TestVdisksAreThoseThatRServersKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 2, 1, 0, 4)
		defer f.close()
		for i := range 3 {
			if _, err := f.pool.Takeover(t.Context(), tlog.UUID{byte(3 - i)}, accept); err != nil {
				t.Fatal(err)
			}
		}
		f.fakes[0].set(func() { f.fakes[0].down = errLost })
		got, err := f.pool.Vdisks(t.Context())
		if want := []tlog.UUID{{1}, {2}, {3}}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v %v", got, err)
		}
		f.fakes[1].set(func() { f.fakes[1].hang = true })
		if _, err := f.pool.Vdisks(t.Context()); tlog.ClassOf(err) != tlog.Unavailable {
			t.Errorf("with two of four: %v", err)
		}
	})
}

// A server that lost some of what it held does not vote: what it lacks may
// have been acknowledged.
func TestWhoLostSomethingDoesNotVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 2, 1, 0, 4)
		defer f.close()
		f.commit(f.takeover(), 3)
		f.fakes[0].set(func() { f.fakes[0].down = errLost })
		f.verify()
		f.fakes[1].set(func() { trouble["emptied of shards"](f.fakes[1]) })
		if _, err := f.pool.Survey(t.Context(), f.vdisk); tlog.ClassOf(err) != tlog.Unavailable {
			t.Errorf("survey: %v", err)
		}
		if _, err := f.pool.Takeover(t.Context(), f.vdisk, accept); tlog.ClassOf(err) != tlog.Unavailable {
			t.Errorf("takeover: %v", err)
		}
	})
}

// With fewer than R servers a claim that lost against a newer one could pass
// for the log's, even if there are k shards of it.
func TestReadsNeedRServersToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 1, 0, 3)
		defer f.close()
		f.commit(f.takeover(), 3)
		v, err := f.pool.Survey(t.Context(), f.vdisk)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range f.fakes {
			s.set(func() {
				if i > 0 {
					s.down = errLost
				}
			})
		}
		if _, err := v.Read(t.Context(), 1); tlog.ClassOf(err) != tlog.Unavailable {
			t.Errorf("with one of three servers: %v", err)
		}
		f.heal()
		if _, err := v.Read(t.Context(), 1); err != nil {
			t.Errorf("when they are back: %v", err)
		}
	})
}

func TestAShardOfAnotherAggregationIsDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 6)
		defer f.close()
		f.commit(f.takeover(), 3)
		v := f.verify()
		other := seal(t, f.pool, f.vdisk, 2, f.chain[0].digest, []byte("never published"))
		named := 0
		for _, s := range f.fakes[:2] {
			i := s.stored[f.vdisk][2].meta.Index
			head, body := other.Shard(i)
			s.set(func() { s.stored[f.vdisk][2].data = append(head, body...) })
		}
		r, err := v.Read(t.Context(), 2)
		if err != nil || !bytes.HasPrefix(r.Data, f.data[1]) {
			t.Fatalf("%+v, %v", r, err)
		}
		for _, d := range r.Damaged {
			if (d.Server == "s0" || d.Server == "s1") && d.Position == 2 && tlog.ClassOf(d.Err) == tlog.Corrupt {
				named++
			}
		}
		damaged, err := v.Inspect(t.Context(), 2)
		if err != nil || len(damaged) != 2 || named == 0 {
			t.Errorf("read names %+v, inspect %+v, %v", r.Damaged, damaged, err)
		}
	})
}
