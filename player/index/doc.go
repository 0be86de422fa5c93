// Package index keeps, in one file for each vdisk, what the records of a log
// were, without their data: which extent each one named, when it came, and in
// which position it lies. With it a moment is found and a disk of the past
// mapped without reading positions that the moment does not need.
//
// An index is derived from the log: it may be deleted at any time, and is built
// again by reading the log once. These invariants hold:
//
//  1. What an index says is sealed under a key that derives from the vdisk's
//     data key. A byte changed is an error of class tlog.Corrupt.
//  2. Its positions are a chain: each frame continues, by chain digest, sequence
//     and time, the one before. The digest of its last position therefore stands
//     for all of it, and a caller that compares it with the log's has compared all.
//  3. A frame that was not written whole is cut off when the file is opened.
//
// A File has one process that writes to it at a time, by a lock of the file;
// the lock can be shared with readers afterwards, and who opens a file that has
// readers gets a copy of its own. A File is not safe for
// concurrent use.
//
// # Format
//
// Frames, one after the other. All numbers are little-endian.
//
//	off size field
//	  0    4 magic "TLGI"
//	  4    4 version 1
//	  8   16 vdisk UUID
//	 24    8 first position
//	 32    4 positions
//	 36    4 records
//	 40    8 first sequence
//	 48    8 first time: of the first record; without records, of the last before
//	 56    8 last time
//	 64   32 chain digest of the position before the first; zero before position 1
//	 96   32 chain digest of the last position
//	128   12 nonce
//	140    4 length of the body that follows, tag included
//
// The body is sealed with crypto.DataKey.IndexCipher, the frame's 144 bytes its
// additional data, and inside compressed with S2 as one block:
//
//	each position:
//	  32 chain digest
//	  32 salt
//	   4 records
//	   4 stored length, in bytes
//	   2 bytes of a stored shard before its body
//	   1 k; 0: its records cannot be read by themselves
//	   1 record hash algorithm
//	   1 unit: sizes and offsets below are multiples of 1 << unit
//	7 × 4 lengths of the seven columns, which follow in this order:
//	     operations, a byte each
//	     sizes, uvarint
//	     offsets, signed varint: from the end of the record before; none of flush marks
//	     times, uvarint: from the record before; the first from the frame's first time
//	     group stamps, signed varint: from the record before; the first from zero
//	     places in the payload, signed varint: from the end of the record before
//	     sums, the first 16 bytes of record hashes
//
// The last two columns have the writes of those positions whose k is not 0: what
// it takes to read such a record by itself and to know that it is the one.
package index
