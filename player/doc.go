// Package player reads a vdisk's log back: it verifies it, finds moments in
// it, and rebuilds the disk of such a moment.
//
// A Log is a read-only view of one vdisk's log as R shard servers held it when
// it was opened; it fences nothing, and a writer may go on meanwhile. These
// invariants hold for everything that leaves the package:
//
//  1. A record was decrypted and authenticated under the vdisk's key, its hash
//     fits its data, and it stands at its place in the chain of positions.
//  2. A restore visits every link of that chain from the head of the log to
//     the genesis, also where it needs no data.
//  3. What was worked around (a shard that was missing, damaged or another's)
//     is in the report; what cannot be worked around is an error of class
//     tlog.Corrupt or tlog.Unavailable, and says where.
//
// Positions are fetched and decoded in parallel and delivered in order. A Log
// is safe for concurrent use. Records and their data are lent for the duration
// of a callback. The bytes are described in docs/format.md.
package player
