// Package player reads a vdisk's log back: it verifies it, finds moments in
// it, and rebuilds the disk of such a moment.
//
// A Log is a read-only view of one vdisk's log as R shard servers held it when
// it was opened; it fences nothing, and a writer may go on meanwhile. These
// invariants hold for everything that leaves the package:
//
//  1. A record was decrypted under the vdisk's key, its hash fits its data, and it
//     stands at its place in the chain of positions. Its position was
//     authenticated with it; or, where it was read by itself, its hash is the one
//     that a sealed index took from that position when it was.
//  2. A restore without an index visits every link of that chain from the head of
//     the log to the genesis, also where it needs no data. An index was built
//     link by link, and its last digest is compared with the log's when it is
//     opened; what is read by it is compared with the digests that it has.
//  3. What was worked around (a shard that was missing, damaged or another's)
//     is in the report; what cannot be worked around is an error of class
//     tlog.Corrupt or tlog.Unavailable, and says where.
//
// Positions are fetched and decoded in parallel and delivered in order. A Log
// is safe for concurrent use. Records and their data are lent for the duration
// of a callback. The bytes are described in docs/format.md.
package player
