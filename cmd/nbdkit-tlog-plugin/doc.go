// Command nbdkit-tlog-plugin is the plugin by which nbdkit serves a vdisk that
// is logged by tlog. It is built as a C shared library, with cgo and nbdkit's
// header, and therefore behind a build tag:
//
//	go build -tags nbdkit -buildmode=c-shared -o nbdkit-tlog-plugin.so ./cmd/nbdkit-tlog-plugin
//
// People start it by tlognbd serve, which checks the command line and runs
// nbdkit in the foreground; the Go runtime does not survive nbdkit's daemonising.
// Its parameters are those of tlognbd serve, as key=value:
//
//	vdisk=NAME size=BYTES base=FILE server=ADDR[,ADDR…]
//	[takeover=true] [flush-deadline=30s] [group=NAME [group-dir=DIR]]
//	[STORAGE, as data-dir=DIR]
//
// All connections share one vdisk.Disk, which is opened before the first is
// accepted and closed in .unload: nbdkit calls .close for no client that is
// still connected when it ends, but .unload always. Requests run in parallel;
// reads go directly into nbdkit's buffer.
//
// A write is copied once, into a ring in C memory, and acknowledged: it takes no
// thread into Go, where a request that waits costs two changes of threads. From
// the ring, whose memory is the record's until it is in the base image, Go hands
// writes to the disk in their order; every other request has that done first, so
// it comes after all that was acknowledged before. The ring is the volatile cache
// of this disk, as a client's window is: a flush empties it.
package main
