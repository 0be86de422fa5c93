package modelcheck_test

import (
	"flag"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"

	"tlog/internal/modelcheck"
)

var (
	states = flag.Int("states", 12_000, "states to explore of each pool; 0: as many as it has, up to its own limit")
	pool   = flag.String("pool", "", "only pools whose name has this in it")
	seed   = flag.Uint64("seed", 0, "where to go in a pool with too many states")
	rule   = flag.String("rule", "", "only this broken rule, and its trace; none: no rule")
)

// leastStates is what a run without limits must have seen.
const leastStates = 5_000_000

// The real cores keep every promise in every state, and without any one of the
// rules they would not.
func TestModel(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(5 << 30))
	seen, violations := explorePools(t)
	found, broken := breakRules(t)
	if *states == 0 && *pool == "" && *rule == "" && seen < leastStates {
		t.Errorf("only %d states", seen)
	}
	report("modelcheck: states=%d violations=%d mutants=%d/%d\n", seen, violations, found, broken)
}

func report(format string, a ...any) {
	if testing.Verbose() {
		fmt.Printf(format, a...)
	}
}

func explorePools(t *testing.T) (seen, violations int) {
	for _, c := range modelcheck.Pools() {
		if !strings.Contains(c.Name, *pool) || *rule != "" && *rule != "none" {
			continue
		}
		c.Seed = *seed
		if *states > 0 {
			c.Limit = *states
		}
		if testing.Short() {
			c.Limit = 2000
		}
		t.Run(c.Name, func(t *testing.T) {
			r := explore(t, c)
			seen += r.States
			if r.Violation != nil {
				violations++
				t.Errorf("%s\n%s", r.Violation.What, strings.Join(r.Violation.Trace, "\n"))
			}
			if r.Violation == nil && (r.Commits == 0 || r.Takeovers == 0 && c.Owners > 1 || r.Surveys < 10) {
				t.Errorf("too little happens for this to mean anything: %+v", r)
			}
		})
	}
	return seen, violations
}

func explore(t *testing.T, c modelcheck.Config) modelcheck.Result {
	r, err := modelcheck.Explore(c)
	if err != nil {
		t.Fatal(err)
	}
	all := "all there are"
	if !r.Complete {
		all = "the nearest, and far ones"
	}
	report("%-42s %9d states (%s), all up to %2d moves, %9d moves, %8d committed, %7d takeovers, %7d readers\n",
		c.Name, r.States, all, r.Depth, r.Moves, r.Commits, r.Takeovers, r.Surveys)
	return r
}

func breakRules(t *testing.T) (found, broken int) {
	for _, x := range modelcheck.Rules() {
		if *rule != "" && *rule != x.String() || *pool != "" {
			continue
		}
		broken++
		t.Run(x.String(), func(t *testing.T) {
			r, err := modelcheck.Explore(modelcheck.Mutant(x))
			if err != nil {
				t.Fatal(err)
			}
			if r.Violation == nil {
				t.Fatalf("survives %d states", r.States)
			}
			found++
			report("\nmutant %s, found after %d states: %s\n", x, r.States, r.Violation.What)
			for _, line := range r.Violation.Trace {
				report("    %s\n", line)
			}
		})
	}
	return found, broken
}

// Exploring again gives the same figures; another seed gives others.
func TestExploringIsDeterministic(t *testing.T) {
	c := modelcheck.Pools()[1]
	c.Limit = 4000
	run := func(seed uint64) modelcheck.Result {
		c.Seed = seed
		r, err := modelcheck.Explore(c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if a, b := run(1), run(1); a != b {
		t.Errorf("the same seed gives %+v, then %+v", a, b)
	}
	if a, b := run(1), run(2); a == b {
		t.Errorf("two seeds give %+v", a)
	}
}

func TestConfigsThatAreNone(t *testing.T) {
	good := modelcheck.Config{K: 2, N: 3, W: 3, P: 4, Owners: 1, Last: 1, Opened: true}
	if r, err := modelcheck.Explore(good); err != nil || !r.Complete {
		t.Errorf("%+v: %v", r, err)
	}
	for _, break1 := range []func(*modelcheck.Config){
		func(c *modelcheck.Config) { c.K = 0 },
		func(c *modelcheck.Config) { c.N = 1 },
		func(c *modelcheck.Config) { c.W = 1 },
		func(c *modelcheck.Config) { c.W = 4 },
		func(c *modelcheck.Config) { c.P = 2 },
		func(c *modelcheck.Config) { c.P = 9 },
		func(c *modelcheck.Config) { c.Owners = 0 },
		func(c *modelcheck.Config) { c.Owners = 5 },
		func(c *modelcheck.Config) { c.Last = 7 },
	} {
		c := good
		break1(&c)
		if _, err := modelcheck.Explore(c); err == nil {
			t.Errorf("%+v is explored", c)
		}
	}
}
