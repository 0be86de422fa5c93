// Package vdisk is a block device whose every change is logged before it is
// kept.
//
// A Disk sends each write, trim and write-zeroes to the vdisk's log through
// package client, and keeps the current content of the disk in a base image: a
// sparse local file that is a cache of the log and can be rebuilt from it.
//
//	WriteAt, Accept ─→ unapplied ─┬──────────────→ ReadAt
//	                       │      │                   ↑
//	          passUpTo: client    │                   │
//	                       │      │                   │
//	     OnFlushed(s) ─────┴─→ applier: records ≤ s ─→ base image
//	                                                  │
//	                         keeper: fdatasync ─→ marker (BASE.tlog)
//
// Invariants:
//
//  1. The base is never ahead of the log: a record reaches it only after the
//     log acknowledged it as durable.
//  2. The marker is never ahead of the base: it names a point of the log that
//     an fdatasync of the base has covered. What lies in the base beyond the
//     marker came from durable records, so replaying the log from the marker
//     always gives the disk, whenever and however often the process dies.
//  3. A record is registered with the sequence that the log will give it, and
//     the log is passed every record in that order: where they overlap, the one
//     with the higher sequence is what is read, and what the log says.
//  4. Flush returns nil only when everything that was acknowledged before it
//     began is durable in the log.
//
// A write is acknowledged as soon as it is in bounded memory, as a disk with a
// volatile cache does it: WriteAt returns when the client's window has it; writes
// given to Accept were acknowledged before, from memory that its caller bounds.
// When the window or the backlog of the base is full, writes wait; nothing waits
// longer than Config.FlushDeadline. Reads wait for nobody: they take a lock that
// is never held over I/O.
//
// A Disk is safe for concurrent use, and one Disk is meant to be shared by all
// connections of an NBD export: a Flush covers the writes that were completed
// on every one of them. WriteAt copies its data once and keeps no reference to
// the caller's slice.
//
// A disk in a consistency group (Config.Clock) has the time of each record drawn
// from the group's clock between the issue and the acknowledgement of what it
// records; stamps.go says how that order is kept.
//
// When the log refuses this client for good (another one took the vdisk over,
// the histories differ), or the base image fails, writes fail from then on and
// reads go on. The layout of the marker file is at the type marker.
package vdisk
