# Makes a table of the benchmarks of test/bench. S is what the stages of the
# path cost alone, in seconds of processor time for a GB of records; S/measured
# says how much of what the path costs is the stages themselves. Fail-over and
# the spare are not rows of it: an operation of theirs starts servers too.

function value(unit,    i) {
	for (i = 3; i < NF; i += 2)
		if ($(i + 1) == unit) return $i
	return ""
}

function dash(v) { return v == "" ? "-" : v }

function row(name, us, mbs, cpu, redis, allocs, calls, p50, p99) {
	printf "%-44s %10s %9s %9s %9s %9s %9s %9s %9s\n", name, us, dash(mbs), dash(cpu), dash(redis), dash(allocs), dash(calls), dash(p50), dash(p99)
}

/^cpu:/ { cpu = substr($0, 6) }

/^Benchmark/ {
	name = $1
	sub(/^Benchmark/, "", name)
	sub(/-[0-9]+$/, "", name)
	if (name == "Failover") {
		failovers = $2; first50 = value("p50-µs"); first99 = value("p99-µs")
		next
	}
	if (name == "Spare") {
		whole = value("whole-p99-µs"); dead = value("dead-p99-µs"); ratio = value("ratio")
		next
	}
	n++
	names[n] = name
	ns[name] = value("ns/op"); mb[name] = value("MB/s"); used[name] = value("cpu-s/GB"); redis[name] = value("redis-cpu-s/GB")
	allocs[name] = value("allocs/op"); calls[name] = value("calls/op")
	p50[name] = value("p50-µs"); p99[name] = value("p99-µs")
}

END {
	if (n == 0 && failovers == 0) {
		print "bench: no results" > "/dev/stderr"
		exit 1
	}
	print cpu
	row("", "µs/op", "MB/s", "cpu-s/GB", "redis", "allocs/op", "calls/op", "p50 µs", "p99 µs")
	for (i = 1; i <= n; i++) {
		name = names[i]
		row(name, sprintf("%.1f", ns[name] / 1000), mb[name], used[name], redis[name], allocs[name], calls[name], p50[name], p99[name])
	}
	s = 2 * used["Stage/hash-blake2b"]
	split("encode tcp decode s2 gcm erasure digests", stages, " ")
	for (i in stages) s += used["Stage/" stages[i]]
	printf "\n%-20s %9s %9s %9s\n", "4 KiB records", "S", "measured", "S/measured"
	split("null file redis", kinds, " ")
	for (i = 1; i <= 3; i++) {
		bare = "Throughput/store=" kinds[i] "/bare"
		path = "Throughput/store=" kinds[i] "/record=4KiB"
		sum = s + used[bare] + redis[bare]
		got = used[path] + redis[path]
		if (got > 0) printf "%-20s %9.2f %9.2f %9.2f\n", "store=" kinds[i], sum, got, sum / got
	}
	if (failovers > 0)
		printf "\nkill -9 of the owner to the first FlushOK of the next server: p50 %.0f ms, p99 %.0f ms, %d times\n", first50 / 1000, first99 / 1000, failovers
	if (ratio > 0)
		printf "p99 of a flush with one of seven servers dead: %.0f µs, with all %.0f µs, ratio %.2f (promised: below 3)\n", dead, whole, ratio
}
