// Package repair decides what an owner, or a scrub, does about shards of
// committed positions that are missing or damaged: which position to look at
// next, which index to write to which server, and when to stop.
//
// It is a pure state machine: Step takes what happened and returns what is to
// be done. The shell (stor) reads, rebuilds, writes, and bounds how fast; a
// shell that only looks answers each Write without doing it.
//
// Invariants:
//
//  1. Nothing is written to a position of which fewer than K indices were read
//     and found good, or to a server that holds the only good copy of an index.
//  2. A server that cannot be asked is not replaced by work for others: as many
//     indices as there are silent servers may be there. What lies on a server
//     that is gone for good is written anew when its slot has a new server.
//  3. Within a page the positions with the fewest indices come first.
//  4. After a refusal that says another owner has taken over, nothing is sent.
//  5. Every List, Look and Write is answered once; Done is the last action.
//
// A Machine is not safe for concurrent use. It keeps no slice of an event
// longer than until the position is finished.
package repair
