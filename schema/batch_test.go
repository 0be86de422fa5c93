package schema_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
	"pgregory.net/rapid"

	"tlog"
	"tlog/schema"
)

// sample is a batch with and without data, short and long.
func sample() schema.Batch {
	h := func(c byte) (h tlog.Hash) {
		copy(h[:], bytes.Repeat([]byte{c}, len(h)))
		return h
	}
	return schema.Batch{
		Records: []tlog.Record{
			{Sequence: 7, Offset: 0x1000, Size: 3, Timestamp: 0x1112131415161718, Operation: tlog.OpWrite, Hash: h(0xa1), Data: []byte("abc")},
			{Sequence: 8, Offset: 0x2000, Size: 0xffffffff, Timestamp: 0x1112131415161719, Operation: tlog.OpTrim, Group: 5, Hash: h(0xa2)},
			{Sequence: 9, Offset: 0x3000, Size: 8, Timestamp: 0x1112131415161719, Operation: tlog.OpWrite, Hash: h(0xa3), Data: []byte("01234567")},
		},
		Chain: h(0xcc),
	}
}

// The table of docs/protocol.md, filled in by hand.
func TestBatchLayout(t *testing.T) {
	want := unhex(t, `
		00000000 2e000000   0000000000000200
		05000000 c7000000   9d000000 02010000
		0c000000 06000200
		0700000000000000 0000000000000000 1817161514131211 0100000003000000 0010000000000000 0000000000000000 45000000 02010000 51000000 1a000000
		0800000000000000 0000000000000000 1917161514131211 02000000ffffffff 0020000000000000 0500000000000000 39000000 02010000 0000000000000000
		0900000000000000 0000000000000000 1917161514131211 0100000008000000 0030000000000000 0000000000000000 29000000 02010000 35000000 42000000
		`+strings.Repeat("a1", 32)+`6162630000000000
		`+strings.Repeat("a2", 32)+`
		`+strings.Repeat("a3", 32)+`3031323334353637
		`+strings.Repeat("cc", 32))
	b := sample()
	if got := schema.AppendBatch(nil, &b); !bytes.Equal(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
	if got := schema.BatchSize(b.Records); got != len(want) {
		t.Errorf("BatchSize %d, want %d", got, len(want))
	}
	var got schema.Batch
	if err := schema.DecodeBatch(want, &got); err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("decoded:\n got %+v, %v\nwant %+v", got, err, b)
	}
	if !schema.CanonicalBatch(want) {
		t.Error("not taken for canonical")
	}
}

func TestBatchVectors(t *testing.T) {
	var vecs [][]byte
	var scratch []byte
	rapid.Check(t, func(t *rapid.T) {
		vecs, scratch = vecs[:0], scratch[:0]
		var want []byte
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			b := genBatch.Draw(t, "batch")
			want = schema.AppendBatch(append(want, byte(schema.MsgBatch)), &b)
			from := len(vecs)
			vecs, scratch = schema.BatchVectors(vecs, scratch, &b)
			checkShared(t, vecs[from:], &b)
		}
		if got := bytes.Join(vecs, nil); !bytes.Equal(got, want) {
			t.Fatalf("\n got %x\nwant %x", got, want)
		}
	})
}

// checkShared fails if a record's data was copied.
func checkShared(t *rapid.T, vecs [][]byte, b *schema.Batch) {
	for i := range b.Records {
		data := b.Records[i].Data
		if len(data) > 0 && !slices.ContainsFunc(vecs, func(v []byte) bool { return &v[0] == &data[0] && len(v) == len(data) }) {
			t.Fatalf("record %d is not among the vectors", i)
		}
	}
}

func TestDecodeBatchAliases(t *testing.T) {
	b := sample()
	canonical := schema.AppendBatch(nil, &b)
	for name, frame := range map[string][]byte{"canonical": canonical, "two segments": twoSegments(canonical, 0)} {
		var got schema.Batch
		if err := schema.DecodeBatch(frame, &got); err != nil {
			t.Fatal(err)
		}
		frame[bytes.Index(frame, []byte("abc"))] = 'X'
		if data := got.Records[0].Data; string(data) != "Xbc" || cap(data) != 3 && name == "canonical" {
			t.Errorf("%s: data %q of capacity %d does not alias the frame", name, data, cap(data))
		}
	}
}

// Whatever deviates from the canonical layout must not be taken for it, even
// where the meaning is the same.
func TestCanonicalIsExact(t *testing.T) {
	b := sample()
	frame := schema.AppendBatch(nil, &b)
	rapid.Check(t, func(t *rapid.T) {
		f := slices.Clone(frame)
		f[rapid.IntRange(0, len(f)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		var got schema.Batch
		if schema.CanonicalBatch(f) && schema.DecodeBatch(f, &got) == nil {
			if again := schema.AppendBatch(nil, &got); !bytes.Equal(again, f) {
				t.Fatalf("accepted as canonical:\n%x\nbut written as\n%x", f, again)
			}
		}
	})
	padding := slices.Clone(frame)
	padding[bytes.Index(padding, []byte("abc"))+3] = 1
	if schema.CanonicalBatch(padding) {
		t.Error("canonical with bytes in the padding")
	}
	var got schema.Batch
	if err := schema.DecodeBatch(padding, &got); err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("valid, but refused or misread: %+v, %v", got, err)
	}
}

// twoSegments moves a message to a second segment, behind a far pointer, and
// adds empty segments.
func twoSegments(frame []byte, more int) []byte {
	n := 2 + more
	out := make([]byte, (4+4*n+7)/8*8)
	out[0], out[4] = byte(n-1), 1
	copy(out[8:], frame[4:8])
	out = append(out, 2, 0, 0, 0, 1, 0, 0, 0) // far pointer to word 0 of segment 1
	return append(out, frame[8:]...)
}

// libraryBatch encodes b with the library, with blocks of the given size.
func libraryBatch(t testing.TB, b *schema.Batch, size capnp.ObjectSize) []byte {
	t.Helper()
	msg, seg, err := capnp.NewMessage(capnp.SingleSegment(nil))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(err)
	m, err := schema.NewRootTlogBatch(seg)
	check(err)
	check(m.SetChain(b.Chain[:]))
	list, err := capnp.NewCompositeList(seg, size, int32(len(b.Records)))
	check(err)
	for i, r := range b.Records {
		k := schema.TlogBlock(list.Struct(i))
		k.SetSequence(uint64(r.Sequence))
		k.SetTimestamp(r.Timestamp)
		k.SetOperation(uint8(r.Operation))
		if size.DataSize >= 48 {
			k.SetOffset(r.Offset)
			k.SetSize(r.Size)
			k.SetGroup(r.Group)
		}
		check(k.SetData(r.Data))
		check(k.SetHash(r.Hash[:]))
	}
	check(m.SetBlocks(schema.TlogBlock_List(list)))
	out, err := msg.Marshal()
	check(err)
	return out
}

func TestOtherEncodings(t *testing.T) {
	b := sample()
	marks := schema.Batch{Chain: b.Chain}
	for i, r := range b.Records {
		marks.Records = append(marks.Records, tlog.Record{Sequence: tlog.Sequence(i + 1), Timestamp: r.Timestamp, Operation: tlog.OpFlush, Hash: r.Hash})
	}
	canonical := schema.AppendBatch(nil, &b)
	for _, c := range []struct {
		name  string
		frame []byte
		want  schema.Batch
	}{
		{"library", libraryBatch(t, &b, capnp.ObjectSize{DataSize: 48, PointerCount: 2}), b},
		{"longer blocks", libraryBatch(t, &b, capnp.ObjectSize{DataSize: 80, PointerCount: 5}), b},
		{"shorter blocks", libraryBatch(t, &marks, capnp.ObjectSize{DataSize: 32, PointerCount: 2}), marks},
		{"two segments", twoSegments(canonical, 0), b},
		{"most segments", twoSegments(canonical, schema.MaxSegments-2), b},
	} {
		t.Run(c.name, func(t *testing.T) {
			if schema.CanonicalBatch(c.frame) {
				t.Error("taken for canonical")
			}
			got := schema.Batch{Records: make([]tlog.Record, 1, 8)}
			for i := range 8 { // reused records must not shine through
				got.Records[:8][i] = tlog.Record{Group: 99, Data: []byte("old")}
			}
			err := schema.DecodeBatch(c.frame, &got)
			for i := range got.Records {
				if len(got.Records[i].Data) == 0 {
					got.Records[i].Data = nil
				}
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("\n got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestRefusedBatches(t *testing.T) {
	edit := func(f func(b *schema.Batch)) []byte {
		b := sample()
		f(&b)
		return schema.AppendBatch(nil, &b)
	}
	b := sample()
	shared := schema.AppendBatch(nil, &schema.Batch{Records: []tlog.Record{
		{Sequence: 1, Size: 640, Operation: tlog.OpWrite, Data: make([]byte, 640)},
		{Sequence: 2, Size: 640, Operation: tlog.OpWrite, Data: make([]byte, 640)},
	}})
	// The second block's data becomes the first one's, and its own is cut off.
	shared = sharedData(shared, 640)
	for name, c := range map[string]struct {
		frame []byte
		want  string
	}{
		"empty":             {schema.AppendBatch(nil, &schema.Batch{}), "no records"},
		"gap":               {edit(func(b *schema.Batch) { b.Records[1].Sequence = 9 }), "sequence 9 after 7"},
		"repeat":            {edit(func(b *schema.Batch) { b.Records[1].Sequence = 7 }), "sequence 7 after 7"},
		"time":              {edit(func(b *schema.Batch) { b.Records[1].Timestamp = 1 }), "record 8: timestamp below"},
		"sequence 0":        {edit(func(b *schema.Batch) { b.Records = b.Records[:1]; b.Records[0].Sequence = 0 }), "without sequence"},
		"size":              {edit(func(b *schema.Batch) { b.Records[0].Size = 4 }), "write of 4 bytes with 3"},
		"trim with data":    {edit(func(b *schema.Batch) { b.Records[0].Operation = tlog.OpTrim }), "record 7"},
		"operation":         {edit(func(b *schema.Batch) { b.Records[0].Operation = 77 }), "unknown operation 77"},
		"offset":            {edit(func(b *schema.Batch) { b.Records[0].Offset = 1<<63 - 1 }), "out of range"},
		"wraps to 0":        {edit(func(b *schema.Batch) { b.Records[0].Sequence, b.Records[1].Sequence = 1<<64-1, 0 }), "without sequence"},
		"no chain":          {libraryWithout(t, &b, "chain"), "no chain value"},
		"no hash":           {libraryWithout(t, &b, "hash"), "no hash"},
		"shared data":       {shared, "share their data"},
		"too many segments": {twoSegments(schema.AppendBatch(nil, &b), schema.MaxSegments-1), "17 segments"},
		"bytes behind":      {append(schema.AppendBatch(nil, &b), make([]byte, 8)...), "8 bytes behind the frame"},
		"too long":          {make([]byte, tlog.MaxAggregation+1), "the limit is"},
	} {
		var got schema.Batch
		err := schema.DecodeBatch(c.frame, &got)
		if err == nil || !strings.Contains(err.Error(), c.want) || tlog.ClassOf(err) != tlog.Protocol {
			t.Errorf("%s: error %v of class %d, want …%s… of class Protocol", name, err, tlog.ClassOf(err), c.want)
		}
	}
}

// sharedData points the second of two blocks to the data of the first, n bytes
// each, and cuts its own out.
func sharedData(frame []byte, n int) []byte {
	const ptr = 40 + 64 + 56
	data := 40 + 2*64 + 32
	f := slices.Delete(slices.Clone(frame), data+n+32, data+n+32+n)
	word := uint64((data-ptr)/8-1)<<2 | 1 | 2<<32 | uint64(n)<<35
	put(f[ptr:], word)
	put(f[24:], uint64((len(f)-32-24)/8-1)<<2|1|2<<32|32<<35)
	put(f, uint64(len(f)-8)/8<<32)
	return f
}

func put(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (8 * i))
	}
}

func libraryWithout(t testing.TB, b *schema.Batch, field string) []byte {
	msg, err := capnp.Unmarshal(libraryBatch(t, b, capnp.ObjectSize{DataSize: 48, PointerCount: 2}))
	if err != nil {
		t.Fatal(err)
	}
	m, err := schema.ReadRootTlogBatch(msg)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := m.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	if field == "chain" {
		err = m.SetChain(nil)
	} else {
		err = blocks.At(1).SetHash(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := msg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func BenchmarkBatch(b *testing.B) {
	for _, c := range []struct{ records, size int }{{64, 4 << 10}, {16, 64 << 10}, {1, 1 << 20}} {
		batch := schema.Batch{}
		for i := range c.records {
			batch.Records = append(batch.Records, tlog.Record{
				Sequence: tlog.Sequence(i + 1), Operation: tlog.OpWrite, Size: uint32(c.size), Data: make([]byte, c.size),
			})
		}
		frame := schema.AppendBatch(nil, &batch)
		name := fmt.Sprintf("%dx%dKiB", c.records, c.size>>10)
		run := func(what string, f func()) {
			b.Run(what+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(c.records * c.size))
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
		}
		var dst, scratch []byte
		var vecs [][]byte
		var got schema.Batch
		decode := func(frame []byte) func() {
			return func() {
				if err := schema.DecodeBatch(frame, &got); err != nil {
					b.Fatal(err)
				}
			}
		}
		run("append", func() { dst = schema.AppendBatch(dst[:0], &batch) })
		run("vectors", func() { vecs, scratch = schema.BatchVectors(vecs[:0], scratch[:0], &batch) })
		run("decode", decode(frame))
		run("decode-other", decode(twoSegments(frame, 0)))
	}
}
