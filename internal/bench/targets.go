package bench

import (
	"fmt"
	"math"
	"strings"
)

// Target is one figure that tlog must reach.
type Target struct {
	What     string  `json:"what"`
	Figure   string  `json:"figure"`
	Measured float64 `json:"-"` // NaN: was not measured
	Limit    float64 `json:"limit"`
	AtMost   bool    `json:"at_most"` // the measured value; else at least
}

// Known reports whether the figure was measured.
func (t *Target) Known() bool { return !math.IsNaN(t.Measured) }

// Met reports whether the figure is reached.
func (t *Target) Met() bool {
	return t.Known() && (t.AtMost && t.Measured <= t.Limit || !t.AtMost && t.Measured >= t.Limit)
}

// median is a case's figure; NaN if it was not measured.
func (r *Report) median(name, figure string) float64 {
	for i := range r.Results {
		if r.Results[i].Case.Name != name {
			continue
		}
		if x, ok := r.Results[i].Medians[figure]; ok {
			return x
		}
	}
	return math.NaN()
}

// worst is the highest of the cases that were measured.
func (r *Report) worst(figure string, names ...string) float64 {
	out := math.NaN()
	for _, name := range names {
		if x := r.median(name, figure); !math.IsNaN(x) && !(x <= out) {
			out = x
		}
	}
	return out
}

// between is the median, over the turns, of a figure of one case divided by
// that of another.
func (r *Report) between(figure, above, below string) float64 {
	turns := func(name string) []Values {
		for i := range r.Results {
			if r.Results[i].Case.Name == name {
				return r.Results[i].Turns
			}
		}
		return nil
	}
	a, b := turns(above), turns(below)
	var ratios []float64
	for i := range min(len(a), len(b)) {
		ratios = append(ratios, a[i][figure]/b[i][figure])
	}
	return Median(ratios)
}

// both is the sum of what client and server cost.
func (r *Report) both(name string) float64 {
	return r.median(name, "cpu_client") + r.median(name, "cpu_server")
}

// millis makes milliseconds of microseconds.
func (r *Report) millis(name, figure string) float64 { return r.median(name, figure) / 1000 }

// streams are the cases of one vdisk at full speed.
var streams = []string{"null", "redis", "file", "always"}

// pasts are the cases of the suite past.
var pasts = []string{"past-file", "past-redis"}

// referenceBlocks is the best of the reference system, in blocks a second.
const referenceBlocks = 20_000

// Targets are what tlog must reach, with what was measured.
func (r *Report) Targets() []Target {
	var list []Target
	least := func(what, figure string, x, limit float64) {
		list = append(list, Target{what, figure, x, limit, false})
	}
	most := func(what, figure string, x, limit float64) { list = append(list, Target{what, figure, x, limit, true}) }
	for _, c := range []struct {
		what, name string
		cpu, mbps  float64
	}{
		{"no store, blake2b", "null", 0.85, 0.75},
		{"six Redis without AOF, 256 records", "redis", 0.85, 0.75},
		{"six Redis without AOF, 25 records", "redis25", 0.80, 0.65},
		{"file store, durable", "file", 0.80, 0.65},
		{"restore from six Redis", "restore", 0.75, 0.55},
		{"restore from six Redis, two lost", "restore-lost", 0.75, 0.55},
	} {
		least(c.what, "R_cpu", r.median(c.name, "r_cpu"), c.cpu)
		least(c.what, "R_mbps", r.median(c.name, "r_mbps"), c.mbps)
	}
	most("six Redis without AOF", "client + server, cpu-s/GB", r.both("redis"), 3.9)
	most("six Redis without AOF, SHA-256", "client + server, cpu-s/GB", r.both("redis-sha256"), 3.2)
	least("six Redis, appendfsync always", "MB/s of bare", r.median("always", "ratio"), 0.75)
	least("SHA-256 instead of blake2b, no store", "MB/s of blake2b's", r.between("mbps", "null-sha256", "null"), 1.2)
	least("version-1 client, block by block", "blocks/s of the reference's", r.median("v1", "ops")/referenceBlocks, 3)
	for _, name := range []string{"file", "always"} {
		what := map[string]string{"file": "FLUSH at depth 1, file store", "always": "FLUSH at depth 1, Redis always"}[name]
		most(what, "p50 of bare", r.median("flush-"+name, "ratio_p50"), 2.5)
		most(what, "p99 of bare", r.median("flush-"+name, "ratio_p99"), 4)
	}
	most("FlushOK at full speed, no store", "p99, ms", r.millis("null", "flush_p99"), 30)
	most("FlushOK at full speed, six Redis without AOF", "p99, ms", r.millis("redis", "flush_p99"), 30)
	least("fio 4 KiB random write QD32, no fsync", "IOPS of the file plugin's", r.median("fio", "ratio"), 0.6)
	least("fio 4 KiB random write QD32, fsync every 32", "IOPS of the file plugin's", r.median("fio32", "ratio"), 0.4)
	most("restore", "memory, MiB", r.worst("rss_client", r.names("restore")...), 256)
	most("mount of the past, from a cold start", "first block, s", r.worst("first_s", pasts...), 2)
	most("restore of a disk overwritten at random", "bytes read of bytes alive", r.worst("read_ratio", pasts...), 1.2)
	most("restore of twice the log, of the same disk", "time", r.worst("grow", pasts...), 1.15)
	most("restore by an index", "memory, MiB", r.worst("rss_client", pasts...), 256)
	most("rollback of a little writing", "bytes written of bytes touched", r.worst("rollback", pasts...), 1.05)
	most("server at full speed, one vdisk", "memory, MiB", r.worst("rss_server", streams...), 256)
	most("server, 1,000 idle vdisks", "memory beyond one vdisk's, MiB", r.median("idle-1000", "rss_idle"), 64)
	most("steady state, server", "allocations a record", r.worst("allocs_server", streams...), 0.1)
	most("steady state, client", "allocations a record", r.worst("allocs_client", streams...), 1)
	most("steady state, server", "garbage collection, % of CPU", 100*r.worst("gc_server", streams...), 1)
	return list
}

// names are the cases whose names begin so.
func (r *Report) names(prefix string) (list []string) {
	for i := range r.Results {
		if name := r.Results[i].Case.Name; strings.HasPrefix(name, prefix) {
			list = append(list, name)
		}
	}
	return list
}

const lastPrefix = "bench:"

// LastLine is the line for machines. What was not measured is not in it.
func (r *Report) LastLine() string {
	line := lastPrefix
	for _, f := range []struct{ key, name, figure string }{
		{"null", "null", "r_cpu"}, {"redis", "redis", "r_cpu"}, {"redis25", "redis25", "r_cpu"}, {"file", "file", "r_cpu"},
		{"always", "always", "ratio"}, {"restore", "restore", "r_cpu"}, {"fio", "fio", "ratio"}, {"flushp50", "flush-file", "ratio_p50"},
	} {
		if x := r.median(f.name, f.figure); !math.IsNaN(x) {
			line += fmt.Sprintf(" %s=%.3f", f.key, x)
		}
	}
	return line
}
