// Package tlog holds the words that every part of tlog shares: records and
// their sequence, positions and epochs of a vdisk's log, hashes, identifiers,
// the status codes of the wire protocol, the classes of errors, and limits.
//
// It has no behaviour beyond checking and encoding these values, and imports
// the standard library only. What the values promise is in docs/durability.md,
// their bytes are in docs/format.md and docs/protocol.md.
package tlog
