// Package group is the clock that the disks of a consistency group share, and
// the stamp by which their records show it.
//
// A cut of several logs at one timestamp is consistent when every record's
// timestamp was drawn after its write was issued and before it was acknowledged,
// from a clock that never gives a lower time than it gave before, to whomever.
// Then a write that was acknowledged before another one was issued has the lower
// timestamp, on whichever disk: a cut that has the second has the first.
//
// A Clock is such a clock for all processes of one host. Invariants:
//
//  1. Next gives each value once, and each is higher than every one given before,
//     in this process or another, whatever the host's clock does.
//  2. A value given lies in the past of every reader of the clock, but for a
//     clock that was raised, or a host's clock that was set back.
//  3. What one process was given survives it, however it ends: the clock lies in
//     memory that the kernel keeps. It does not survive the host; a clock of an
//     earlier boot is replaced, and records tell the two apart by their stamp.
//
// A Clock is safe for concurrent use. The layout of its file is at the constants
// of clock.go, that of a stamp at the type Stamp; what a group promises is in
// docs/groups.md.
package group
