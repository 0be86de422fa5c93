#!/bin/sh
# Explores the cores' state space and every broken rule; docs/durability.md
# says what that shows. The last line is for machines.
# Arguments: states of each pool (0: all, within bounds), part of a pool's name,
# a broken rule's name (none: no rule), a seed for where to go among too many.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

{
	status=0
	go test -count=1 -timeout 60m -v -run '^TestModel$' ./internal/modelcheck -states "${1:-0}" -pool "${2:-}" -rule "${3:-}" -seed "${4:-0}" || status=$?
	echo "$status" >"$dir/status"
} 2>&1 | tee "$dir/out" | grep -Ev '^(=== |PASS|ok |modelcheck: )| *--- PASS' || true
grep '^modelcheck: ' "$dir/out" || echo "modelcheck: failed before it ended"
exit "$(cat "$dir/status")"
