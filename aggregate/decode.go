package aggregate

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/klauspost/compress/s2"

	"tlog"
	"tlog/crypto"
	"tlog/internal/reuse"
	"tlog/schema"
)

// Aggregation is a decoded position.
type Aggregation struct {
	Header  crypto.Header
	Digest  tlog.Hash
	Prelude schema.Prelude
	Records []tlog.Record
	Chain   tlog.Hash // after the last record

	plain []byte // the payload, unpacked; what DataAt counts in
}

// DataAt is where the data of a record of a.Records begins in the payload, in
// bytes. It is −1 where the payload was compressed, or has no such bytes in one
// piece: then the record cannot be read by itself (crypto.DataKey.Peeker).
func (a *Aggregation) DataAt(r *tlog.Record) int {
	if a.Header.Compression != crypto.CompressNone || len(r.Data) == 0 {
		return -1
	}
	// The data is part of the payload's memory, unless the encoding was odd.
	at := uintptr(unsafe.Pointer(unsafe.SliceData(r.Data))) - uintptr(unsafe.Pointer(unsafe.SliceData(a.plain)))
	if at >= uintptr(len(a.plain)) || len(r.Data) > len(a.plain)-int(at) {
		return -1
	}
	return int(at)
}

// Decoder decodes one aggregation after the other in the same memory: what
// Decode returns is valid until the next call. The zero value is ready; it is
// not safe for concurrent use.
type Decoder struct {
	plain   []byte // of compressed payloads
	records []tlog.Record
}

// Size is about how many bytes are kept.
func (d *Decoder) Size() int { return cap(d.plain) + cap(d.records)*128 }

// Decode is the function of that name, in d's memory.
func (d *Decoder) Decode(key *crypto.DataKey, vdisk tlog.UUID, pos tlog.Position, head, data []byte) (*Aggregation, error) {
	reuse.Poison(d.plain)
	s, err := crypto.CheckHead(head, vdisk, pos)
	if err != nil {
		return nil, err
	}
	payload, err := crypto.Open(key, s, data)
	if err != nil {
		return nil, err
	}
	a := &Aggregation{Header: s.Header, Digest: s.Digest}
	plain, err := d.unpack(&s.Header, payload)
	if err == nil {
		a.Records = d.records[:0]
		a.plain = plain
		err = a.decode(plain)
		d.records = a.Records
	}
	if err != nil {
		return nil, tlog.Corruptf("aggregate: position %d of vdisk %v: %w", pos, vdisk, err)
	}
	return a, nil
}

// Decode opens a stored aggregation: head is any shard's head, data the joined
// data shards, which are overwritten, and aliased by the records unless the
// payload was compressed. Verified are the envelope, that header and content
// are of one another, every record's hash and the chain values inside; not
// what connects it with other positions: the caller compares Header.Prev, and
// Prelude.Chain with the Chain before. Errors: crypto.ErrWrongKey,
// crypto.ErrVersion, or class tlog.Corrupt.
func Decode(key *crypto.DataKey, vdisk tlog.UUID, pos tlog.Position, head, data []byte) (*Aggregation, error) {
	return new(Decoder).Decode(key, vdisk, pos, head, data)
}

// unpack decompresses payload to exactly the length that h states.
func (d *Decoder) unpack(h *crypto.Header, payload []byte) ([]byte, error) {
	if h.Compression == crypto.CompressNone {
		return payload, nil
	}
	n, err := s2.DecodedLen(payload)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if n != int(h.PlainLength) {
		return nil, fmt.Errorf("decompress: %d bytes, header says %d", n, h.PlainLength)
	}
	if cap(d.plain) < n {
		d.plain = make([]byte, n)
	}
	plain, err := s2.Decode(d.plain[:n], payload)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return plain, nil
}

// decode reads the payload and compares it with the header.
func (a *Aggregation) decode(plain []byte) error {
	frame, rest, err := schema.SplitFrame(plain)
	if err != nil {
		return err
	}
	if a.Prelude, err = schema.DecodePrelude(frame); err != nil {
		return err
	}
	if err := a.checkPrelude(); err != nil {
		return err
	}
	a.Chain = a.Prelude.Chain
	if a.Header.Count == 0 {
		if len(rest) > 0 {
			return fmt.Errorf("%d bytes after the prelude of a control aggregation", len(rest))
		}
		return nil
	}
	return a.decodeBatches(rest)
}

func (a *Aggregation) checkPrelude() error {
	h, p := &a.Header, &a.Prelude
	switch {
	case p.Size != uint64(h.Count):
		return fmt.Errorf("prelude of %d records, header of %d", p.Size, h.Count)
	case p.Timestamp != h.FirstTimestamp:
		return fmt.Errorf("prelude's timestamp is %d, the header's %d", p.Timestamp, h.FirstTimestamp)
	case p.LastTimestamp > h.FirstTimestamp || h.Count == 0 && p.LastTimestamp != h.FirstTimestamp:
		return fmt.Errorf("timestamp %d after %d", h.FirstTimestamp, p.LastTimestamp)
	case h.Count > 0 && !crypto.Supported(p.Hash):
		return fmt.Errorf("record hash algorithm %d", p.Hash)
	case h.Genesis != nil && h.Genesis.Name != p.Vdisk:
		return fmt.Errorf("vdisk %s in the genesis of %s", p.Vdisk, h.Genesis.Name)
	case h.Last == 0 && p.Chain != tlog.ChainStart(p.Vdisk):
		return errors.New("chain of an empty history")
	}
	return nil
}

// minRecordSize is less than any record takes in a batch: its hash alone is
// 32 bytes. It bounds what is allocated on the header's word.
const minRecordSize = 32

func (a *Aggregation) decodeBatches(rest []byte) error {
	h := &a.Header
	a.Records = slices.Grow(a.Records[:0], min(int(h.Count), len(rest)/minRecordSize))
	clock := a.Prelude.LastTimestamp
	for len(rest) > 0 {
		var frame []byte
		var err error
		if frame, rest, err = schema.SplitFrame(rest); err != nil {
			return err
		}
		n := len(a.Records)
		b := schema.Batch{Records: a.Records[n:]} // decoded in place if it fits
		if err := schema.DecodeBatch(frame, &b); err != nil {
			return err
		}
		if n+len(b.Records) > int(h.Count) {
			return fmt.Errorf("more than %d records", h.Count)
		}
		a.Records = append(a.Records, b.Records...)
		if err := a.verify(a.Records[n:], h.First+tlog.Sequence(n), clock); err != nil {
			return err
		}
		if b.Chain != a.Chain {
			return fmt.Errorf("chain value after sequence %d", h.First+tlog.Sequence(len(a.Records)-1))
		}
		clock = a.Records[len(a.Records)-1].Timestamp
	}
	if len(a.Records) != int(h.Count) {
		return fmt.Errorf("%d records, header says %d", len(a.Records), h.Count)
	}
	if first := a.Records[0].Timestamp; first != h.FirstTimestamp || clock != h.LastTimestamp {
		return fmt.Errorf("timestamps %d to %d, header says %d to %d", first, clock, h.FirstTimestamp, h.LastTimestamp)
	}
	return nil
}

// verify checks one batch's records and moves the chain; DecodeBatch has
// checked that sequences are consecutive and timestamps in order.
func (a *Aggregation) verify(records []tlog.Record, first tlog.Sequence, clock uint64) error {
	if records[0].Sequence != first {
		return fmt.Errorf("sequence %d in place of %d", records[0].Sequence, first)
	}
	if records[0].Timestamp < clock {
		return fmt.Errorf("timestamp of sequence %d is below that of the record before", first)
	}
	for i := range records {
		r := &records[i]
		if crypto.HashRecord(a.Prelude.Hash, r.Data) != r.Hash {
			return fmt.Errorf("data of sequence %d does not have its hash", r.Sequence)
		}
		a.Chain = tlog.ChainNext(a.Chain, r)
	}
	return nil
}

// Next is the Head that follows a decoded aggregation of the vdisk called name.
func (a *Aggregation) Next(name tlog.VdiskID) Head {
	h, p := &a.Header, &a.Prelude
	return Head{
		Vdisk: name, UUID: h.Vdisk, Position: h.Position, Digest: a.Digest,
		Last: h.Last, Chain: a.Chain, Timestamp: h.LastTimestamp,
		Generation: p.Generation, Client: p.Client, Hash: p.Hash,
		Base: p.Base, First: p.First, Version1: p.Version1, K: int(h.K), M: int(h.M),
	}
}
