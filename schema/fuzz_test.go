package schema_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"tlog"
	"tlog/internal/alloctest"
	"tlog/schema"
)

// fuzzDecoder holds a decoder to what it promises for any bytes: errors of one
// class, and that what it accepted is read the same from our own encoding of it.
func fuzzDecoder[T any](f *testing.F, name string, decode func([]byte) (T, error), encode func(*T) []byte) {
	for _, d := range decoders() {
		if d.name != name {
			continue
		}
		for _, frame := range d.frames {
			f.Add(frame)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var v T
		var err error
		alloctest.Bound(t, len(frame), func() { v, err = decode(frame) })
		if err != nil {
			if tlog.ClassOf(err) != tlog.Protocol {
				t.Fatalf("error of class %d: %v", tlog.ClassOf(err), err)
			}
			return
		}
		again, err := decode(encode(&v))
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("\n  read %+v\nreread %+v, %v", v, again, err)
		}
	})
}

func FuzzHello(f *testing.F) {
	fuzzDecoder(f, "hello", schema.DecodeHello, func(h *schema.Hello) []byte { return schema.AppendHello(nil, h) })
}

func FuzzWelcome(f *testing.F) {
	fuzzDecoder(f, "welcome", schema.DecodeWelcome, func(w *schema.Welcome) []byte {
		w.Message, w.Durability = w.Message[:min(len(w.Message), 99)], w.Durability[:min(len(w.Durability), 99)]
		return schema.AppendWelcome(nil, w)
	})
}

func FuzzResponse(f *testing.F) {
	fuzzDecoder(f, "response", schema.DecodeResponse, func(r *schema.Response) []byte {
		r.Message = r.Message[:min(len(r.Message), 99)]
		return schema.AppendResponse(nil, schema.Version2, r)
	})
}

func FuzzPrelude(f *testing.F) {
	fuzzDecoder(f, "prelude", schema.DecodePrelude, func(p *schema.Prelude) []byte { return schema.AppendPrelude(nil, p) })
}

func FuzzBlock(f *testing.F) {
	decode := func(frame []byte) (schema.Block, error) {
		k, err := schema.DecodeBlock(frame)
		k.Data = bytes.Clone(k.Data)
		if len(k.Data) == 0 {
			k.Data = nil
		}
		return k, err
	}
	fuzzDecoder(f, "block", decode, func(k *schema.Block) []byte { return schema.AppendBlock(nil, k)[1:] })
}

func FuzzCommand(f *testing.F) {
	type command struct {
		typ schema.MessageType
		seq uint64
	}
	decode := func(frame []byte) (c command, err error) {
		c.typ, c.seq, err = schema.DecodeCommand(frame)
		return c, err
	}
	fuzzDecoder(f, "command", decode, func(c *command) []byte { return schema.AppendCommand(nil, c.typ, c.seq)[1:] })
}

func FuzzBatch(f *testing.F) {
	decode := func(frame []byte) (b schema.Batch, err error) {
		err = schema.DecodeBatch(frame, &b)
		data := 0
		for i := range b.Records {
			r := &b.Records[i]
			data += len(r.Data)
			if len(r.Data) == 0 {
				r.Data = nil
			}
			if err == nil && r.Check() != nil {
				err = errors.New("a record that does not pass Check was accepted")
			}
		}
		if err == nil && data > len(frame) {
			err = errors.New("more data than was received")
		}
		return b, err
	}
	fuzzDecoder(f, "batch", decode, func(b *schema.Batch) []byte { return schema.AppendBatch(nil, b) })
}

// FuzzReader reads messages from any bytes in portions of any size: what comes
// out is what went in, and the end is one of three.
func FuzzReader(f *testing.F) {
	b := sample()
	stream := schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &b)
	f.Add(stream, uint8(1))
	f.Add(schema.AppendCommand(stream, schema.MsgBye, 0), uint8(7))
	f.Add([]byte{1, 255, 255, 255, 255, 255, 255, 255, 255, 255}, uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, portion uint8) {
		alloctest.Bound(t, len(stream), func() { readAny(t, stream, portion) })
	})
}

func readAny(t *testing.T, stream []byte, portion uint8) {
	var parts chunks
	for rest := stream; len(rest) > 0; {
		n := min(len(rest), int(portion)+1)
		parts = append(parts, rest[:n])
		rest = rest[n:]
	}
	const limit = 1 << 16
	r := schema.NewReader(&parts)
	var got []byte
	for {
		typ, err := r.Type()
		if err == io.EOF {
			if !bytes.Equal(got, stream) {
				t.Fatal("ended cleanly, but not everything was read")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		frame, err := r.Frame(limit, nil)
		if err != nil {
			if tlog.ClassOf(err) != tlog.Protocol {
				t.Fatal(err)
			}
			return
		}
		got = append(append(got, byte(typ)), frame...)
		if len(frame) > limit || !bytes.HasPrefix(stream, got) {
			t.Fatal("read something else than was sent")
		}
	}
}
