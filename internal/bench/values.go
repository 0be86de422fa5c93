package bench

import (
	"maps"
	"slices"
)

// Values are what was measured of a case in one turn, or the medians of the
// turns, by the names of metrics. What does not apply is not there.
type Values map[string]float64

// metric is one number of a case.
type metric struct {
	name, unit string
	digits     int
	about      string
}

// metrics are all numbers there are, in the order in which they are shown.
var metrics = []metric{
	{"mbps", "MB/s", 0, "payload"},
	{"ops", "1/s", 0, "operations"},
	{"cpu", "cpu-s/GB", 2, "all processes"},
	{"cpu_client", "cpu-s/GB", 2, "client, or who restores"},
	{"cpu_server", "cpu-s/GB", 2, "tlogserver"},
	{"cpu_store", "cpu-s/GB", 2, "Redis servers"},
	{"s", "cpu-s/GB", 2, "sum of the stages"},
	{"r_cpu", "", 2, "S / cpu"},
	{"r_mbps", "", 2, "MB/s × S / cores"},
	{"bare_mbps", "MB/s", 0, "the bare counterpart"},
	{"bare_ops", "1/s", 0, "the bare counterpart"},
	{"bare_p50", "µs", 0, "the bare counterpart"},
	{"bare_p99", "µs", 0, "the bare counterpart"},
	{"ratio", "", 2, "to the bare counterpart"},
	{"ratio_p50", "", 2, "to the bare counterpart"},
	{"ratio_p99", "", 2, "to the bare counterpart"},
	{"rss_map", "MiB", 0, "most memory of who maps a moment: a dry run"},
	{"rss_client", "MiB", 0, "most memory of the client, or of who restores"},
	{"rss_server", "MiB", 0, "most memory of tlogserver"},
	{"rss_idle", "MiB", 1, "memory of tlogserver with the vdisks, beyond that with one"},
	{"allocs_client", "a record", 3, "allocations"},
	{"allocs_server", "a record", 3, "allocations"},
	{"gc_server", "", 4, "garbage collection's part of tlogserver's CPU"},
	{"calls_client", "a record", 3, "system calls that read or write"},
	{"calls_server", "a record", 3, "system calls that read or write"},
	{"recv_p50", "µs", 0, "RecvOK"},
	{"recv_p99", "µs", 0, "RecvOK"},
	{"flush_p50", "µs", 0, "FlushOK, or NBD FLUSH"},
	{"flush_p99", "µs", 0, "FlushOK, or NBD FLUSH"},
	{"others", "", 2, "part of the machine that was used by others"},
	{"seconds", "s", 2, "of it all"},
	{"index_s", "s", 2, "building the index of the log"},
	{"index_mb", "MB", 1, "index of a million records"},
	{"first_s", "s", 2, "from the start of a mount until a block was read"},
	{"read_ratio", "", 2, "bytes that a restore read, of the bytes that are alive"},
	{"positions", "", 2, "bytes of the positions with something alive, of the bytes that are alive"},
	{"restore_s", "s", 2, "restore by the index"},
	{"grow", "", 2, "restore of twice the log, of the same disk"},
	{"grow_live", "", 2, "the same, bytes alive"},
	{"grow_cpu", "", 2, "the same, CPU time for the same live data"},
	{"rollback", "", 3, "bytes that a rollback wrote, of bytes touched since"},
	{"cp_ratio", "", 2, "restore's MB/s of cp's of the same image"},
	{"copy_ratio", "", 2, "nbdcopy's MB/s from a mount, of that from nbdkit's file plugin"},
	{"again_ratio", "", 2, "the same, when the mount has hydrated"},
}

// medians are, of each metric, the median of the turns that have it.
func medians(turns []Values) Values {
	all := make(map[string][]float64)
	for _, v := range turns {
		for name, x := range v {
			all[name] = append(all[name], x)
		}
	}
	out := make(Values)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out[name] = Median(all[name])
	}
	return out
}

// divide sets name to a/b, where both are.
func (v Values) divide(name string, a, b float64) {
	if a > 0 && b > 0 {
		v[name] = a / b
	}
}
