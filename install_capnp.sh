#!/bin/sh
# Installs the Cap'n Proto compiler (Debian's package) where it is missing.
#
#   install_capnp.sh                 install only
#   install_capnp.sh --generate F…   compile schema files to Go beside them;
#                                    what go generate in schema/ runs
#
# The Go back end is the tool capnpc-go of go.mod, built for the occasion, so
# that its version is the library's.
set -eu

if ! command -v capnp >/dev/null 2>&1; then
	echo "install_capnp.sh: installing capnproto" >&2
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends capnproto >/dev/null
fi

[ "${1:-}" = "--generate" ] || exit 0
shift

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/capnpc-go" capnproto.org/go/capnp/v3/capnpc-go
std=$(go list -m -f '{{.Dir}}' capnproto.org/go/capnp/v3)/std
PATH="$tmp:$PATH" capnp compile -I"$std" -ogo "$@"
