package schema

import (
	"encoding/binary"

	"tlog"
)

// AppendBlock appends the type byte MsgBlock and a framed TlogBlock of version-1 size.
func AppendBlock(dst []byte, k *Block) []byte {
	b := newBuilder(append(dst, byte(MsgBlock)), blockData1, blockPointers1)
	b.u64(0, k.Sequence)
	b.u64(8, uint64(k.Index))
	b.u64(16, k.Timestamp)
	b.u8(24, uint8(k.Operation))
	b.bytes(0, k.Hash[:])
	b.bytes(1, k.Data)
	return b.end()
}

// DecodeBlock decodes a framed TlogBlock of version 1. Data aliases frame.
func DecodeBlock(frame []byte) (Block, error) {
	var b Block
	if !plainBlock(frame, &b) {
		if err := otherBlock(frame, &b); err != nil {
			return Block{}, malformed("block", err)
		}
	}
	if len(b.Data) > tlog.MaxRecordData {
		return Block{}, tlog.Protocolf("schema: block: %d bytes of data; the limit is %d", len(b.Data), tlog.MaxRecordData)
	}
	return b, nil
}

// plainBlock fills b from the layout that AppendBlock and the clients of the
// reference system write: hash, then data, nothing else.
func plainBlock(frame []byte, b *Block) bool {
	const (
		root  = headerSize + wordSize
		ptrs  = root + wordSize*blockData1
		fixed = ptrs + 2*wordSize + hashSize
	)
	le := binary.LittleEndian
	if len(frame) < fixed || len(frame) > MaxBlock || len(frame)%wordSize != 0 ||
		le.Uint64(frame) != uint64(len(frame)-headerSize)/wordSize<<32 ||
		le.Uint64(frame[headerSize:]) != structPointer(0, blockData1, blockPointers1) ||
		le.Uint64(frame[ptrs:]) != listPointer(1, elemByte, hashSize) {
		return false
	}
	data := le.Uint64(frame[ptrs+wordSize:])
	n := int(data >> 35)
	if fixed+padded(n) != len(frame) || n > 0 && data != listPointer(hashSize/wordSize, elemByte, n) || n == 0 && data != 0 {
		return false
	}
	*b = Block{
		Sequence:  le.Uint64(frame[root:]),
		Index:     int64(le.Uint64(frame[root+8:])),
		Timestamp: le.Uint64(frame[root+16:]),
		Operation: tlog.Operation(frame[root+24]),
		Hash:      tlog.Hash(frame[fixed-hashSize:]),
		Data:      frame[fixed : fixed+n : fixed+n],
	}
	return true
}

// otherBlock fills b from any valid encoding.
func otherBlock(frame []byte, b *Block) error {
	root, err := open(frame, MaxBlock)
	if err != nil {
		return err
	}
	m := TlogBlock(root)
	*b = Block{
		Sequence:  m.Sequence(),
		Index:     m.Index(),
		Timestamp: m.Timestamp(),
		Operation: tlog.Operation(m.Operation()),
	}
	var f fields
	hash, err := m.Hash()
	f.fixed(b.Hash[:], "hash", hash, err)
	if b.Data, err = m.Data(); err != nil {
		f.fail(err)
	} else if len(b.Data) > 0 && len(hash) == 0 {
		f.fail(tlog.Protocolf("data without hash"))
	}
	return f.err
}
