package schema

import (
	"encoding/binary"

	"tlog"
)

// Commands and version-2 answers come one for each flush. As our encoders write
// them they are read in place; any other valid encoding goes through the library.

const (
	commandSize  = headerSize + wordSize*(1+commandData)
	responseBody = headerSize + wordSize                                 // where a response's data starts
	responseSize = responseBody + wordSize*(respData+respPointers)       // without a chain value
	responseEnd  = responseSize + hashSize                               // with one
	responsePtrs = responseBody + wordSize*respData                      // its pointers
	responseSkip = (responseSize - responsePtrs - 2*wordSize) / wordSize // from the one to the chain value
)

// canonicalCommand reads a command as AppendCommand writes it.
func canonicalCommand(frame []byte) (t MessageType, seq uint64, ok bool) {
	le := binary.LittleEndian
	if len(frame) != commandSize ||
		le.Uint64(frame) != (commandSize-headerSize)/wordSize<<32 ||
		le.Uint64(frame[headerSize:]) != structPointer(0, commandData, 0) {
		return 0, 0, false
	}
	kind := le.Uint64(frame[headerSize+wordSize:])
	return MessageType(kind), le.Uint64(frame[headerSize+2*wordSize:]), kind <= 0xff
}

// canonicalResponse reads a version-2 response without sequences and text as
// AppendResponse writes it.
func canonicalResponse(frame []byte, r *Response) bool {
	le := binary.LittleEndian
	size := len(frame)
	chain := uint64(0)
	switch size {
	case responseSize:
	case responseEnd:
		chain = listPointer(responseSkip, elemByte, hashSize)
	default:
		return false
	}
	if le.Uint64(frame) != uint64(size-headerSize)/wordSize<<32 ||
		le.Uint64(frame[headerSize:]) != structPointer(0, respData, respPointers) ||
		le.Uint64(frame[responsePtrs:]) != 0 || // sequences
		le.Uint64(frame[responsePtrs+wordSize:]) != chain ||
		le.Uint64(frame[responsePtrs+2*wordSize:]) != 0 { // message
		return false
	}
	d := frame[responseBody:]
	status := le.Uint32(d)
	*r = Response{
		Status:        tlog.BlockStatus(status),
		CreditRecords: le.Uint32(d[4:]),
		UpTo:          tlog.Sequence(le.Uint64(d[8:])),
		Epoch:         tlog.Epoch(le.Uint64(d[16:])),
		Expected:      tlog.Sequence(le.Uint64(d[24:])),
		CreditBytes:   le.Uint64(d[32:]),
	}
	if chain != 0 {
		r.Chain = tlog.Hash(frame[responseSize:])
	}
	return status <= 0xff
}
