// Package stor keeps the logs of vdisks on a pool of shard servers: it cuts
// nothing and encrypts nothing, it makes positions durable, finds them again,
// and decides who may append.
//
//   - Init and Open deal with the pool's manifest and put servers in slots.
//   - Pool.Takeover makes the caller the owner of a vdisk's log: a Log.
//   - Log.Publish appends positions, in order, several in flight.
//   - Pool.Survey finds a log without touching it: a View.
//   - View.Read puts a position together from any k good shards.
//
// Invariants:
//
//  1. Publish acknowledges a position when W distinct shard indices of it and
//     of every position before it were accepted in this owner's epoch.
//  2. A position that was acknowledged is found by every later takeover and
//     survey that gets R answers, or they fail; it is never taken for absent.
//  3. A server that was wiped, replaced or mixed up does not vote.
//
// The decisions are those of internal/core/appending and internal/core/takeover,
// pure state machines; this package owns the goroutines, timers and requests:
//
//	Publish ─→ Log ─→ appending.Machine ─→ Send ─→ agent (a goroutine a server) ─→ Server.Append
//	            ↑                                                                      │
//	            └───────────────── Replied, Late, Due, Probed ←────────────────────────┘
//
// An idle Log has no goroutine. All methods are safe for concurrent use except
// where they say otherwise. Callbacks are called without a lock held, must not
// block, and may call back. docs/durability.md says what is promised, and what
// is done on each refusal.
//
// # Errors
//
// ErrEmpty: the pool is not initialised. ErrConfig: flags, manifest or the
// wiring of servers disagree, and trying again cannot help. Class
// tlog.Unavailable: too few servers answer or may vote. Class tlog.Corrupt:
// all answer, and too few shards are undamaged. Class tlog.Fatal: this owner
// is finished; take over again (ErrFenced: another one did).
package stor
