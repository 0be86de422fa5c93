#!/bin/sh
# Runs the tests of a real guest, with at least so many flush points for each kind
# of store. The last line is for machines.
set -eu
cd "$(dirname "$0")/.."

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
code=0
go test -tags e2e -count=1 -timeout 60m -v -run '^TestGuest' ./test/e2e -points "$1" >"$out/log" 2>&1 || code=$?
grep -v -e '^=== ' -e '^ *--- PASS: .*/points/' "$out/log" || true
# The stores' lines, added up.
awk -F '[ =]' '
/^guest: / {
	points += $3; early += $5; violations += $NF
	if ($7 != "ok") fsck += $7
	if ($9 != "ok") db += $9
}
/^guest pair: / { cuts += $4; violations += $NF }
END {
	printf "guest: points=%d early=%d fsck=%s db=%s cuts=%d violations=%d\n", points, early, fsck ? fsck : "ok", db ? db : "ok", cuts, violations
}' "$out/log"
exit $code
