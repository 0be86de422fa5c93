#!/bin/sh
# Runs every fuzz target of the tree for the time given, one after the other.
set -eu
time=${1:-5s}
count=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for dir in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u); do
	for target in $(grep -h -o '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u); do
		echo "fuzz $dir $target $time"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$dir" >"$out" 2>&1 || { cat "$out"; exit 1; }
		count=$((count + 1))
	done
done
echo "fuzz: targets=$count crashes=0"
