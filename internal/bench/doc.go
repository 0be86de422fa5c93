// Package bench measures tlog as it is run: tlogserver, a client process, and
// six Redis servers or a file store, all real processes on this machine.
//
// A Case is one thing to measure. Run measures each of them several times, in
// turn, and beside each, in the same turn, what it is compared with: the stages
// alone (package stage), the bare store (package bare). Ratios are made within
// a turn; what is shown is the median of the turns. docs/performance.md says how
// to read the numbers.
//
// The client is this program again: the command hands the process' standard
// input and output to ServeLoad. A Load is told as JSON, runs until it is warm,
// says so, runs again when told to, and answers with an Outcome; so that the
// harness can look at the other processes before and after.
package bench
