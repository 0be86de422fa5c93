#!/bin/sh
# Runs one matrix of faults as a whole: stores, or net, which has partitions
# besides. Its last line is for machines.
set -eu
mkdir -p bin
go test -c -tags e2e -o bin/faults.test ./test/faults
case $1 in
stores)
	cd test/faults
	exec ../../bin/faults.test -test.run '^TestStoreFaults$' -test.timeout 20m -whole
	;;
net)
	out=$(mktemp)
	trap 'rm -f "$out"' EXIT
	code=0
	(cd test/faults && ../../bin/faults.test -test.run '^TestNetFaults$' -test.timeout 20m -whole) >"$out" 2>&1 || code=1
	go test -tags e2e -count=1 -timeout 20m -v -run '^TestPartitionShapes$' ./test/e2e -long >>"$out" 2>&1 || code=1
	grep -v '^netfaults: ' "$out" || true
	cells=$(sed -n 's/^netfaults: cells=\([0-9]*\) .*/\1/p' "$out")
	bad=$(sed -n 's/^netfaults: .* violations=\([0-9]*\)$/\1/p' "$out")
	shapes=$(grep -c '^    --- [A-Z]*: TestPartitionShapes/' "$out" || true)
	broken=$(grep -c '^    --- FAIL: TestPartitionShapes/' "$out" || true)
	echo "netfaults: cells=$((${cells:-0} + shapes)) violations=$((${bad:-0} + broken))"
	exit $code
	;;
esac
