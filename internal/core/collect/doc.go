// Package collect decides how the record stream of one vdisk becomes
// aggregations: what goes into which, when one is sealed, and in which order
// they are published and committed. Package aggregate is its shell.
//
// The machine sees sizes only. The shell keeps the things themselves in queues
// that it changes as the actions say. Invariants:
//
//  1. Items are sealed in the order in which they were added, each once.
//  2. Positions are published and committed in order, without a gap; one is
//     committed only after it and every lower one is durable.
//  3. At most InFlight positions are between Seal and Commit.
//  4. No data aggregation exceeds MaxPayload; a control item is alone.
//  5. After Fail nothing is sealed, published or committed any more.
//
// A Machine is not safe for concurrent use, has no clock (events carry the
// time) and does nothing but return actions.
package collect
