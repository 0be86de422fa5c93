#!/bin/sh
# Runs one matrix of faults as a whole; its last line is for machines.
set -eu
go test -c -tags e2e -o bin/faults.test ./test/faults
cd test/faults
exec ../../bin/faults.test -test.run "^$1\$" -test.timeout 20m -whole
