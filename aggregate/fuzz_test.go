package aggregate_test

import (
	"testing"

	"github.com/klauspost/compress/s2"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/internal/alloctest"
)

// Whatever the payload of an envelope: no panic, and what is accepted is what
// the header says.
func FuzzDecode(f *testing.F) {
	d, s := small(f, 1, 0)
	plain := payloadOf(f, d, s)
	f.Add(plain, uint32(3), false)
	f.Add(plain, uint32(1<<32-1), false)
	f.Add(plain[:len(plain)-8], uint32(3), false)
	f.Add(s2.Encode(nil, plain), uint32(3), true)
	f.Fuzz(func(t *testing.T, payload []byte, count uint32, packed bool) {
		h := d.smallHeader(payload)
		h.Count, h.Last = count, tlog.Sequence(count)
		if count == 0 {
			h.Kind, h.LastTimestamp = crypto.KindBarrier, 0
		}
		plain := payload
		if packed {
			h.Compression, h.PlainLength = crypto.CompressS2, crypto.MaxPayload
			if n, err := s2.DecodedLen(payload); err == nil && n < 1<<20 {
				h.PlainLength = uint32(n)
			}
			var err error
			if plain, err = aggregate.Unpack(&h, payload); err != nil {
				return
			}
		}
		a := &aggregate.Aggregation{Header: h}
		var err error
		alloctest.Bound(t, len(plain), func() {
			*a = aggregate.Aggregation{Header: h}
			err = a.DecodePayload(plain)
		})
		if err != nil {
			return
		}
		if len(a.Records) != int(count) || a.Prelude.Size != uint64(count) {
			t.Fatalf("%d records of %d", len(a.Records), count)
		}
		chain := a.Prelude.Chain
		for i := range a.Records {
			r := &a.Records[i]
			if r.Check() != nil || r.Sequence != tlog.Sequence(i+1) || crypto.HashRecord(a.Prelude.Hash, r.Data) != r.Hash {
				t.Fatalf("record %d: %+v", i, r)
			}
			chain = tlog.ChainNext(chain, r)
		}
		if chain != a.Chain {
			t.Fatal("chain value")
		}
	})
}

// Whatever a holder of the key compressed, or claims to: as many bytes as the
// header says, or an error. The header's length is bounded, and it alone is
// allocated.
func FuzzUnpack(f *testing.F) {
	for _, plain := range [][]byte{nil, []byte("abc"), make([]byte, 100_000)} {
		f.Add(s2.Encode(nil, plain), uint32(len(plain)))
		f.Add(s2.EncodeBest(nil, plain), uint32(len(plain)+1))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, uint32(crypto.MaxPayload))
	f.Fuzz(func(t *testing.T, payload []byte, length uint32) {
		h := crypto.Header{Compression: crypto.CompressS2, PlainLength: length % (1 << 20)}
		alloctest.Bound(t, len(payload)+int(h.PlainLength), func() {
			plain, err := aggregate.Unpack(&h, payload)
			if err == nil && len(plain) != int(h.PlainLength) {
				t.Fatalf("%d bytes, the header says %d", len(plain), h.PlainLength)
			}
		})
	})
}
