#!/bin/sh
# Runs every fuzz target of the tree for the time given, one after the other:
# fuzz.sh [TIME [EXECS]]. If EXECS are wanted in total, the fastest third goes on
# in turns of TIME until there are that many; after six turns that is a failure.
# The last line is for machines.
set -eu
time=${1:-3s}
wanted=${2:-0}
execs=0
out=$(mktemp)
rates=$(mktemp)
trap 'rm -f "$out" "$rates"' EXIT

# late says that all that failed is that an execution was under way when the time
# was over: go test says so of itself now and then on a busy machine, and names no
# input, as it does for whatever an input causes.
late() {
	grep -q '^    context deadline exceeded$' "$out" && ! grep -q 'Failing input\|panic:\|fatal error\|_test.go:' "$out"
}

fuzz() { # directory target
	if ! go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" "./$1" >"$out" 2>&1 && ! late; then
		cat "$out"
		echo "fuzz: execs=$execs crashes=1"
		exit 1
	fi
	n=$(sed -n 's/^fuzz: elapsed: .*, execs: \([0-9]*\) .*/\1/p' "$out" | tail -1)
	echo "fuzz $1 $2 $time execs=${n:-0}"
	echo "${n:-0} $1 $2" >>"$rates"
	execs=$((execs + ${n:-0}))
}

for dir in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u); do
	for target in $(grep -h -o '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u); do
		fuzz "$dir" "$target"
	done
done

fastest=$(sort -rn "$rates" | head -7 | cut -d' ' -f2-)
turns=0
while [ "$execs" -lt "$wanted" ] && [ $turns -lt 6 ]; do
	turns=$((turns + 1))
	while read -r dir target && [ "$execs" -lt "$wanted" ]; do
		fuzz "$dir" "$target" </dev/null
	done <<LIST
$fastest
LIST
done
if [ "$execs" -lt "$wanted" ]; then
	echo "fuzz: wanted $wanted executions" >&2
	echo "fuzz: execs=$execs crashes=0"
	exit 1
fi
echo "fuzz: execs=$execs crashes=0"
