package schema_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	"capnproto.org/go/capnp/v3"

	"tlog"
	"tlog/internal/alloctest"
	"tlog/schema"
)

// decoder is one of the package's, behind one signature.
type decoder struct {
	name   string
	decode func(frame []byte) (any, error)
	frames [][]byte // valid ones
}

func decoders() []decoder {
	batch := sample()
	hello := schema.Hello{
		Version: schema.Version2, Vdisk: "vm-17.root", Client: tlog.UUID{1}, Generation: 3, LastFlushed: 9,
		Chain: tlog.Hash{2}, Hashes: []tlog.HashAlgorithm{tlog.HashBlake2b, tlog.HashSHA256},
	}
	welcome := schema.Welcome{Version: schema.Version2, Status: tlog.HandshakeOK, Vdisk: tlog.UUID{4}, Durability: "all of them", Message: "none"}
	response := schema.Response{Status: tlog.StatusFlushOK, UpTo: 9, Chain: tlog.Hash{5}, Message: "m", Sequences: []uint64{1, 2}}
	prelude := schema.Prelude{Vdisk: "vm-17.root", Size: 3, Chain: tlog.Hash{6}, Client: tlog.UUID{7}, Version1: true}
	block := schema.AppendBlock(nil, &schema.Block{Sequence: 1, Hash: tlog.Hash{8}, Data: []byte("data"), Operation: tlog.OpWrite})[1:]
	canonical := schema.AppendBatch(nil, &batch)
	return []decoder{
		{"hello", func(f []byte) (any, error) { return schema.DecodeHello(f) },
			[][]byte{schema.AppendHello(nil, &hello), schema.AppendHello(nil, &schema.Hello{Version: schema.Version1, Vdisk: "v"})}},
		{"welcome", func(f []byte) (any, error) { return schema.DecodeWelcome(f) },
			[][]byte{schema.AppendWelcome(nil, &welcome), schema.AppendWelcome(nil, &schema.Welcome{Version: schema.Version1})}},
		{"response", func(f []byte) (any, error) { return schema.DecodeResponse(f) },
			[][]byte{schema.AppendResponse(nil, schema.Version2, &response), schema.AppendResponse(nil, schema.Version1, &response)}},
		{"command", func(f []byte) (any, error) {
			typ, seq, err := schema.DecodeCommand(f)
			return [2]uint64{uint64(typ), seq}, err
		}, [][]byte{schema.AppendCommand(nil, schema.MsgForceFlush, 7)[1:]}},
		{"block", func(f []byte) (any, error) { return schema.DecodeBlock(f) }, [][]byte{block, twoSegments(block, 0)}},
		{"batch", func(f []byte) (any, error) {
			var b schema.Batch
			err := schema.DecodeBatch(f, &b)
			return b, err
		}, [][]byte{canonical, twoSegments(canonical, 1)}},
		{"prelude", func(f []byte) (any, error) { return schema.DecodePrelude(f) }, [][]byte{schema.AppendPrelude(nil, &prelude)}},
	}
}

// forDecoders runs f for every valid frame of every decoder.
func forDecoders(t *testing.T, f func(t *testing.T, d decoder, frame []byte)) {
	for _, d := range decoders() {
		for i, frame := range d.frames {
			t.Run(fmt.Sprintf("%s/%d", d.name, i), func(t *testing.T) {
				if _, err := d.decode(frame); err != nil {
					t.Fatalf("the valid frame: %v", err)
				}
				f(t, d, frame)
			})
		}
	}
}

func TestEveryTruncation(t *testing.T) {
	forDecoders(t, func(t *testing.T, d decoder, frame []byte) {
		for n := range len(frame) {
			if _, err := d.decode(frame[:n:n]); tlog.ClassOf(err) != tlog.Protocol {
				t.Errorf("cut to %d bytes: %v", n, err)
			}
			if n < 8 || n%8 != 0 || frame[0] != 0 {
				continue
			}
			// A frame that says itself that it is shorter: it may be valid,
			// as a struct of an older peer, but must not be read beyond.
			cut := slices.Clone(frame[:n:n])
			binary.LittleEndian.PutUint32(cut[4:], uint32(n/8-1))
			if _, err := d.decode(cut); err != nil && tlog.ClassOf(err) != tlog.Protocol {
				t.Errorf("shortened to %d bytes: %v", n, err)
			}
		}
	})
}

func TestEveryBitFlip(t *testing.T) {
	forDecoders(t, func(t *testing.T, d decoder, frame []byte) {
		want, _ := d.decode(frame)
		changed := 0
		for i := range 8 * len(frame) {
			f := slices.Clone(frame)
			f[i/8] ^= 1 << (i % 8)
			got, err := d.decode(f)
			if err != nil && tlog.ClassOf(err) != tlog.Protocol {
				t.Fatalf("bit %d: error of class %d: %v", i, tlog.ClassOf(err), err)
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				changed++
			}
		}
		if changed < 64 {
			t.Errorf("only %d of %d flips were seen", changed, 8*len(frame))
		}
	})
}

// Peers of other times have structs of other sizes.
func TestStructSizes(t *testing.T) {
	forDecoders(t, func(t *testing.T, d decoder, frame []byte) {
		want, _ := d.decode(frame)
		msg, err := capnp.Unmarshal(frame)
		if err != nil {
			t.Fatal(err)
		}
		root, err := msg.Root()
		if err != nil {
			t.Fatal(err)
		}
		own := root.Struct().Size()
		for data := range capnp.Size(12) {
			for pointers := range uint16(9) {
				size := capnp.ObjectSize{DataSize: 8 * data, PointerCount: pointers}
				got, err := d.decode(resized(t, root.Struct(), size))
				switch {
				case err != nil && tlog.ClassOf(err) != tlog.Protocol:
					t.Errorf("%v: %v", size, err)
				case size.DataSize >= own.DataSize && pointers >= own.PointerCount && (err != nil || !reflect.DeepEqual(got, want)):
					t.Errorf("%v:\n got %+v, %v\nwant %+v", size, got, err, want)
				}
			}
		}
	})
}

func resized(t *testing.T, root capnp.Struct, size capnp.ObjectSize) []byte {
	t.Helper()
	msg, seg, err := capnp.NewMessage(capnp.SingleSegment(nil))
	if err != nil {
		t.Fatal(err)
	}
	s, err := capnp.NewRootStruct(seg, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CopyFrom(root); err != nil {
		t.Fatal(err)
	}
	out, err := msg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Lists may have elements without size, pointers may lead to the same bytes
// again and again: a few bytes that say that they are gigabytes.
func TestLengthBombs(t *testing.T) {
	const most = 1<<29 - 1
	root := func(data, pointers uint64, body ...uint64) []byte {
		words := append([]uint64{data<<32 | pointers<<48}, body...)
		out := binary.LittleEndian.AppendUint64(nil, uint64(len(words))<<32)
		for _, w := range words {
			out = binary.LittleEndian.AppendUint64(out, w)
		}
		return out
	}
	list := func(skip, elem, count uint64) uint64 { return skip<<2 | 1 | elem<<32 | count<<35 }
	zeroes := func(n int) []uint64 { return make([]uint64, n) }
	bombs := map[string][]byte{
		"list of nothing":         root(0, 2, list(1, 0, most), 0),
		"structs of nothing":      root(0, 2, list(1, 7, 0), 0, most<<2),
		"list of bits":            root(0, 2, list(1, 1, most), 0),
		"list of bytes":           root(0, 1, list(0, 2, most)),
		"list of words":           root(0, 1, list(0, 5, most)),
		"list of words of words":  root(0, 2, list(1, 6, most), 0),
		"hashes of nothing":       root(6, 4, append(append([]uint64{uint64(schema.Version2)}, zeroes(5)...), 0, 0, 0, list(0, 0, most))...),
		"a struct of everything":  root(0xffff, 0xffff),
		"segments of everything":  binary.LittleEndian.AppendUint64(nil, 15|0xffffffff<<32),
		"itself":                  root(0, 2, 0xfffffffc, 0xfffffffc),
		"far pointer to itself":   binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 1<<32), 2),
		"far pointer to far away": binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 1<<32), 2|0xfffffff8|77<<32),
		"a capability":            root(0, 2, 3, 3),
	}
	for name, frame := range bombs {
		for _, d := range decoders() {
			var err error
			got := alloctest.Least(func() { _, err = d.decode(frame) })
			if got > 64<<10 {
				t.Errorf("%s as %s: %d bytes allocated for %d received (%v)", name, d.name, got, len(frame), err)
			}
			if err != nil && tlog.ClassOf(err) != tlog.Protocol {
				t.Errorf("%s as %s: %v", name, d.name, err)
			}
		}
	}
}

// The most a frame can make a decoder allocate is a small multiple of its size.
func TestAllocationIsBounded(t *testing.T) {
	marks := schema.Batch{}
	for i := range 20000 {
		marks.Records = append(marks.Records, tlog.Record{Sequence: tlog.Sequence(i + 1), Operation: tlog.OpFlush})
	}
	frame := schema.AppendBatch(nil, &marks)
	for name, frame := range map[string][]byte{"canonical": frame, "other": twoSegments(frame, 0)} {
		var err error
		got := alloctest.Least(func() { err = schema.DecodeBatch(frame, &schema.Batch{}) })
		if err != nil || got > 4*uint64(len(frame)) {
			t.Errorf("%s: %d bytes allocated for %d received (%v)", name, got, len(frame), err)
		}
	}
}

func TestNoRoot(t *testing.T) {
	for name, frame := range map[string][]byte{
		"nothing":      unhex(t, "00000000 00000000"),
		"null pointer": unhex(t, "00000000 01000000 0000000000000000"),
		"a list":       unhex(t, "00000000 02000000 0100000042000000 6162636465666768"),
	} {
		for _, d := range decoders() {
			if v, err := d.decode(frame); tlog.ClassOf(err) != tlog.Protocol {
				t.Errorf("%s as %s: %+v, %v", name, d.name, v, err)
			}
		}
	}
}

// What a version-1 client of later days has in the words of our version-2
// fields is not for us.
func TestVersion1FieldsOnly(t *testing.T) {
	h := schema.Hello{Version: schema.Version2, Vdisk: "v", FirstSequence: 5, Takeover: true, Client: tlog.UUID{1}, Generation: 3}
	frame := schema.AppendHello(nil, &h)
	binary.LittleEndian.PutUint32(frame[16:], uint32(schema.Version1))
	got, err := schema.DecodeHello(frame)
	if want := (schema.Hello{Version: schema.Version1, Vdisk: "v", FirstSequence: 5}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	w := schema.AppendWelcome(nil, &schema.Welcome{Version: schema.Version2, Status: 1, Epoch: 7, Message: "m"})
	binary.LittleEndian.PutUint32(w[16:], uint32(schema.Version1))
	if got, err := schema.DecodeWelcome(w); err != nil || got != (schema.Welcome{Version: schema.Version1, Status: 1}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestBlockDataLimit(t *testing.T) {
	k := schema.Block{Operation: tlog.OpWrite, Data: make([]byte, tlog.MaxRecordData)}
	if _, err := schema.DecodeBlock(schema.AppendBlock(nil, &k)[1:]); err != nil {
		t.Errorf("the longest block: %v", err)
	}
	k.Data = make([]byte, tlog.MaxRecordData+1)
	if _, err := schema.DecodeBlock(schema.AppendBlock(nil, &k)[1:]); tlog.ClassOf(err) != tlog.Protocol {
		t.Errorf("one byte more: %v", err)
	}
}

func TestSplitFrame(t *testing.T) {
	b := sample()
	first, second := schema.AppendPrelude(nil, &schema.Prelude{Vdisk: "v"}), schema.AppendBatch(nil, &b)
	frame, rest, err := schema.SplitFrame(append(slices.Clone(first), second...))
	if err != nil || !slices.Equal(frame, first) || !slices.Equal(rest, second) || cap(frame) != len(frame) {
		t.Errorf("first: %d bytes and %d, %v", len(frame), len(rest), err)
	}
	frame, rest, err = schema.SplitFrame(second)
	if err != nil || !slices.Equal(frame, second) || len(rest) != 0 {
		t.Errorf("second: %d bytes and %d, %v", len(frame), len(rest), err)
	}
	for n := range len(first) {
		if _, _, err := schema.SplitFrame(first[:n]); tlog.ClassOf(err) != tlog.Protocol || errors.Is(err, io.EOF) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}
