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
		if *states > 0 {
			c.Limit = *states
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
