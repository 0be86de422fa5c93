#!/bin/sh
# Measures every stage alone, then the whole path, and prints the path as a
# table in the end; docs/performance.md says what the columns mean. A benchmark
# that fails ends it.
# Arguments: time of each benchmark of the path (2s), of each stage (200ms).
set -eu
cd "$(dirname "$0")/.."
path=${1:-2s}
stage=${2:-200ms}
out=$(mktemp)
trap 'rm -f "$out"' EXIT

measure() { # arguments of go test; results are in $out
	echo "== $*"
	if ! go test -run '^$' -bench . -count=1 "$@" >"$out" 2>&1; then
		cat "$out"
		echo "bench: go test $* failed" >&2
		exit 1
	fi
	grep -E '^(Benchmark|cpu:|pkg:)' "$out"
}

measure -benchtime "$stage" ./schema ./crypto ./aggregate ./stor ./stor/file ./client ./vdisk
measure -tags e2e -benchtime "$stage" ./stor/redis
measure -tags e2e -benchtime "$path" -timeout 20m ./test/bench
echo
awk -f scripts/bench.awk "$out"
