package stor_test

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"testing"
	"testing/synctest"

	"tlog"
	"tlog/stor"
)

func manifest(k, m, w, p int) *stor.Manifest {
	x := &stor.Manifest{Pool: tlog.UUID{1}, ConfigVersion: 1, K: k, M: m, W: w, Durability: stor.DurabilityAlways}
	for i := range p {
		x.Cookies = append(x.Cookies, tlog.UUID{2, byte(i)})
	}
	return x
}

// Any W servers that acknowledged and any R that answer later share k servers,
// and no smaller R would do: every pool of up to seven servers.
func TestQuorumsShareKServers(t *testing.T) {
	pools := 0
	for p := 1; p <= 7; p++ {
		for k := 1; k <= p; k++ {
			for m := 0; k+m <= p; m++ {
				for w := 0; w <= p; w++ {
					x := manifest(k, m, w, p)
					if x.Check() != nil {
						continue
					}
					pools++
					if got := shared(p, w, x.R()); got < k {
						t.Errorf("%d+%d on %d, W %d, R %d: a reader may meet only %d shards", k, m, p, w, x.R(), got)
					}
					if x.R() > 1 && shared(p, w, x.R()-1) >= k {
						t.Errorf("%d+%d on %d, W %d: R %d is larger than it need be", k, m, p, w, x.R())
					}
				}
			}
		}
	}
	if pools < 100 {
		t.Errorf("only %d pools", pools)
	}
}

// shared is the least that a set of w and a set of r of p servers have in common.
func shared(p, w, r int) int {
	least := p
	for a := range 1 << p {
		for b := range 1 << p {
			if bits.OnesCount(uint(a)) == w && bits.OnesCount(uint(b)) == r {
				least = min(least, bits.OnesCount(uint(a&b)))
			}
		}
	}
	return least
}

func TestManifestsThatAreRefused(t *testing.T) {
	twice := manifest(2, 1, 3, 3)
	twice.Cookies[2] = twice.Cookies[0]
	sloppy := manifest(2, 1, 3, 3)
	sloppy.Durability = "sometimes"
	for name, m := range map[string]*stor.Manifest{
		"no data shards": manifest(0, 1, 1, 1), "negative parity": manifest(2, -1, 1, 3), "too many shards": manifest(250, 6, 256, 256),
		"too few servers": manifest(4, 2, 6, 5), "W below k": manifest(4, 2, 3, 6), "W above n": manifest(4, 2, 7, 7),
		"a cookie twice": twice, "unknown durability": sloppy,
	} {
		if err := m.Check(); !errors.Is(err, stor.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// bare is a set of servers that nobody has initialised.
func bare(t *testing.T, n int) *fixture {
	f := &fixture{t: t, cfg: testConfig(2, 1, 0), vdisk: tlog.UUID{7}}
	for i := range n {
		f.fakes = append(f.fakes, newFake(t, string(rune('a'+i))))
	}
	return f
}

func TestOpenBeforeInit(t *testing.T) {
	f := bare(t, 4)
	if _, err := stor.Open(t.Context(), f.cfg, f.servers()); !errors.Is(err, stor.ErrEmpty) {
		t.Errorf("all empty: %v", err)
	}
}

func TestInitIsFinishedAfterAnInterruption(t *testing.T) {
	for reached := range 4 {
		f := bare(t, 4)
		f.fakes[reached].down = nil
		broken := errors.New("fake: power cut")
		list := f.servers()
		for i := reached; i < 4; i++ {
			list[i] = &initFails{f.fakes[i], broken}
		}
		if _, err := stor.Init(t.Context(), f.cfg, list); !errors.Is(err, broken) {
			t.Fatalf("init: %v", err)
		}
		if _, err := stor.Open(t.Context(), f.cfg, f.servers()); !errors.Is(err, stor.ErrEmpty) {
			t.Errorf("%d of 4 reached: open: %v", reached, err)
		}
		f.revive()
		if _, err := stor.Init(t.Context(), f.cfg, f.servers()); err != nil {
			t.Errorf("%d of 4 reached: init again: %v", reached, err)
		}
		f.open()
		for _, s := range f.pool.Status(t.Context()) {
			if s.Err != nil {
				t.Errorf("%d of 4 reached: %s: %v", reached, s.Name, s.Err)
			}
		}
		f.close()
		f.revive()
		if _, err := stor.Init(t.Context(), f.cfg, f.servers()); !errors.Is(err, stor.ErrNotEmpty) {
			t.Errorf("init of an initialised pool: %v", err)
		}
	}
}

type initFails struct {
	*fakeServer
	err error
}

func (s *initFails) Init(context.Context, tlog.UUID, *stor.Manifest) error { return s.err }

func (f *fixture) revive() {
	for _, s := range f.fakes {
		s.set(func() { s.closed = false })
	}
}

func TestInitRefusesServersWithData(t *testing.T) {
	f := newFixture(t, 2, 1, 0, 4)
	defer f.close()
	f.commit(f.takeover(), 1)
	f.fakes[3].set(f.fakes[3].wipe)
	if _, err := stor.Init(t.Context(), f.cfg, f.servers()); !errors.Is(err, stor.ErrNotEmpty) || !errors.Is(err, stor.ErrConfig) {
		t.Errorf("%v", err)
	}
}

func TestOpenChecksWhatIsConfigured(t *testing.T) {
	f := newFixture(t, 2, 1, 0, 4)
	f.close()
	for _, c := range []struct {
		name   string
		change func(*stor.Config)
		list   func([]stor.Server) []stor.Server
	}{
		{"shards", func(c *stor.Config) { c.K, c.M = 4, 2 }, nil},
		{"write quorum", func(c *stor.Config) { c.MinShards = 2 }, nil},
		{"durability", func(c *stor.Config) { c.Durability = stor.DurabilityMemory }, nil},
		{"a server more than the pool has", nil, func(l []stor.Server) []stor.Server { return append(l, newFake(t, "new")) }},
		{"a server listed twice", nil, func(l []stor.Server) []stor.Server { return []stor.Server{l[0], l[1], l[2], l[2]} }},
	} {
		f.revive()
		cfg, list := f.cfg, f.servers()
		if c.change != nil {
			c.change(&cfg)
		}
		if c.list != nil {
			list = c.list(list)
		}
		if _, err := stor.Open(t.Context(), cfg, list); !errors.Is(err, stor.ErrConfig) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	f.revive()
	f.cfg.K, f.cfg.M = 0, 0
	f.open() // what is left open is as the manifest says
	f.close()
}

func TestTheOrderOfServersDoesNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		defer func() { f.close() }()
		l := f.takeover()
		f.commit(l, 3)
		l.Close()
		slices.Reverse(f.fakes)
		f.reopen()
		l = f.takeover()
		f.commit(l, 2)
		for slot, s := range f.pool.Status(t.Context()) {
			if want := string(rune('0' + slot)); s.Name != "s"+want || s.Err != nil || s.Slot != slot {
				t.Errorf("slot %d: %+v", slot, s)
			}
		}
		f.verify()
	})
}

func TestFewerThanRVotersIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		f.commit(f.takeover(), 2)
		f.close()
		f.revive()
		f.fakes[0].down = errors.New("fake: refused")
		f.fakes[1].wipe()
		f.open()
		f.verify()
		status := f.pool.Status(t.Context())
		if !errors.Is(status[1].Err, stor.ErrEmpty) && !errors.Is(status[len(status)-1].Err, stor.ErrEmpty) {
			t.Errorf("a wiped server is not told of: %+v", status)
		}
		f.close()
		f.revive()
		f.fakes[2].hang = true
		_, err := stor.Open(t.Context(), f.cfg, f.servers())
		if tlog.ClassOf(err) != tlog.Unavailable {
			t.Errorf("three of seven missing: %v", err)
		}
	})
}

// A server that was wiped must not vote for an empty log, however many there are.
func TestAmnesiaDoesNotVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		defer f.close()
		l := f.takeover()
		f.commit(l, 3)
		l.Close()
		for i := range 3 {
			f.fakes[i].set(f.fakes[i].wipe)
		}
		if _, err := f.pool.Survey(t.Context(), f.vdisk); tlog.ClassOf(err) != tlog.Unavailable {
			t.Errorf("survey with three of seven wiped: %v", err)
		}
		if _, err := f.pool.Takeover(t.Context(), f.vdisk, accept); tlog.ClassOf(err) != tlog.Unavailable {
			t.Errorf("takeover with three of seven wiped: %v", err)
		}
	})
}

// Nor one that is wiped after it gave its hints or its promise: what it then
// says of positions is true, and of another server.
func TestAmnesiaWhileVoting(t *testing.T) {
	for name, find := range map[string]func(*testing.T, *fixture) error{
		"survey": func(t *testing.T, f *fixture) error { _, err := f.pool.Survey(t.Context(), f.vdisk); return err },
		"takeover": func(t *testing.T, f *fixture) error {
			_, err := f.pool.Takeover(t.Context(), f.vdisk, accept)
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, 4, 2, 0, 7)
			defer f.close()
			l := f.takeover()
			f.commit(l, 3)
			l.Close()
			for _, s := range f.fakes[:3] {
				s.set(func() {
					s.metas = func([]stor.Meta) ([]stor.Meta, error) { s.wipe(); return nil, nil }
				})
			}
			if err := find(t, f); tlog.ClassOf(err) != tlog.Unavailable {
				t.Errorf("%s while three of seven are wiped: %v", name, err)
			}
		})
	}
}

func TestAServerThatWasAwayAtOpenIsUsedWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 2, 1, 0, 3)
		f.close()
		f.revive()
		f.fakes[1].down = errors.New("fake: refused")
		f.open()
		defer f.close()
		if _, err := f.pool.Takeover(t.Context(), f.vdisk, accept); tlog.ClassOf(err) != tlog.Unavailable {
			t.Fatalf("takeover with two of three: %v", err)
		}
		f.fakes[1].set(func() { f.fakes[1].down = nil })
		f.commit(f.takeover(), 2)
		f.verify()
	})
}

// That a server is empty, or another pool's, is a reason; it does not make the
// pool empty, or the configuration wrong.
func TestReasonsDoNotPassForTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4, 2, 0, 7)
		f.commit(f.takeover(), 1)
		other := newFixture(t, 4, 2, 0, 7)
		other.close()
		f.fakes[1].set(f.fakes[1].wipe)
		f.fakes[2].set(f.fakes[2].wipe)
		f.fakes[3].set(func() { f.fakes[3].cookie, f.fakes[3].manifest = other.fakes[3].cookie, other.fakes[3].manifest })
		check := func(what string, err error) {
			t.Helper()
			if tlog.ClassOf(err) != tlog.Unavailable || errors.Is(err, stor.ErrEmpty) || errors.Is(err, stor.ErrConfig) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := f.pool.Survey(t.Context(), f.vdisk)
		check("survey", err)
		_, err = f.pool.Vdisks(t.Context())
		check("vdisks", err)
		f.close()
		f.revive()
		_, err = stor.Open(t.Context(), f.cfg, f.servers())
		check("open", err)
	})
}
