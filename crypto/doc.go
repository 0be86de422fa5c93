// Package crypto is the cryptographic envelope of stored aggregations, and the
// keys behind it.
//
// An aggregation is sealed into n = k+m stored shards, each
//
//	head ‖ index (1 byte) ‖ 7 zero bytes ‖ shard body
//
// with the same head in all of them. The head's layout is above the codec in
// header.go and, with what is covered by what, in docs/format.md.
//
// Invariants:
//
//  1. A key encrypts one payload, ever. Each sealing draws a fresh salt of 32
//     bytes and derives AES key, MAC key and commitment from data key, salt,
//     vdisk and position; so the AEAD's nonce may be, and is, constant. Neither
//     key nor nonce follows from the position alone: after a takeover the same
//     position is sealed again with other content. The one exception is the key
//     of a vdisk's index (IndexCipher), which seals its frames under random
//     nonces: it derives from the data key by a label of its own.
//  2. Without a key anyone can tell which shard is damaged (its digest is in
//     the head) and whether positions follow one another (each head names the
//     chain digest of the one before). With the key nothing is accepted that a
//     holder of the key did not write for that very vdisk and position. Peeker
//     alone authenticates nothing: who uses it has the hash of what it expects.
//  3. A length read from outside is checked against its limit before anything
//     is allocated for it.
//  4. Keys do not print: every formatting of a DataKey or Keyring is redacted.
//
// Concurrency: Keyring and DataKey are immutable. A Sealed belongs to one
// goroutine until Chain has returned; after that Shard may be called from any.
// Checking and opening share nothing.
//
// Slices: Seal does not keep its payload. What Sealed.Shard returned is valid
// until Release. CheckShard and CheckHead keep, and their result aliases, what
// they are given. Open decrypts in place.
package crypto
