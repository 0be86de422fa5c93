#!/bin/sh
# Compares the Go benchmarks of a revision with those of the tree as it is, with
# benchstat. Both are built first, and then run in turn, so that what else the
# machine does meets both alike.
# Arguments: the revision, packages (those whose benchmarks need no Redis),
# which benchmarks (.), how often each is run (6), for how long (200ms).
set -eu
cd "$(dirname "$0")/.."
base=${1:?which revision?}
packages=${2:-"./schema ./crypto ./aggregate ./stor ./stor/file ./client ./vdisk"}
pattern=${3:-.}
count=${4:-6}
time=${5:-200ms}

git rev-parse --verify --quiet "$base^{commit}" >/dev/null || { echo "bench-compare: there is no revision $base" >&2; exit 2; }
here=$PWD
dir=$(mktemp -d)
cleanup() {
	git worktree remove --force "$dir/tree" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
git worktree add --quiet --detach "$dir/tree" "$base"

binary() { echo "$dir/$1-$(echo "$2" | tr -c 'a-z0-9\n' _).test"; } # old or new, package
for p in $packages; do
	for side in old new; do
		root=$here
		[ $side = new ] || root=$dir/tree
		# A package that the revision does not have yet has no counterpart.
		[ -d "$root/$p" ] || continue
		(cd "$root" && go test -c -tags e2e -o "$(binary $side "$p")" "$p") >"$dir/build" 2>&1 || { cat "$dir/build" >&2; exit 1; }
	done
done

touch "$dir/old.txt" "$dir/new.txt"
turn=0
while [ $((turn += 1)) -le "$count" ]; do
	echo "bench-compare: turn $turn of $count" >&2
	for p in $packages; do
		for side in old new; do
			root=$here
			[ $side = new ] || root=$dir/tree
			[ -x "$(binary $side "$p")" ] || continue
			(cd "$root/$p" && "$(binary $side "$p")" -test.run '^$' -test.bench "$pattern" -test.benchtime "$time") >"$dir/out" 2>&1 || { cat "$dir/out" >&2; exit 1; }
			cat "$dir/out" >>"$dir/$side.txt"
		done
	done
done
go tool benchstat "$base=$dir/old.txt" "tree=$dir/new.txt"
