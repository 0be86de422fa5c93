#!/bin/sh
# Builds the programs with failpoints, the library that notes what is durable,
# and runs test/crash; docs/crash.md says what it does. The last line is for
# machines. Arguments are test/crash's: -n KILLS, -seed N, -points N, -v, -keep.
set -eu
cd "$(dirname "$0")/.."
out=bin/failpoint
mkdir -p "$out"
gcc -shared -fPIC -O2 -Wall -Werror -o "$out/sync.so" test/crash/shim/sync.c
go build -tags failpoint -o "$out/" ./cmd/tlogserver ./cmd/tlogctl ./cmd/tlognbd ./test/crash
go build -tags nbdkit,failpoint -buildmode=c-shared -o "$out/nbdkit-tlog-plugin.so" ./cmd/nbdkit-tlog-plugin
rm -f "$out/nbdkit-tlog-plugin.h"
mode=
if [ "${1:-}" = soak ]; then
	mode=soak
	shift
fi
exec "$out/crash" $mode -bin "$out" -shim "$out/sync.so" "$@"
