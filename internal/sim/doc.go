// Package sim runs the decision cores of clients, servers and stores in a
// simulated world, from a seed, and asserts the promises of docs/durability.md
// all the way.
//
// What decides is the code of the product: internal/core/window, session,
// collect, appending, takeover and repair. Around each is a shell that takes the steps
// of the real one (client, server, aggregate, stor) with virtual time in place of
// goroutines, timers and sockets. Shard servers are the model of
// internal/sim/store, which is compared with a real Redis; aggregations are a
// model, too: all shards hold the whole content, a SHA-256 over it stands for
// envelope and chain digest, and k distinct good ones are needed to use it.
//
// # A run
//
// The seed draws a pool, limits, a load, and which faults there are and how
// often: messages between server and store lost, late by up to 25 s, executed
// twice, executed without an answer, without their data; connections reset or
// half-open; stores that crash and keep any part of what was not synced, pause,
// lag, refuse (full, replica, loading, denied, error); servers killed, paused
// beyond every time-out and woken, shut down, cut from some of the stores; power
// loss of all at once; clients killed and started again, paused, their batches
// repeated, cut otherwise, left out; clocks set by hours; second clients, with and
// without takeover; bit flips, lost and swapped values, wiped stores, and
// in the end stores rolled back to an old copy: no more of them than an
// acknowledgement covers.
//
// From a stream of its own the seed draws what was added later (extra): script
// caches that go cold, so that a request by a script's name has NOSCRIPT for an
// answer and is sent once more with the text; owners that repair and scrub in
// their epoch, beside clients and faults; and an operator who replaces wiped
// stores (a fresh cookie, the next manifest, joining until everything is
// repaired), and may be killed or cut off between any two steps. When a scrub
// says that everything is whole, and the stores say so too, what was lost
// counts no more, and others may be lost. A seed that draws none of it, and any
// seed given to RunPlain, runs as it did before these were there.
//
// After each phase the faults stop, and within minutes
// of virtual time everything must be durable; then, where owners repair, every
// position must be back at n good indices.
//
// What is checked is in package check; besides, at every commit and takeover,
// that no position is committed twice and none is missed, and, about every
// second, the log is restored as it would be if the power failed at that moment and
// as many stores as are covered never came back.
//
// All of a run happens in one goroutine, and nothing depends on map order, so a
// seed gives the same trace each time. Runs share nothing.
//
// What is not simulated: version-1 clients; `tlogctl repair` of logs that nobody
// owns; two changes of the manifest at once whose requests stay in the network
// beyond the life of their sender; stores put back to an old copy before the end
// of a run; and the real formats.
package sim
