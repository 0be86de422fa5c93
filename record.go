package tlog

import (
	"encoding/binary"
	"fmt"
)

// Sequence numbers the records of one vdisk: 1, 2, 3 … without gap or repeat.
// Zero means "none".
type Sequence uint64

// Position numbers the aggregations of one vdisk's log: 1 is the genesis.
// Zero means "none".
type Position uint64

// Epoch fences servers: of two servers that claim a vdisk the one with the
// higher epoch owns its log. Zero means "none".
type Epoch uint64

// Generation fences clients of one vdisk in the same way.
type Generation uint64

// Limits of a record, in bytes.
const (
	// MaxRecordData is the most data one write record carries.
	MaxRecordData = 4 << 20
	// MaxZeroSize is the longest extent of one trim or write-zeroes record.
	MaxZeroSize = 1<<32 - 1
	// MaxAggregation is the most plain payload one aggregation holds.
	MaxAggregation = 16 << 20
	// DefaultBlockSize is the block size of a vdisk that names none, and of
	// every version-1 client.
	DefaultBlockSize = 4096
)

// Operation is what a record does to the extent it names.
type Operation uint8

const (
	// OpWrite sets the extent to the record's data (version 1: "set").
	OpWrite Operation = 1
	// OpTrim discards the extent, which then reads as zeroes (version 1: "delete").
	OpTrim Operation = 2
	// OpZero writes zeroes to the extent.
	OpZero Operation = 3
	// OpFlush marks a completed guest FLUSH or FUA. Its extent is empty.
	OpFlush Operation = 4
	// OpWatermark changes nothing: it proves that the log of a disk of a consistency
	// group has everything that the disk acknowledged until the watermark's
	// timestamp. Its extent is empty.
	OpWatermark Operation = 5
)

// String returns the operation's name as the tools print it.
func (o Operation) String() string {
	switch o {
	case OpWrite:
		return "write"
	case OpTrim:
		return "trim"
	case OpZero:
		return "zero"
	case OpFlush:
		return "flush"
	case OpWatermark:
		return "watermark"
	}
	return fmt.Sprintf("operation(%d)", uint8(o))
}

// Record is one sequenced operation on a vdisk.
type Record struct {
	Sequence  Sequence
	Offset    uint64 // bytes from the start of the disk
	Size      uint32 // bytes; len(Data) of a write, 0 of a flush mark
	Timestamp uint64 // nanoseconds since 1970 UTC; never decreases in a log
	Operation Operation
	Group     uint64 // consistency-group stamp; 0 is none
	Hash      Hash   // of Data, by the log's HashAlgorithm; of no bytes if there is no data
	Data      []byte // of a write only
}

// End is the first byte after the record's extent.
func (r *Record) End() uint64 { return r.Offset + uint64(r.Size) }

// Check reports what makes a record unacceptable whatever the log: an unknown
// operation, a size that is zero, above its limit or not that of the data, or
// an extent that leaves the 63 bits of a byte offset.
func (r *Record) Check() error {
	switch r.Operation {
	case OpWrite:
		if r.Size == 0 || r.Size > MaxRecordData || int(r.Size) != len(r.Data) {
			return Protocolf("tlog: record %d: write of %d bytes with %d bytes of data (limit %d)", r.Sequence, r.Size, len(r.Data), MaxRecordData)
		}
	case OpTrim, OpZero:
		if r.Size == 0 || len(r.Data) != 0 {
			return Protocolf("tlog: record %d: %v of %d bytes with %d bytes of data", r.Sequence, r.Operation, r.Size, len(r.Data))
		}
	case OpFlush, OpWatermark:
		if r.Size != 0 || len(r.Data) != 0 || r.Offset != 0 {
			return Protocolf("tlog: record %d: %v with an extent or data", r.Sequence, r.Operation)
		}
	default:
		return Protocolf("tlog: record %d: unknown operation %d", r.Sequence, uint8(r.Operation))
	}
	if r.Sequence == 0 {
		return Protocolf("tlog: record without sequence")
	}
	if r.Offset > 1<<63-1-uint64(r.Size) {
		return Protocolf("tlog: record %d: offset %d out of range", r.Sequence, r.Offset)
	}
	return nil
}

// RecordHeaderSize is the length of a record's canonical header in bytes.
const RecordHeaderSize = 40

// AppendHeader appends the canonical header that the chain value covers:
//
//	off size field
//	  0    8 sequence
//	  8    8 offset
//	 16    8 timestamp
//	 24    8 group
//	 32    4 size
//	 36    1 operation
//	 37    3 zero
//
// all little-endian.
func (r *Record) AppendHeader(dst []byte) []byte {
	var h [RecordHeaderSize]byte
	binary.LittleEndian.PutUint64(h[0:], uint64(r.Sequence))
	binary.LittleEndian.PutUint64(h[8:], r.Offset)
	binary.LittleEndian.PutUint64(h[16:], r.Timestamp)
	binary.LittleEndian.PutUint64(h[24:], r.Group)
	binary.LittleEndian.PutUint32(h[32:], r.Size)
	h[36] = byte(r.Operation)
	return append(dst, h[:]...)
}
