package schema

import (
	"encoding/binary"
	"slices"

	"tlog"
)

// DecodeBatch fills b from one whole frame. b.Records is reused if it has the
// capacity; the records' Data alias frame, which the caller must keep until it
// is done with them. At least one record; every one has passed Record.Check,
// sequences are consecutive, timestamps never decrease. After an error b is
// undefined.
//
// Hashes and the chain value are as received: the caller compares them.
func DecodeBatch(frame []byte, b *Batch) error {
	if len(frame) > tlog.MaxAggregation {
		return tlog.Protocolf("schema: batch: %d bytes; the limit is %d", len(frame), tlog.MaxAggregation)
	}
	if !canonicalBatch(frame, b) {
		if err := otherBatch(frame, b); err != nil {
			return malformed("batch", err)
		}
	}
	if len(b.Records) == 0 {
		return tlog.Protocolf("schema: batch: no records")
	}
	for i := range b.Records {
		r := &b.Records[i]
		if err := r.Check(); err != nil {
			return malformed("batch", err)
		}
		if i == 0 {
			continue
		}
		if prev := &b.Records[i-1]; r.Sequence != prev.Sequence+1 {
			return tlog.Protocolf("schema: batch: sequence %d after %d", r.Sequence, prev.Sequence)
		} else if r.Timestamp < prev.Timestamp {
			return tlog.Protocolf("schema: batch: record %d: timestamp below that of the record before", r.Sequence)
		}
	}
	return nil
}

// canonicalBatch fills b from a frame in the canonical layout. Any deviation,
// down to the reserved bytes and the padding, gives false: whoever gets true
// knows that AppendBatch would write these very bytes. The content of the
// records is not checked.
func canonicalBatch(frame []byte, b *Batch) bool {
	size := len(frame)
	le := binary.LittleEndian
	if size < minBatchSize || size%wordSize != 0 ||
		le.Uint64(frame) != uint64(size-headerSize)/wordSize<<32 ||
		le.Uint64(frame[batchRoot:]) != structPointer(0, 0, 2) ||
		le.Uint64(frame[batchChain:]) != chainPointer(size) {
		return false
	}
	n := int(le.Uint32(frame[batchTag:]) >> 2)
	if n > (size-minBatchSize)/(blockSize+hashSize) ||
		le.Uint64(frame[batchTag:]) != structPointer(n, blockData, blockPointers) ||
		le.Uint64(frame[batchBlocks:]) != blocksPointer(n) {
		return false
	}
	b.Records = slices.Grow(b.Records[:0], n)[:n]
	at := batchElems + n*blockSize
	for i := range b.Records {
		if at = canonicalBlock(frame, batchElems+i*blockSize, at, &b.Records[i]); at < 0 {
			return false
		}
	}
	if at != size-hashSize {
		return false
	}
	b.Chain = tlog.Hash(frame[at:])
	return true
}

// canonicalBlock fills r from the block at p whose hash is at at, and returns
// where the next one's is, or -1.
func canonicalBlock(frame []byte, p, at int, r *tlog.Record) int {
	le := binary.LittleEndian
	e := frame[p : p+blockSize]
	op := le.Uint64(e[offOperation:])
	data := le.Uint64(e[offData:])
	n := int(data >> 35)
	end := at + hashSize + padded(n)
	if end > len(frame)-hashSize || op&0xffffff00 != 0 || le.Uint64(e[offIndex:]) != 0 ||
		le.Uint64(e[offHash:]) != hashPointer(p, at) || data != dataPointer(p, at, n) {
		return -1
	}
	*r = tlog.Record{
		Sequence:  tlog.Sequence(le.Uint64(e[offSequence:])),
		Offset:    le.Uint64(e[offOffset:]),
		Size:      uint32(op >> 32),
		Timestamp: le.Uint64(e[offTimestamp:]),
		Operation: tlog.Operation(op),
		Group:     le.Uint64(e[offGroup:]),
		Hash:      tlog.Hash(frame[at:]),
	}
	if n == 0 {
		return end
	}
	from := at + hashSize
	r.Data = frame[from : from+n : from+n]
	for _, c := range frame[from+n : end] {
		if c != 0 {
			return -1
		}
	}
	return end
}

// otherBatch fills b from any valid encoding.
func otherBatch(frame []byte, b *Batch) error {
	root, err := open(frame, tlog.MaxAggregation)
	if err != nil {
		return err
	}
	m := TlogBatch(root)
	blocks, err := m.Blocks()
	if err != nil {
		return tlog.WithClass(tlog.Protocol, err)
	}
	n := blocks.Len()
	// A block has a sequence and a pointer to its hash at least; the
	// encoding allows elements without size.
	if n > len(frame)/(2*wordSize) {
		return tlog.Protocolf("%d blocks in %d bytes", n, len(frame))
	}
	var f fields
	chain, err := m.Chain()
	f.fixed(b.Chain[:], "chain", chain, err)
	if len(chain) == 0 {
		f.fail(tlog.Protocolf("no chain value"))
	}
	b.Records = slices.Grow(b.Records[:0], n)
	total := 0
	for i := 0; i < n && f.err == nil; i++ {
		b.Records = append(b.Records, f.record(blocks.At(i)))
		total += len(b.Records[i].Data)
	}
	// Several blocks may point to the same bytes: a small message that says
	// a lot. What is stored and credited goes by its length.
	if total > len(frame) {
		f.fail(tlog.Protocolf("blocks share their data"))
	}
	return f.err
}

func (f *fields) record(m TlogBlock) tlog.Record {
	r := tlog.Record{
		Sequence:  tlog.Sequence(m.Sequence()),
		Offset:    m.Offset(),
		Size:      m.Size(),
		Timestamp: m.Timestamp(),
		Operation: tlog.Operation(m.Operation()),
		Group:     m.Group(),
	}
	hash, err := m.Hash()
	f.fixed(r.Hash[:], "hash", hash, err)
	if len(hash) == 0 {
		f.fail(tlog.Protocolf("record %d: no hash", r.Sequence))
	}
	if r.Data, err = m.Data(); err != nil {
		f.fail(err)
	}
	return r
}
