#!/bin/sh
# Starts tlogserver with the embedded store and one protected NBD disk, in the
# foreground, until Ctrl-C. Everything lives in ./tlog-data; the ports are the default ones
# unless TLOG_LISTEN and TLOG_NBD say otherwise.
set -eu
cd "$(dirname "$0")/.."

data=./tlog-data
server=${TLOG_LISTEN:-127.0.0.1:11211}
nbd=${TLOG_NBD:-127.0.0.1:10809}
vdisk=demo
log=$data/server.log
mkdir -p "$data"

: >"$log" # the last one says that it listens, too
./bin/tlogserver --data-dir "$data" --listen "$server" >"$log" 2>&1 &
server_pid=$!
disk_pid=
stop() {
	trap - INT TERM EXIT
	[ -z "$disk_pid" ] || kill "$disk_pid" 2>/dev/null || true
	[ -z "$disk_pid" ] || wait "$disk_pid" 2>/dev/null || true
	kill "$server_pid" 2>/dev/null || true
	wait "$server_pid" 2>/dev/null || true
}
trap 'stop; exit 0' INT TERM
trap stop EXIT

n=0
until grep -q '^listening' "$log" || ! kill -0 "$server_pid" 2>/dev/null || [ $((n += 1)) -gt 600 ]; do
	sleep 0.1
done

./bin/tlognbd serve "$vdisk" --size 256M --server "$server" --listen "$nbd" \
	--base "$data/$vdisk.img" --data-dir "$data" &
disk_pid=$!

n=0
until nbdinfo --size "nbd://$nbd" >/dev/null 2>&1; do
	n=$((n + 1))
	if [ $n -gt 600 ] || ! kill -0 "$server_pid" 2>/dev/null || ! kill -0 "$disk_pid" 2>/dev/null; then
		echo "make run: the disk did not come up; tlogserver printed:" >&2
		cat "$log" >&2
		exit 1
	fi
	sleep 0.1
done

cat "$log"
cat <<TXT

The disk nbd://$nbd (256 MiB) is protected. In another terminal:

  1. write something real to it:
       mke2fs -q -t ext4 -d docs docs.img 64M && nbdcopy --flush docs.img nbd://$nbd
  2. build the disk again from its log alone:
       ./bin/tlogctl restore $vdisk --to restored.img --data-dir $data && e2fsck -fn restored.img

Ctrl-C stops both.
TXT
wait "$disk_pid"
