// Package server takes the record streams of many vdisks over TCP or unix
// sockets and makes them durable: the protocol of docs/protocol.md in front,
// an aggregate.Pipeline over a stor.Log behind.
//
// What is decided about a vdisk is decided by internal/core/session; this
// package owns the goroutines, connections, timers and buffers around it.
//
//	conn: listen ─→ frame, hash check ─→ owner: session.Machine ─→ pipeline ─→ log
//	conn: speak  ←─ outbox ←──────────── owner ←────────────────── committed
//
// Invariants:
//
//  1. Nothing is acknowledged, and no handshake answered OK, but by an action of
//     the vdisk's machine.
//  2. The bytes of every record are charged to one budget before they are read,
//     and given back when they are sealed, which waits for memory in turn; when
//     the budget is used up, reading stops. No record is dropped for want of memory.
//  3. A peer that has not completed a handshake costs a few KiB; one that does
//     not read, or does not finish a message, is disconnected by a deadline.
//
// A vdisk is owned from the first handshake that names it: its log is taken over
// then. An idle owner costs a few KiB and no goroutine, and is let go of after a
// while.
//
// Concurrency: a connection has two goroutines. The machine and what it acts on
// are owned by the owner's mutex, which is held for bookkeeping and hand-over
// only: never during network, disk or hashing.
//
// Buffers: a payload has one owner at a time: the connection that reads it, the
// machine while it holds an early block, the pipeline until it has sealed it.
package server
