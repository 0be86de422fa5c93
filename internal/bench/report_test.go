package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) < 1e-9) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

var costs = Costs{
	"hash-blake2b": 1, "hash-sha256": 0.5, "encode": 0.01, "tcp": 0.2, "decode": 0.02, "s2": 0.03, "gcm": 0.1,
	"erasure": 0.04, "digests": 0.3, "reconstruct": 0.06, "chain": 100, "session": 100, // these two are not in S
	"store": 2, "image": 0.7,
}

func TestSums(t *testing.T) {
	near(t, "S", pathSum(costs, "blake2b"), 2*1+0.01+0.2+0.02+0.03+0.1+0.04+0.3+2)
	near(t, "S with SHA-256", pathSum(costs, "sha256"), 2*0.5+0.01+0.2+0.02+0.03+0.1+0.04+0.3+2)
	near(t, "S of a restore", restoreSum(costs, "blake2b", false), 1+0.2+0.1+2+0.7)
	near(t, "S of a restore with losses", restoreSum(costs, "blake2b", true), 1+0.2+0.1+2+0.7+0.06)
	v := Values{"cpu": 4, "mbps": 500}
	v.judge(3)
	near(t, "R_cpu", v["r_cpu"], 0.75)
	near(t, "R_mbps", v["r_mbps"], 0.5*3/float64(runtime.NumCPU()))
}

func report(results ...Result) *Report {
	r := &Report{Results: results}
	for i := range r.Results {
		r.Results[i].Medians = medians(r.Results[i].Turns)
	}
	return r
}

func result(name string, turns ...Values) Result {
	return Result{Case: Case{Name: name}, Turns: turns}
}

func TestTargets(t *testing.T) {
	r := report(
		result("null", Values{"r_cpu": 0.86, "r_mbps": 0.7, "mbps": 100, "allocs_server": 0.05}, Values{"r_cpu": 0.84, "r_mbps": 0.7, "mbps": 200, "allocs_server": 0.05}),
		result("null-sha256", Values{"mbps": 150}, Values{"mbps": 220}),
		result("file", Values{"allocs_server": 0.2}),
		result("v1", Values{"ops": 60_000}),
		result("redis", Values{"cpu_client": 1.5, "cpu_server": 2.4}),
		result("restore-long", Values{"rss_client": 300}),
	)
	want := map[string]struct {
		x   float64
		met bool
	}{
		"no store, blake2b R_cpu":                                      {0.85, true},
		"no store, blake2b R_mbps":                                     {0.7, false},
		"SHA-256 instead of blake2b, no store MB/s of blake2b's":       {1.3, true}, // the median of 1.5 and 1.1
		"steady state, server allocations a record":                    {0.2, false},
		"version-1 client, block by block blocks/s of the reference's": {3, true},
		"six Redis without AOF client + server, cpu-s/GB":              {3.9, true},
		"restore memory, MiB":                                          {300, false},
	}
	for _, x := range r.Targets() {
		w, ok := want[x.What+" "+x.Figure]
		if x.Known() != ok {
			t.Errorf("%s %s: known is %v", x.What, x.Figure, x.Known())
		}
		if ok {
			near(t, x.What, x.Measured, w.x)
			if x.Met() != w.met {
				t.Errorf("%s %s: met is %v", x.What, x.Figure, x.Met())
			}
			delete(want, x.What+" "+x.Figure)
		}
	}
	for name := range want {
		t.Errorf("no target %q", name)
	}
	if got := len(r.Targets()); got != 36 {
		t.Errorf("%d targets; the table has 36 figures", got)
	}
}

func TestOutput(t *testing.T) {
	r := report(result("null", Values{"r_cpu": 0.8}), result("flush-file", Values{"flush_p50": 10, "ratio_p50": 1.5, "gc_server": math.NaN()}))
	r.Stages = costs
	if got, want := r.LastLine(), "bench: null=0.800 flushp50=1.500"; got != want {
		t.Errorf("last line %q, want %q", got, want)
	}
	var text, objects bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(text.String(), "\n"+r.LastLine()+"\n") || !strings.Contains(text.String(), "NOT MET") {
		t.Errorf("text:\n%s", &text)
	}
	if err := r.JSON(&objects); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(objects.String()) {
		var o struct{ Kind string }
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		kinds[o.Kind]++
	}
	if kinds["calibration"] != 1 || kinds["case"] != 2 || kinds["target"] != 2 || kinds["last"] != 1 {
		t.Errorf("objects: %v", kinds)
	}
}

func TestPlan(t *testing.T) {
	growth := Growth{Vdisks: []int{1, 10}, Lengths: []int64{1 << 20}, Restored: 2 << 20}
	all, err := Plan(nil, growth)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range all {
		if c.Name == "" || seen[c.Name] {
			t.Errorf("the name %q is not one case's", c.Name)
		}
		seen[c.Name] = true
	}
	for _, name := range Suites {
		cases, err := Plan([]string{name}, growth)
		if err != nil || len(cases) == 0 {
			t.Errorf("%s: %d cases, %v", name, len(cases), err)
		}
	}
	if _, err := Plan([]string{"none"}, growth); err == nil {
		t.Error("planned a suite that there is none of")
	}
	g := Grid{Stores: []string{"null", "file"}, Hashes: []string{"blake2b"}, Data: []string{"random"}, Records: []int{4096, 65536},
		Aggregations: []int{25}, Vdisks: []int{1}, Modes: []string{ModeStream, ModeSync}, Depths: []int{1, 32}}
	if got := len(g.Cases()); got != 2*2+2*2*2 {
		t.Errorf("%d cases of the grid, want 12", got)
	}
}

// Database pages are the same each time, and compress two to three times.
func TestContent(t *testing.T) {
	a, err := content(DataDB, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := content(DataDB, "")
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("the second time the pages differ: %v", err)
	}
	h := &Harness{}
	cfg, err := h.stageConfig(Case{Data: DataDB, Record: 4 << 10, Aggregation: 256})
	if err != nil {
		t.Fatal(err)
	}
	if ratio := float64(cfg.Bytes()) / float64(cfg.Stored()); ratio < 2 || ratio > 3 {
		t.Errorf("database pages compress %.2f times, want 2 to 3", ratio)
	}
	if _, err := content("none", ""); err == nil {
		t.Error("made data of a kind that there is none of")
	}
}
