// Package failpoint ends the process, as kill -9 would, at a named point of the
// product's code. test/crash is its only user: it proves that whatever a crash
// leaves behind at such a point is put right.
//
// Without the build tag failpoint, as in every program that is installed, all
// of it is empty functions, which the compiler inlines to nothing, and nothing
// in the environment has any effect. With the tag:
//
//   - TLOG_FAILPOINT=NAME:N kills the process at the N-th passage of the point
//     NAME, after a line "failpoint NAME" on standard error. docs/crash.md lists
//     the points. NAME:N:stop stops it there, as SIGSTOP does, after a line
//     "stopped NAME".
//   - TLOG_UNDO=DIR keeps, for each file that the file store writes,
//     and for a base image and its marker, what was at
//     the places written since its last successful sync, so that power loss can
//     be played afterwards (see Undo).
//   - tlogserver collects its garbage before it answers /metrics?collect, so
//     that what is said of memory there is what it keeps.
//   - TLOG_SEGMENT_BYTES=N is the file store's segment size, so that segments
//     end often.
//
// All functions are safe for concurrent use.
package failpoint
