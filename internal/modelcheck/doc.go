// Package modelcheck explores every schedule, within bounds, of owners and
// shard servers of one vdisk's log, and looks in every state for a broken
// promise.
//
// The rules are not written down a second time: an owner in a state is a
// takeover.Machine and an appending.Machine, the ones that tlogserver runs. What
// is modelled is what they talk to: shard servers by the contract of
// stor.Server, a network that delays, loses, repeats and reorders, owners that crash or are
// paused, servers that go down, lose everything, or hold a shard that rotted.
//
// Exploration is breadth first, so that what it finds is as short as can be;
// of a pool with too many states the second half goes along random paths
// instead, as far as they lead. A state is kept as its 64-bit hash and the move that led to it; a trace is
// made by doing the moves again. In every state whose shard servers are new, a reader
// (takeover.Machine as a survey) is run against all servers, and against every
// R of them: it must find every position that was committed, with its digest.
//
// Bounds, beside those of Config:
//
//   - An owner reads the epochs of all servers in one step, and is told at once
//     that an adopted position decodes.
//   - A read, and a fence, is answered in the step that carries it out; nothing
//     else of the same owner can happen between, so a later answer changes
//     nothing. With Ordered the reads of a round reach servers in order, with
//     AtOnce all in one step.
//   - An owner that waited for a server finds it when it is there.
//   - An owner that was refused with a higher epoch tries once more.
//   - Two servers never differ but in their number, yet they are not exchanged
//     for one another: placement goes by number, so that would not be sound.
//     States are told apart only by what can matter: messages are a multiset, an owner that is gone leaves only
//     its requests, a request that every later epoch refuses is forgotten.
//
// Each rule on which safety rests has a Rule: with Config.Broken it is broken,
// from outside, by what the machines are told or by what a server does, and a
// violation must be found. The cores have no hook for it.
//
// The package is not safe for concurrent use.
package modelcheck
