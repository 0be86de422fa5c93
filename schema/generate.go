package schema

//go:generate sh ../install_capnp.sh --generate tlog.capnp
