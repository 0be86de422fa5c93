#!/bin/sh
# Puts Debian's kernel for virtual machines, and its modules, into bin/guest:
# downloaded as a package and unpacked there, not installed, as this machine
# does not boot from it. Silent when it is there.
set -eu
cd "$(dirname "$0")/.."

to=bin/guest
[ ! -e "$to/boot" ] || exit 0
if [ "$(dpkg --print-architecture)" != amd64 ]; then
	echo "make: the tests' guest is an amd64 machine, and wants an amd64 host" >&2
	exit 1
fi
meta=linux-image-cloud-amd64
name() { apt-cache depends "$meta" 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }'; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() { # the newest kernel that the lists of packages have
	kernel=$(name)
	[ -n "$kernel" ] && (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$kernel" >/dev/null)
}
# The lists may be older than what is still there.
fetch 2>/dev/null || { apt-get update -qq && fetch; }
echo "make: unpacking $kernel" >&2
dpkg-deb -x "$work"/*.deb "$work/all"
mkdir -p bin "$work/guest/lib"
mv "$work/all/boot" "$work/guest/boot"
mv "$work/all/lib/modules" "$work/guest/lib/modules"
rm -rf "$to" "$to.new"
cp -r "$work/guest" "$to.new"
mv "$to.new" "$to" # whole, or not there
