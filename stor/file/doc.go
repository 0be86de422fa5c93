// Package file is a shard server in a directory: the embedded store, and the
// default on one machine (seven directories, one Server each).
//
// The directory holds a log of frames, cut into segments; docs/format-file.md
// has the bytes. Everything a server holds — manifest, owners, shards — is the
// replay of its frames, and a write applies its frames by the same code that a
// restart does. What stays true:
//
//  1. One process writes (flock). Readers need no lock, and see every frame up
//     to the last valid one.
//  2. What is answered is durable, and what is visible through a writer is
//     durable: requests are judged in order, written by one vectored write,
//     synced by one fdatasync, then applied and answered.
//  3. After a write or sync that failed nobody knows what the disk holds: the
//     Server is failed, and stays so until it is opened again. Sync is never
//     tried a second time on the same writes.
//  4. A frame that was durable and cannot be read is damage, never absence. A
//     damaged Server does not vote: it refuses Fence and Append, and answers
//     reads with what it has and, where the lost frames could matter, an error
//     of class tlog.Corrupt besides.
//
// Of segments in front of the last, contents files beside them tell a replay
// what their frames say. They are derived: one that is not there, or does not fit
// its segment, costs a scan of that segment and nothing else.
//
// The writer:
//
//	Fence, Append, Init ─→ queue ─→ commit: judge ─ write ─ sync ─ apply ─ answer
//	                                  └─ sealed ─→ writeContents
//
// commit owns the active segment. A Server is safe for concurrent use. Slices of
// a request are read until its answer and never kept; slices that are returned
// belong to the caller.
package file
