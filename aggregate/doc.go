// Package aggregate turns the record stream of one vdisk into sealed,
// hash-chained aggregations, and such an aggregation back into records.
//
//	Append ─→ collect ─┬─ seal (copy, compress, encrypt, cut) on the Sealers ─┐
//	                   └─ order of positions ─→ chain, publish ←──────────────┘
//	                                                 done, in any order ─→ committed, in order
//
// An aggregation is the unit of durability. Invariants:
//
//  1. Positions are published, and reported as committed, in order and without
//     gaps; a committed position is durable with every one before it.
//  2. Release of every batch is called exactly once, whatever fails: when its
//     aggregation has been copied for sealing, or when it never will be.
//  3. Every Barrier ends; every Close ends when its context does.
//  4. A failed pipeline publishes nothing more. It is not revived: its log is
//     taken over again.
//
// What is decided (what goes into which aggregation, when, in which order) is
// the machine of internal/core/collect; a Pipeline only does it.
//
// Concurrency: a Pipeline and Sealers are safe for concurrent use. Neither has
// a goroutine while there is nothing to do, so that an idle vdisk costs a few
// hundred bytes; a busy one has at most one that publishes and one that
// reports, and its share of the Sealers. No function that a caller passed in is
// called under a lock.
//
// Slices: a batch's Frame and Records belong to the pipeline until it calls
// Release. The records that Decode returns alias its argument, or memory of
// their own if the payload was compressed.
//
// The byte layout is in docs/format.md.
package aggregate
