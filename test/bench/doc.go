// Package bench measures the whole path: client → server → store, a flush, a
// restore, and beside each of them, in the same run, the bare operation that it
// cannot beat. Its benchmarks carry the build tag e2e, as they start real Redis
// servers, and are run by `make bench-stages`; docs/performance.md says how to
// read them. `make bench` is another harness, with a process for each part.
//
// Client, server and store are one process here, so that its allocations and
// processor time are those of the path; the time of Redis servers is counted
// besides.
package bench
