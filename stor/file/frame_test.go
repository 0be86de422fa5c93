package file

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"

	"tlog"
)

func sealHeader(b []byte, seed uint32) {
	binary.LittleEndian.PutUint32(b[124:], crc32.Update(seed, castagnoli, b[:124]))
}

func sealSegment(b []byte) {
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
}

func drawHeader(t *rapid.T) header {
	h := header{
		kind: byte(rapid.IntRange(1, kindLast).Draw(t, "kind")), index: rapid.Byte().Draw(t, "index"),
		lsn: rapid.Uint64Min(1).Draw(t, "lsn"), position: tlog.Position(rapid.Uint64().Draw(t, "position")),
		epoch: tlog.Epoch(rapid.Uint64().Draw(t, "epoch")), commit: tlog.Position(rapid.Uint64().Draw(t, "commit")),
		length: rapid.Uint32Max(maxData).Draw(t, "length"), dataCRC: rapid.Uint32().Draw(t, "crc"),
	}
	h.durable = rapid.Uint64Max(h.lsn-1).Draw(t, "durable")
	for _, b := range [][]byte{h.vdisk[:], h.owner[:], h.digest[:]} {
		copy(b, rapid.SliceOfN(rapid.Byte(), len(b), len(b)).Draw(t, "bytes"))
	}
	return h
}

// TestHeader writes and reads headers, and changes every byte of them.
func TestHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, seed := drawHeader(t), rapid.Uint32().Draw(t, "seed")
		var b [frameHeaderSize]byte
		want.encode(b[:], seed)
		var got header
		if !got.decode(b[:], seed) || got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if got.decode(b[:], seed+1) {
			t.Fatal("valid in another segment")
		}
		for i := range b {
			b[i] ^= 0x10
			if got.decode(b[:], seed) {
				t.Fatalf("valid with byte %d changed", i)
			}
			b[i] ^= 0x10
			if got.decode(b[:i], seed) {
				t.Fatalf("valid with %d bytes", i)
			}
		}
	})
}

// TestHeaderLimits has headers with a right checksum and impossible fields.
func TestHeaderLimits(t *testing.T) {
	for name, h := range map[string]header{
		"too long":       {kind: kindShard, lsn: 2, length: maxData + 1},
		"durable before": {kind: kindShard, lsn: 2, durable: 2},
	} {
		var b [frameHeaderSize]byte
		h.encode(b[:], 0)
		if new(header).decode(b[:], 0) {
			t.Errorf("%s: valid", name)
		}
	}
}

func TestSegmentHeader(t *testing.T) {
	want := segmentHeader{number: 7, first: 1 << 40, store: tlog.UUID{1, 2, 3}}
	b := want.encode()
	for _, off := range []int{0, segmentCopy} {
		var got segmentHeader
		if v := got.decode(b[off:]); v != formatVersion || got != want {
			t.Fatalf("copy at %d: got %+v, version %d", off, got, v)
		}
	}
	for i := range segmentFields {
		b[i] ^= 1
		if new(segmentHeader).decode(b) != 0 || new(segmentHeader).decode(b[:i]) != 0 {
			t.Fatalf("valid with byte %d changed", i)
		}
		b[i] ^= 1
	}
}
