#!/bin/sh
# Runs every fuzz target of the tree for the time given, one after the other.
# The last line is for machines.
set -eu
time=${1:-3s}
execs=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for dir in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u); do
	for target in $(grep -h -o '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u); do
		if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$dir" >"$out" 2>&1; then
			cat "$out"
			echo "fuzz: execs=$execs crashes=1"
			exit 1
		fi
		n=$(sed -n 's/^fuzz: elapsed: .*, execs: \([0-9]*\) .*/\1/p' "$out" | tail -1)
		echo "fuzz $dir $target $time execs=${n:-0}"
		execs=$((execs + ${n:-0}))
	done
done
echo "fuzz: execs=$execs crashes=0"
