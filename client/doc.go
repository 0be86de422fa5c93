// Package client streams the records of one vdisk to a tlogserver.
//
// It is what a block layer links in to have every write logged: Append takes
// an operation into a bounded window and returns; Flush returns when everything
// appended before it is durable in the log. In between the package numbers,
// stamps, hashes and chains the records, sends them in batches, and after a lost
// connection or a restart of the server sends again what is not durable, to the
// same or the next server.
//
// What holds, whatever fails:
//
//   - A Flush that returned nil is durable: the server said so, and proved with
//     the chain value that it meant this history.
//   - The log gets the records 1, 2, 3 … in the order in which Append returned
//     their sequences, each once, or the client stops with an error.
//   - The window is bounded. When it is full Append waits, until its context
//     ends; nothing is dropped.
//   - After ErrFenced, ErrLogBehind, ErrDiverged, ErrDenied or ErrRefused nothing
//     more is sent, and every call fails with that error.
//
// What decides all this is the state machine of package internal/core/window;
// this package brings goroutines, connections and memory:
//
//	Append ─→ window ─→ send ─→ connection ─→ server
//	            ↑                               │
//	            └──────────── receive ←─────────┘
//	            └─→ notify ─→ OnFlushed
//
// One goroutine dials, with a back-off and round the list of servers, and
// receives; one sends, a system call for all that waits; one calls OnFlushed.
//
// # Concurrency
//
// A Client is safe for concurrent use. Calls of Append hash in parallel, and get
// their sequences in an order that agrees with the order of calls that do not
// overlap. Callbacks are called without a lock held and may call Last, Flushed,
// Session and Stats; they must not wait for a flush, and must return.
//
// # Slices
//
// Append copies data before it returns. AppendShared does not: the slice belongs
// to the client until OnFlushed has reached the sequence, or Close has returned.
//
// The messages are described in docs/protocol.md, what a flush promises in
// docs/durability.md.
package client
