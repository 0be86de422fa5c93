// Package redis keeps shards on an unmodified Redis, 7.0 or later, through
// redigo: one Server is one shard server of a pool.
//
// What is stored under which key, and what the three scripts do, is in
// docs/format-redis.md. Two invariants hold:
//
//  1. Whatever changes a vdisk's log is one script, which checks the identity
//     of the server, the owner and the position before its first write.
//  2. A nil error says that Redis answered after its fsync: every append and
//     every fence writes something, also when it repeats an earlier one, so its
//     answer waits for the same fsync as the first.
//
// # Connections
//
// Appends share one connection, which is pipelined: a shard goes ahead of its
// script by a plain SET to a temporary key, both in one system call with
// whatever else is waiting. Everything else uses a few other connections, so
// that no read waits behind shards.
//
//	Append ─→ queue ─→ write ─→ (Redis) ─→ read ─→ done
//	            ↑                            │ NOSCRIPT: once more, with the script's text
//	            └────────────────────────────┘
//	                   watch: closes a connection that owes an answer for too long
//	                   readmit: looks at the server's settings every minute
//
// A connection that fails takes with it everything that was asked on it, with
// an unknown outcome, and everything that waited behind; the next request makes
// a new one, at most as often as the back-off allows: until then requests fail
// at once with the reason. Every new connection is admitted before it is used:
// a server whose settings would lose acknowledged shards is refused.
//
// # Slices
//
// AppendRequest's Head and Body are written to the socket from where they are,
// and not touched any more once done was called. What Shard returns is the
// caller's.
//
// A peer is not trusted to be a Redis: replies are bounded before redigo
// allocates anything for them.
package redis
