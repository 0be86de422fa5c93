#!/bin/sh
# Builds what scripts/crash.sh does, and runs the same processes under load for
# long, with a fault a minute, then overloads them; docs/crash.md says what it
# does. The last line is for machines. Arguments: -d DURATION, -stall DURATION,
# -seed N, -v, -keep.
set -eu
cd "$(dirname "$0")/.."
exec sh scripts/crash.sh soak "$@"
