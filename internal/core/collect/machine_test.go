package collect_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tlog"
	"tlog/internal/core/collect"
)

var errTest = errors.New("broken")

// show writes actions as the tables below have them.
func show(actions []collect.Action) string {
	var s []string
	for _, a := range actions {
		switch a.Kind {
		case collect.Refuse:
			s = append(s, "refuse "+[]string{"dead", "closed", "too large"}[a.Reason])
		case collect.Seal:
			what := "items"
			if a.Control {
				what = "control"
			}
			s = append(s, fmt.Sprintf("seal %d: %d %s", a.Position, a.Items, what))
		case collect.Publish:
			s = append(s, fmt.Sprintf("publish %d", a.Position))
		case collect.Commit:
			s = append(s, fmt.Sprintf("commit %d", a.Position))
		case collect.Discard:
			s = append(s, fmt.Sprintf("discard %d", a.Position))
		case collect.Arm:
			s = append(s, fmt.Sprintf("arm %v", a.At))
		case collect.Fail:
			s = append(s, "fail "+a.Err.Error())
		case collect.Finish:
			s = append(s, "finish")
		}
	}
	return strings.Join(s, ", ")
}

var testConfig = collect.Config{MaxBytes: 100, MaxRecords: 10, MaxAge: 10, MaxPayload: 150, InFlight: 2, Last: 4}

type step struct {
	e    collect.Event
	want string
}

func batch(records, bytes int, now time.Duration) collect.Event {
	return collect.Appended{Records: records, Bytes: bytes, Now: now}
}

var steps = map[string][]step{
	"by bytes": {
		{batch(1, 60, 0), "arm 10ns"},
		{batch(1, 40, 1), "seal 5: 2 items"},
	},
	"by records": {
		{batch(9, 1, 0), "arm 10ns"},
		{batch(1, 1, 1), "seal 5: 2 items"},
	},
	"by age, the timer late": {
		{batch(1, 1, 3), "arm 13ns"},
		{batch(1, 1, 5), ""},
		{collect.Aged{14}, "seal 5: 2 items"},
		{batch(1, 1, 20), "arm 30ns"},
	},
	"the timer of what is sealed already is moved": {
		{batch(10, 1, 0), "seal 5: 1 items"},
		{batch(1, 1, 1), "arm 11ns"},
		{collect.Force{}, "seal 6: 1 items"},
		{collect.Sealed{5}, "publish 5"}, {collect.Durable{5}, "commit 5"},
		{batch(1, 1, 8), ""},
		{collect.Aged{11}, "arm 18ns"},
		{collect.Aged{18}, "seal 7: 1 items"},
	},
	"the timer of an idle log stops": {
		{batch(1, 1, 0), "arm 10ns"},
		{collect.Force{}, "seal 5: 1 items"},
		{collect.Aged{10}, ""},
		{collect.Aged{20}, ""},
	},
	"forced, and nothing to force": {
		{collect.Force{}, ""},
		{batch(1, 1, 0), "arm 10ns"},
		{collect.Force{}, "seal 5: 1 items"},
		{collect.Force{}, ""},
	},
	"never above the payload limit": {
		{batch(1, 99, 0), "arm 10ns"},
		{batch(1, 99, 0), "seal 5: 1 items"},
		{collect.Force{}, "seal 6: 1 items"},
	},
	"a batch too large": {
		{batch(1, 151, 0), "refuse too large"},
		{batch(1, 150, 0), "seal 5: 1 items"},
	},
	"a full flight waits, and then takes all that came": {
		{batch(10, 1, 0), "seal 5: 1 items"},
		{batch(10, 1, 0), "seal 6: 1 items"},
		{batch(2, 1, 0), "arm 10ns"},
		{collect.Force{}, ""},
		{batch(2, 1, 0), ""},
		{collect.Sealed{6}, ""},
		{collect.Sealed{5}, "publish 5, publish 6"},
		{collect.Durable{6}, ""},
		{collect.Durable{5}, "commit 5, commit 6, seal 7: 2 items"},
	},
	"a force does not force what comes after": {
		{batch(10, 1, 0), "seal 5: 1 items"},
		{batch(10, 1, 0), "seal 6: 1 items"},
		{batch(9, 1, 0), "arm 10ns"},
		{collect.Force{}, ""},
		{batch(1, 1, 2), ""},
		{batch(1, 1, 3), ""},
		{collect.Sealed{5}, "publish 5"},
		{collect.Durable{5}, "commit 5, seal 7: 2 items"},
		{collect.Aged{10}, "arm 13ns"},
	},
	"control stands alone, between what was before and after": {
		{batch(1, 1, 0), "arm 10ns"},
		{collect.Control{0}, "seal 5: 1 items, seal 6: 1 control"},
		{batch(1, 1, 0), ""},
		{collect.Control{0}, ""},
		{collect.Sealed{5}, "publish 5"}, {collect.Durable{5}, "commit 5, seal 7: 1 items"},
		{collect.Sealed{6}, "publish 6"}, {collect.Durable{6}, "commit 6, seal 8: 1 control"},
	},
	"close when idle": {
		{collect.Close{}, "finish"},
		{batch(1, 1, 0), "refuse closed"},
		{collect.Control{0}, "refuse closed"},
		{collect.Failed{errTest}, ""},
		{collect.Close{}, ""},
	},
	"close seals and waits": {
		{batch(1, 1, 0), "arm 10ns"},
		{collect.Close{}, "seal 5: 1 items"},
		{collect.Sealed{5}, "publish 5"},
		{collect.Durable{5}, "commit 5, finish"},
	},
	"failure": {
		{batch(10, 1, 0), "seal 5: 1 items"},
		{batch(10, 1, 0), "seal 6: 1 items"},
		{batch(1, 1, 0), "arm 10ns"},
		{collect.Sealed{5}, "publish 5"},
		{collect.Failed{errTest}, "fail broken"},
		{collect.Failed{errTest}, ""},
		{collect.Durable{5}, ""},
		{collect.Sealed{6}, "discard 6"},
		{batch(1, 1, 0), "refuse dead"},
		{collect.Close{}, ""},
		{collect.Aged{10}, ""},
	},
	"events of no position in flight": {
		{collect.Sealed{4}, ""}, {collect.Sealed{5}, ""}, {collect.Durable{5}, ""}, {collect.Durable{1 << 60}, ""},
		{batch(10, 1, 0), "seal 5: 1 items"},
		{collect.Durable{5}, ""},
		{collect.Sealed{5}, "publish 5"}, {collect.Sealed{5}, ""},
		{collect.Durable{5}, "commit 5"}, {collect.Durable{5}, ""},
	},
}

func TestSteps(t *testing.T) {
	for name, steps := range steps {
		t.Run(name, func(t *testing.T) { try(t, testConfig, steps) })
	}
}

func try(t *testing.T, cfg collect.Config, steps []step) {
	m := collect.New(cfg)
	for i, s := range steps {
		if got := show(m.Step(s.e)); got != s.want {
			t.Fatalf("step %d, %T%+v: %q, want %q", i, s.e, s.e, got, s.want)
		}
	}
}

// What came while the flight was full goes together, up to Grown records, or
// MaxBytes; what did not wait is sealed as ever.
func TestGrown(t *testing.T) {
	cfg := testConfig
	cfg.Grown = 25
	full := []step{
		{batch(10, 1, 0), "seal 5: 1 items"},
		{batch(10, 1, 0), "seal 6: 1 items"},
	}
	try(t, cfg, append(full,
		step{batch(9, 1, 0), "arm 10ns"}, step{batch(9, 1, 0), ""}, step{batch(9, 1, 0), ""}, step{batch(9, 1, 0), ""},
		step{collect.Sealed{5}, "publish 5"}, step{collect.Durable{5}, "commit 5, seal 7: 3 items"}, // 27: the last batch is whole
		step{collect.Sealed{6}, "publish 6"}, step{collect.Durable{6}, "commit 6"}, // 9 are not due
		step{batch(1, 1, 0), "seal 8: 2 items"},
	))
	try(t, cfg, append(full,
		step{batch(9, 60, 0), "arm 10ns"}, step{batch(9, 60, 0), ""}, step{batch(9, 60, 0), ""},
		step{collect.Sealed{5}, "publish 5"}, step{collect.Durable{5}, "commit 5, seal 7: 2 items"},
	))
}

// item is one element of a shell's queue.
type item struct {
	records, bytes int
	control        bool
	at             time.Duration
}

// checker follows a machine's actions and fails when an invariant of the
// package does not hold.
type checker struct {
	rt               *rapid.T
	queue            []item // as a shell would keep it
	next             tlog.Position
	sealing, waiting map[tlog.Position]bool
	sealedSet        map[tlog.Position]bool
	published        tlog.Position // last
	durable          map[tlog.Position]bool
	committed        tlog.Position // last
	alarm            time.Duration
	armed            bool
	dead, closed     bool
}

func (c *checker) act(now time.Duration, actions []collect.Action) {
	for _, a := range actions {
		if c.dead && a.Kind != collect.Discard && a.Kind != collect.Refuse {
			c.rt.Fatalf("%+v after the end", a)
		}
		switch a.Kind {
		case collect.Refuse:
			c.queue = c.queue[:len(c.queue)-1]
		case collect.Seal:
			c.seal(a)
		case collect.Publish:
			if a.Position != c.published+1 || !c.sealedSet[a.Position] {
				c.rt.Fatalf("publish %d after %d", a.Position, c.published)
			}
			c.published = a.Position
			c.waiting[a.Position] = true
		case collect.Commit:
			if a.Position != c.committed+1 || !c.durable[a.Position] {
				c.rt.Fatalf("commit %d after %d", a.Position, c.committed)
			}
			c.committed = a.Position
		case collect.Arm:
			c.alarm, c.armed = a.At, true
		case collect.Fail:
			c.dead = true
		case collect.Finish:
			if len(c.queue) > 0 || c.committed+1 != c.next || !c.closed {
				c.rt.Fatalf("finished with %d items, committed %d of %d", len(c.queue), c.committed, c.next-1)
			}
			c.dead = true
		}
	}
	full := int(c.next-1-c.committed) == testConfig.InFlight
	if !c.dead && !full && len(c.queue) > 0 && (!c.armed || c.alarm > c.queue[0].at+testConfig.MaxAge) {
		c.rt.Fatalf("an item of %v waits, and the alarm is %v, %v", c.queue[0].at, c.armed, c.alarm)
	}
}

func (c *checker) seal(a collect.Action) {
	bytes := 0
	for _, i := range c.queue[:a.Items] {
		bytes += i.bytes
		if i.control != a.Control || i.control && a.Items > 1 {
			c.rt.Fatalf("control among others in %+v", a)
		}
	}
	c.queue = c.queue[a.Items:]
	if a.Position != c.next || a.Items == 0 || bytes > testConfig.MaxPayload {
		c.rt.Fatalf("%+v of %d bytes; next is %d", a, bytes, c.next)
	}
	c.next++
	if int(c.next-1-c.committed) > testConfig.InFlight {
		c.rt.Fatalf("%d in flight", c.next-1-c.committed)
	}
	c.sealing[a.Position] = true
}

func newChecker(rt *rapid.T) *checker {
	return &checker{rt: rt, next: testConfig.Last + 1, published: testConfig.Last, committed: testConfig.Last,
		sealing: map[tlog.Position]bool{}, waiting: map[tlog.Position]bool{},
		sealedSet: map[tlog.Position]bool{}, durable: map[tlog.Position]bool{}}
}

// pick draws one of the positions in set, in a fixed order; 0 if there is none.
func pick(rt *rapid.T, set map[tlog.Position]bool, limit tlog.Position) tlog.Position {
	var p []tlog.Position
	for i := testConfig.Last + 1; i < limit; i++ {
		if set[i] {
			p = append(p, i)
		}
	}
	if len(p) == 0 {
		return 0
	}
	return rapid.SampledFrom(p).Draw(rt, "position")
}

// Whatever comes in whatever order, the invariants hold; and when sealing and
// publishing succeed, a closed machine commits everything.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m, c := collect.New(testConfig), newChecker(rt)
		var now time.Duration
		add := func(i item, e collect.Event) {
			c.queue = append(c.queue, i)
			c.act(now, m.Step(e))
		}
		seal := func() {
			if p := pick(rt, c.sealing, c.next); p != 0 {
				delete(c.sealing, p)
				c.sealedSet[p] = true
				c.act(now, m.Step(collect.Sealed{p}))
			}
		}
		durable := func() {
			if p := pick(rt, c.waiting, c.next); p != 0 {
				delete(c.waiting, p)
				c.durable[p] = true
				c.act(now, m.Step(collect.Durable{p}))
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				now += time.Duration(rapid.IntRange(0, 3).Draw(rt, "wait"))
				i := item{records: rapid.IntRange(1, 12).Draw(rt, "records"), bytes: rapid.IntRange(1, 160).Draw(rt, "bytes"), at: now}
				add(i, collect.Appended{i.records, i.bytes, now})
			},
			"control": func(*rapid.T) { add(item{control: true, at: now}, collect.Control{now}) },
			"force":   func(*rapid.T) { c.act(now, m.Step(collect.Force{})) },
			"age": func(*rapid.T) {
				if c.armed {
					now, c.armed = max(now, c.alarm), false
					c.act(now, m.Step(collect.Aged{now}))
				}
			},
			"sealed":  func(*rapid.T) { seal() },
			"durable": func(*rapid.T) { durable() },
		})
		if rapid.Bool().Draw(rt, "fail") {
			c.act(now, m.Step(collect.Failed{errTest}))
			if !c.dead {
				rt.Fatal("not failed")
			}
			seal()
			return
		}
		c.closed = true
		c.act(now, m.Step(collect.Close{}))
		for len(c.sealing)+len(c.waiting) > 0 {
			seal()
			durable()
		}
		if !c.dead || len(c.queue) > 0 {
			rt.Fatalf("closed, and nothing more to do, but not finished: %d items", len(c.queue))
		}
	})
}
