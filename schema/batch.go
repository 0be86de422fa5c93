package schema

import (
	"encoding/binary"
	"slices"

	"tlog"
)

// The canonical layout of a batch of n records; docs/protocol.md has the table
// and says what is in each word.
//
//	off        size
//	  0           8  framing
//	  8           8  root pointer
//	 16           8  pointer to blocks
//	 24           8  pointer to chain
//	 32           8  tag of blocks
//	 40        64·n  blocks
//	 40+64·n      …  of each block in order: hash, data, zeroes to a whole word
//	 len−32      32  chain
const (
	batchRoot    = 8
	batchBlocks  = 16
	batchChain   = 24
	batchTag     = 32
	batchElems   = 40
	blockSize    = wordSize * (blockData + blockPointers)
	hashSize     = len(tlog.Hash{})
	minBatchSize = batchElems + hashSize
)

// Offsets in a block of a batch.
const (
	offSequence  = 0
	offIndex     = 8
	offTimestamp = 16
	offOperation = 24 // and size, 4 bytes behind it
	offOffset    = 32
	offGroup     = 40
	offHash      = 48
	offData      = 56
)

// BatchSize is the length of the framed batch of these records, in bytes and
// without a type byte. MaxBatch bounds what a session may send.
func BatchSize(records []tlog.Record) int {
	n := minBatchSize
	for i := range records {
		n += RecordSize(len(records[i].Data))
	}
	return n
}

// RecordSize is what a record with so many bytes of data adds to BatchSize.
func RecordSize(data int) int { return blockSize + hashSize + padded(data) }

// AppendBatch appends the framed TlogBatch without a type byte, in the canonical layout.
func AppendBatch(dst []byte, b *Batch) []byte {
	size := BatchSize(b.Records)
	dst = appendBatchHead(slices.Grow(dst, size), b.Records, size)
	for i := range b.Records {
		r := &b.Records[i]
		dst = append(dst, r.Hash[:]...)
		dst = append(dst, r.Data...)
		dst = extend(dst, padded(len(r.Data))-len(r.Data))
	}
	return append(dst, b.Chain[:]...)
}

// BatchVectors is AppendBatch for writev, without copying data: it appends to
// vecs slices whose concatenation is the whole message, type byte MsgBatch and
// frame. The slices alias scratch, which it extends by all that is not data,
// and the records' data. Nothing of these may change until the message has
// been written. Several messages may share one vecs and one scratch:
//
//	vecs, scratch = vecs[:0], scratch[:0]
//	for … {
//		vecs, scratch = schema.BatchVectors(vecs, scratch, &batch)
//	}
//	buffers := net.Buffers(vecs)
//	_, err := buffers.WriteTo(conn)
//
// WriteTo consumes its own copy of the slice header and nils the elements of vecs.
func BatchVectors(vecs [][]byte, scratch []byte, b *Batch) ([][]byte, []byte) {
	// Room for everything first: a scratch that moved half-way would leave
	// slices of the old one behind, which is right but wastes it.
	scratch = slices.Grow(scratch, 1+minBatchSize+len(b.Records)*(blockSize+hashSize+wordSize-1))
	from := len(scratch)
	scratch = append(scratch, byte(MsgBatch))
	scratch = appendBatchHead(scratch, b.Records, BatchSize(b.Records))
	for i := range b.Records {
		r := &b.Records[i]
		scratch = append(scratch, r.Hash[:]...)
		if len(r.Data) == 0 {
			continue
		}
		vecs = append(vecs, scratch[from:len(scratch):len(scratch)], r.Data)
		from = len(scratch)
		scratch = extend(scratch, padded(len(r.Data))-len(r.Data))
	}
	scratch = append(scratch, b.Chain[:]...)
	return append(vecs, scratch[from:len(scratch):len(scratch)]), scratch
}

// appendBatchHead appends the first 40+64·n bytes of a frame of size bytes.
func appendBatchHead(dst []byte, records []tlog.Record, size int) []byte {
	n := len(records)
	start := len(dst)
	dst = slices.Grow(dst, batchElems+n*blockSize)[:start+batchElems+n*blockSize]
	f := dst[start:]
	le := binary.LittleEndian
	le.PutUint64(f, uint64(size-headerSize)/wordSize<<32)
	le.PutUint64(f[batchRoot:], structPointer(0, 0, 2))
	le.PutUint64(f[batchBlocks:], blocksPointer(n))
	le.PutUint64(f[batchChain:], chainPointer(size))
	le.PutUint64(f[batchTag:], structPointer(n, blockData, blockPointers))
	at := len(f) // of the next record's hash
	for i := range records {
		r := &records[i]
		p := batchElems + i*blockSize
		e := f[p : p+blockSize]
		le.PutUint64(e[offSequence:], uint64(r.Sequence))
		le.PutUint64(e[offIndex:], 0)
		le.PutUint64(e[offTimestamp:], r.Timestamp)
		le.PutUint64(e[offOperation:], uint64(r.Operation)|uint64(r.Size)<<32)
		le.PutUint64(e[offOffset:], r.Offset)
		le.PutUint64(e[offGroup:], r.Group)
		le.PutUint64(e[offHash:], hashPointer(p, at))
		le.PutUint64(e[offData:], dataPointer(p, at, len(r.Data)))
		at += hashSize + padded(len(r.Data))
	}
	return dst
}

func blocksPointer(n int) uint64 {
	return listPointer(1, elemComposite, n*(blockData+blockPointers))
}

// chainPointer leads to the last words of a frame of size bytes.
func chainPointer(size int) uint64 {
	return listPointer((size-hashSize-batchChain)/wordSize-1, elemByte, hashSize)
}

// hashPointer is that of the block at p in the frame whose hash is at at.
func hashPointer(p, at int) uint64 {
	return listPointer((at-p-offHash)/wordSize-1, elemByte, hashSize)
}

// dataPointer likewise; the data is behind the hash.
func dataPointer(p, at, n int) uint64 {
	if n == 0 {
		return 0
	}
	return listPointer((at+hashSize-p-offData)/wordSize-1, elemByte, n)
}
