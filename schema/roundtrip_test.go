package schema_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
	"pgregory.net/rapid"

	"tlog"
	"tlog/schema"
)

func genHash() *rapid.Generator[tlog.Hash] {
	return rapid.Custom(func(t *rapid.T) (h tlog.Hash) {
		copy(h[:], rapid.SliceOfN(rapid.Byte(), len(h), len(h)).Draw(t, "hash"))
		return h
	})
}

func genUUID() *rapid.Generator[tlog.UUID] {
	return rapid.Custom(func(t *rapid.T) (u tlog.UUID) {
		copy(u[:], rapid.SliceOfN(rapid.Byte(), len(u), len(u)).Draw(t, "uuid"))
		return u
	})
}

// draw is a value of an integer type.
func draw[T ~uint64](t *rapid.T, name string) T { return T(rapid.Uint64().Draw(t, name)) }

var genText = rapid.StringOfN(rapid.RuneFrom([]rune("abc äß€𝄞")), 0, 60, -1)

var genHello = rapid.Custom(func(t *rapid.T) schema.Hello {
	h := schema.Hello{
		Version:       schema.Version(rapid.SampledFrom([]uint32{0, uint32(schema.Version1), uint32(schema.Version2), 1<<32 - 1}).Draw(t, "version")),
		Vdisk:         genText.Draw(t, "vdisk"),
		FirstSequence: rapid.Uint64().Draw(t, "first"),
		ResetFirst:    rapid.Bool().Draw(t, "reset"),
	}
	if h.Version < schema.Version2 {
		return h
	}
	h.MinVersion = schema.Version(rapid.Uint32().Draw(t, "min"))
	h.DiskSize = rapid.Uint64().Draw(t, "size")
	h.BlockSize = rapid.Uint32().Draw(t, "block")
	h.Client = genUUID().Draw(t, "client")
	h.Generation = draw[tlog.Generation](t, "generation")
	h.Takeover = rapid.Bool().Draw(t, "takeover")
	h.Adopt = rapid.Bool().Draw(t, "adopt")
	h.LastFlushed = draw[tlog.Sequence](t, "flushed")
	h.Chain = genHash().Draw(t, "chain")
	if rapid.Bool().Draw(t, "origin") {
		h.Origin = tlog.Origin{Vdisk: genUUID().Draw(t, "vdisk"), Position: draw[tlog.Position](t, "position"), Digest: genHash().Draw(t, "digest")}
	}
	if n := rapid.IntRange(0, 3).Draw(t, "hashes"); n > 0 {
		h.Hashes = []tlog.HashAlgorithm{tlog.HashSHA256, 0, tlog.HashBlake2b}[:n]
	}
	return h
})

var genWelcome = rapid.Custom(func(t *rapid.T) schema.Welcome {
	w := schema.Welcome{
		Version: rapid.SampledFrom([]schema.Version{schema.Version1, schema.Version2}).Draw(t, "version"),
		Status:  tlog.HandshakeStatus(rapid.Int8().Draw(t, "status")),
	}
	if w.Version < schema.Version2 {
		return w
	}
	w.LastFlushed = draw[tlog.Sequence](t, "flushed")
	w.Chain = genHash().Draw(t, "chain")
	w.Generation = draw[tlog.Generation](t, "generation")
	w.Epoch = draw[tlog.Epoch](t, "epoch")
	w.LastTimestamp = rapid.Uint64().Draw(t, "time")
	w.CreditRecords = rapid.Uint32().Draw(t, "records")
	w.CreditBytes = rapid.Uint64().Draw(t, "bytes")
	w.Hash = tlog.HashAlgorithm(rapid.Uint8().Draw(t, "hash"))
	w.Vdisk = genUUID().Draw(t, "vdisk")
	w.DiskSize = rapid.Uint64().Draw(t, "size")
	w.BlockSize = rapid.Uint32().Draw(t, "block")
	w.Durability = genText.Draw(t, "durability")
	w.Message = genText.Draw(t, "message")
	return w
})

var genResponse = rapid.Custom(func(t *rapid.T) schema.Response {
	r := schema.Response{
		Status:        tlog.BlockStatus(rapid.Int8().Draw(t, "status")),
		UpTo:          draw[tlog.Sequence](t, "upTo"),
		Epoch:         draw[tlog.Epoch](t, "epoch"),
		Expected:      draw[tlog.Sequence](t, "expected"),
		CreditRecords: rapid.Uint32().Draw(t, "records"),
		CreditBytes:   rapid.Uint64().Draw(t, "bytes"),
		Message:       genText.Draw(t, "message"),
	}
	if rapid.Bool().Draw(t, "chained") {
		r.Chain = genHash().Draw(t, "chain")
	}
	if s := rapid.SliceOfN(rapid.Uint64(), 0, 5).Draw(t, "sequences"); len(s) > 0 {
		r.Sequences = s
	}
	return r
})

var genPrelude = rapid.Custom(func(t *rapid.T) schema.Prelude {
	return schema.Prelude{
		Vdisk:         tlog.VdiskID(rapid.StringMatching(`[A-Za-z0-9._-]{1,128}`).Draw(t, "vdisk")),
		Size:          rapid.Uint64().Draw(t, "size"),
		Timestamp:     rapid.Uint64().Draw(t, "time"),
		Chain:         genHash().Draw(t, "chain"),
		Generation:    draw[tlog.Generation](t, "generation"),
		Hash:          tlog.HashAlgorithm(rapid.Uint8().Draw(t, "hash")),
		Client:        genUUID().Draw(t, "client"),
		Base:          rapid.Uint64().Draw(t, "base"),
		First:         rapid.Uint64().Draw(t, "first"),
		Version1:      rapid.Bool().Draw(t, "version1"),
		LastTimestamp: rapid.Uint64().Draw(t, "last"),
	}
})

var genBlock = rapid.Custom(func(t *rapid.T) schema.Block {
	return schema.Block{
		Sequence:  rapid.Uint64().Draw(t, "sequence"),
		Index:     rapid.Int64().Draw(t, "index"),
		Hash:      genHash().Draw(t, "hash"),
		Data:      rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data"),
		Timestamp: rapid.Uint64().Draw(t, "time"),
		Operation: tlog.Operation(rapid.Uint8().Draw(t, "operation")),
	}
})

// genBatch makes batches that DecodeBatch accepts.
var genBatch = rapid.Custom(func(t *rapid.T) schema.Batch {
	b := schema.Batch{Chain: genHash().Draw(t, "chain")}
	seq := rapid.Uint64Range(1, 1<<64-100).Draw(t, "first")
	stamp := rapid.Uint64Range(0, 1<<63).Draw(t, "time")
	for i := range rapid.IntRange(1, 6).Draw(t, "records") {
		stamp += rapid.Uint64Range(0, 1<<40).Draw(t, "later")
		r := tlog.Record{
			Sequence:  tlog.Sequence(seq + uint64(i)),
			Timestamp: stamp,
			Group:     rapid.Uint64().Draw(t, "group"),
			Hash:      genHash().Draw(t, "hash"),
			Operation: rapid.SampledFrom([]tlog.Operation{tlog.OpWrite, tlog.OpTrim, tlog.OpZero, tlog.OpFlush, tlog.OpWatermark}).Draw(t, "operation"),
		}
		if r.Operation == tlog.OpWrite {
			r.Data = rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "data")
			r.Size = uint32(len(r.Data))
		} else if r.Operation < tlog.OpFlush {
			r.Size = rapid.Uint32Range(1, 1<<32-1).Draw(t, "size")
		}
		if r.Operation < tlog.OpFlush {
			r.Offset = rapid.Uint64Range(0, 1<<63-1-uint64(r.Size)).Draw(t, "offset")
		}
		b.Records = append(b.Records, r)
	}
	return b
})

func TestRoundTrip(t *testing.T) {
	check := func(t *rapid.T, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("\n got %+v, %v\nwant %+v", got, err, want)
		}
	}
	t.Run("hello", rapid.MakeCheck(func(t *rapid.T) {
		want := genHello.Draw(t, "hello")
		got, err := schema.DecodeHello(schema.AppendHello(nil, &want))
		check(t, got, want, err)
	}))
	t.Run("welcome", rapid.MakeCheck(func(t *rapid.T) {
		want := genWelcome.Draw(t, "welcome")
		got, err := schema.DecodeWelcome(schema.AppendWelcome(nil, &want))
		check(t, got, want, err)
	}))
	t.Run("response", rapid.MakeCheck(func(t *rapid.T) {
		want := genResponse.Draw(t, "response")
		got, err := schema.DecodeResponse(schema.AppendResponse(nil, schema.Version2, &want))
		check(t, got, want, err)
	}))
	t.Run("prelude", rapid.MakeCheck(func(t *rapid.T) {
		want := genPrelude.Draw(t, "prelude")
		got, err := schema.DecodePrelude(schema.AppendPrelude(nil, &want))
		check(t, got, want, err)
	}))
	t.Run("block", rapid.MakeCheck(func(t *rapid.T) {
		want := genBlock.Draw(t, "block")
		message := schema.AppendBlock(nil, &want)
		got, err := schema.DecodeBlock(message[1:])
		check(t, got, want, err)
	}))
	t.Run("command", rapid.MakeCheck(func(t *rapid.T) {
		typ, seq := schema.MessageType(rapid.Uint8().Draw(t, "type")), rapid.Uint64().Draw(t, "sequence")
		message := schema.AppendCommand(nil, typ, seq)
		gotType, gotSeq, err := schema.DecodeCommand(message[1:])
		check(t, []any{message[0], gotType, gotSeq}, []any{byte(typ), typ, seq}, err)
	}))
	t.Run("batch", rapid.MakeCheck(func(t *rapid.T) {
		want := genBatch.Draw(t, "batch")
		var got schema.Batch
		err := schema.DecodeBatch(schema.AppendBatch(nil, &want), &got)
		check(t, got, want, err)
	}))
}

// Encoders must append: what is in dst stays, what lies behind it in its array
// does not leak into the message.
func TestEncodersAppend(t *testing.T) {
	encoders := map[string]func(dst []byte) []byte{
		"hello": func(dst []byte) []byte {
			return schema.AppendHello(dst, &schema.Hello{Version: schema.Version2, Vdisk: "v", Hashes: []tlog.HashAlgorithm{1}})
		},
		"welcome": func(dst []byte) []byte {
			return schema.AppendWelcome(dst, &schema.Welcome{Version: schema.Version2, Message: "m"})
		},
		"response": func(dst []byte) []byte {
			return schema.AppendResponse(dst, schema.Version2, &schema.Response{Sequences: []uint64{1}, Message: "m"})
		},
		"response of version 1": func(dst []byte) []byte { return schema.AppendResponse(dst, schema.Version1, &schema.Response{}) },
		"command":               func(dst []byte) []byte { return schema.AppendCommand(dst, schema.MsgBye, 0) },
		"block":                 func(dst []byte) []byte { return schema.AppendBlock(dst, &schema.Block{Data: []byte("abc")}) },
		"prelude":               func(dst []byte) []byte { return schema.AppendPrelude(dst, &schema.Prelude{Vdisk: "v"}) },
		"batch": func(dst []byte) []byte {
			return schema.AppendBatch(dst, &schema.Batch{Records: []tlog.Record{{Data: []byte("abc")}, {}}})
		},
	}
	for name, encode := range encoders {
		fresh := encode(nil)
		dirty := bytes.Repeat([]byte{0xff}, 1024)
		if got := encode(dirty[:3]); !bytes.Equal(got[:3], dirty[:3]) || !bytes.Equal(got[3:], fresh) {
			t.Errorf("%s: a used buffer changes the message:\n got %x\nwant %x", name, got[3:], fresh)
		}
	}
}

func TestLongTextIsCut(t *testing.T) {
	w := schema.Welcome{Version: schema.Version2, Message: strings.Repeat("€", 1<<20), Durability: strings.Repeat("x", 1<<20)}
	frame := schema.AppendWelcome(nil, &w)
	got, err := schema.DecodeWelcome(frame)
	if err != nil {
		t.Fatal(err)
	}
	if got.Message != strings.Repeat("€", schema.MaxText/3) || len(got.Durability) != schema.MaxText {
		t.Errorf("%d and %d bytes arrived", len(got.Message), len(got.Durability))
	}
}

func TestMostSequences(t *testing.T) {
	r := schema.Response{Sequences: make([]uint64, schema.MaxSequences)}
	for i := range r.Sequences {
		r.Sequences[i] = uint64(i)
	}
	frame := schema.AppendResponse(nil, schema.Version1, &r)
	if got, err := schema.DecodeResponse(frame); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("the longest response does not come back: %d sequences, %v", len(got.Sequences), err)
	}
}

// The generated accessors of the library must see what we wrote.
func TestLibraryReadsOurs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := genBatch.Draw(t, "batch")
		msg, err := capnp.Unmarshal(schema.AppendBatch(nil, &b))
		if err != nil {
			t.Fatal(err)
		}
		m, err := schema.ReadRootTlogBatch(msg)
		if err != nil {
			t.Fatal(err)
		}
		if chain, err := m.Chain(); err != nil || !bytes.Equal(chain, b.Chain[:]) {
			t.Fatalf("chain: %x, %v", chain, err)
		}
		blocks, err := m.Blocks()
		if err != nil || blocks.Len() != len(b.Records) {
			t.Fatalf("%d blocks, %v; want %d", blocks.Len(), err, len(b.Records))
		}
		for i := range b.Records {
			if got := libraryRecord(t, blocks.At(i)); !reflect.DeepEqual(got, b.Records[i]) {
				t.Fatalf("record:\n got %+v\nwant %+v", got, b.Records[i])
			}
			if blocks.At(i).Index() != 0 {
				t.Fatal("index is set")
			}
		}
	})
}

func libraryRecord(t *rapid.T, m schema.TlogBlock) tlog.Record {
	hash, err := m.Hash()
	if err != nil || len(hash) != 32 {
		t.Fatalf("hash: %x, %v", hash, err)
	}
	data, err := m.Data()
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Record{
		Sequence: tlog.Sequence(m.Sequence()), Offset: m.Offset(), Size: m.Size(), Timestamp: m.Timestamp(),
		Operation: tlog.Operation(m.Operation()), Group: m.Group(), Hash: tlog.Hash(hash), Data: data,
	}
}
