// Package appending decides how the positions of one vdisk's log become
// committed: which shard server gets which shard index, when a spare is asked,
// what each answer means, and when the owner must stop.
//
// It is a pure state machine: Step takes what happened and returns what is to
// be done. It has no goroutine, clock, socket or randomness, and the same
// events give the same actions. The shell (stor.Log) sends, waits and reports;
// the simulator and the model checker drive the same code.
//
// Invariants:
//
//  1. Committed is given for a position when W distinct indices of it were
//     accepted in this owner's epoch, and every lower position has been
//     committed before. Positions come out in order.
//  2. Every Send is answered by exactly one Replied; there is at most one
//     request of a position at a server at any time.
//  3. Every position that was published gets exactly one of Committed and
//     Failed, and after it one Release, when no request uses its shards any more.
//  4. After Dead nothing is sent.
//  5. The index a server holds is only ever replaced when another server has
//     accepted that same index in this epoch: distinct indices never decrease.
//
// A Machine is not safe for concurrent use. It keeps no slice of an event.
package appending
