// Package takeover decides how a vdisk's log is found on its shard servers:
// with fencing, for a server that is to own it (docs/durability.md has the
// steps), and without, for a reader that surveys it.
//
// It is a pure state machine: Step takes an answer and returns what to ask
// next. It has no goroutine, clock, socket, randomness or map order. The shell
// in package stor asks servers, checks shards, decodes and appends; the
// simulator and the model checker drive the same code.
//
// What it promises, given that the servers keep their contract:
//
//  1. A position that was committed is found, with the digest it was committed
//     with, or the machine halts. It is never taken for absent.
//  2. With Fence nothing is decided before R servers accepted an epoch that is
//     above every epoch they held; without it nothing is changed anywhere.
//  3. The positions found are a chain: each one's Prev is the digest before it.
//  4. Exactly one of Done and Halt is given, and nothing after it.
//
// Work and memory are bounded: metas are read a page at a time from the
// highest commit hint on, shards one position at a time, and no more than a
// window of adopted positions waits to be committed again.
//
// A Machine is not safe for concurrent use. It keeps no slice of an event.
package takeover
