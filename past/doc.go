// Package past is a moment of a vdisk's log as a block device: read only, or
// with an overlay that takes what is written to it.
//
//	Disk ─→ Overlay (what was written; --cow) ─→ cache (what is here already) ─→ Source (the log)
//
// A Source reads from shard servers, by the piece. A cache brings all of it
// here in the background, newest first, and answers for what it has. Both the
// cache and the overlay are an image: one sparse file with a map of the blocks
// it holds, made for one moment and refused for any other. docs/format-overlay.md
// describes it.
//
// These invariants hold:
//
//  1. A read gives what the moment held, or what was written over it since.
//  2. After Flush has returned, what was written before survives kill -9 and the
//     loss of power. What was not flushed may be lost, sector by sector, and
//     takes nothing with it.
//  3. A cache answers only for blocks that its file system has synced: a disk
//     that loses what it took must not change the past.
//  4. A cache that cannot go on (disk full, damaged log) stops filling; reads go
//     on from where they can.
//
// All types are safe for concurrent use. Data is lent for the duration of a call.
package past
