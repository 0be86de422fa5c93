package schema

import (
	"encoding/binary"

	"tlog"
)

// framing is what the head of a frame announces.
type framing struct {
	segments int
	header   int    // bytes of the segment table, padded
	total    uint64 // bytes of the whole frame
}

// tableSize is the length of the segment table that the first word announces.
func tableSize(first []byte) (segments, header int, err error) {
	n := binary.LittleEndian.Uint32(first)
	if n >= MaxSegments {
		return 0, 0, tlog.Protocolf("schema: frame: %d segments; the limit is %d", uint64(n)+1, MaxSegments)
	}
	return int(n) + 1, padded(4 + 4*(int(n)+1)), nil
}

// parseTable reads a whole segment table.
func parseTable(table []byte, segments int) framing {
	f := framing{segments: segments, header: len(table), total: uint64(len(table))}
	for i := range segments {
		f.total += wordSize * uint64(binary.LittleEndian.Uint32(table[4+4*i:]))
	}
	return f
}

// parseFrame reads the head of the frame at the start of b and checks that b
// holds all of it.
func parseFrame(b []byte) (framing, error) {
	if len(b) < headerSize {
		return framing{}, tlog.Protocolf("schema: frame: %d bytes, less than its header", len(b))
	}
	segments, header, err := tableSize(b)
	if err != nil {
		return framing{}, err
	}
	if len(b) < header {
		return framing{}, tlog.Protocolf("schema: frame: %d bytes, less than its header of %d", len(b), header)
	}
	f := parseTable(b[:header], segments)
	if f.total > uint64(len(b)) {
		return framing{}, tlog.Protocolf("schema: frame: %d bytes announced, %d there", f.total, len(b))
	}
	return f, nil
}

// SplitFrame cuts the first framed message off b, for stored payloads. Both
// results alias b.
func SplitFrame(b []byte) (frame, rest []byte, err error) {
	f, err := parseFrame(b)
	if err != nil {
		return nil, nil, err
	}
	return b[:f.total:f.total], b[f.total:], nil
}
