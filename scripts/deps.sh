#!/bin/sh
# Installs, from Debian's packages, what building and testing tlog use and this
# machine lacks. Silent when there is nothing to do.
set -eu

missing=
need() { # command package
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need gcc gcc
need capnp capnproto
need nbdkit nbdkit
need nbdcopy libnbd-bin
need nbdinfo libnbd-bin
need qemu-io qemu-utils
need fio fio
need redis-server redis-server
need mke2fs e2fsprogs
need sqlite3 sqlite3
need qemu-system-x86_64 qemu-system-x86
need ip iproute2
[ -e /usr/include/nbdkit-plugin.h ] || missing="$missing nbdkit-plugin-dev"
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "make: needs Debian packages; run as root: apt-get install$missing" >&2
	exit 1
fi
echo "make: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# Packages that bring a service (redis-server) must not start it here.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	made=yes
fi
trap '[ -z "$made" ] || rm -f "$policy"' EXIT
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
