// Package schema is the codec of tlog's messages, on the wire and inside
// stored aggregations: Cap'n Proto structs in the standard unpacked stream
// framing. What the messages mean is in docs/protocol.md.
//
// Three invariants hold:
//
//  1. Encoders write one segment in one fixed layout: the same value is always
//     the same bytes. Version-1 messages have version-1 struct sizes.
//  2. Decoders take any bytes: they check lengths before they allocate, never
//     allocate more than a small multiple of the frame they were given, never
//     panic, and accept every valid encoding of at most MaxSegments segments,
//     of older (shorter) and newer (longer) structs alike.
//  3. Reader allocates for a frame only after its announced length has passed
//     the caller's limit, through the caller's alloc.
//
// Encoders append to dst and keep nothing, except BatchVectors, whose result
// aliases the records' data. Decoded batches and blocks alias the frame; every
// other decoded value is a copy.
//
// Nothing here is synchronised. Functions may be called concurrently on
// different buffers, and decoders on the same frame; a Reader has one user.
package schema
