package schema_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"tlog"
	"tlog/internal/alloctest"
	"tlog/schema"
)

// chunks reads its parts one by one, however much is asked for.
type chunks [][]byte

func (c *chunks) Read(p []byte) (int, error) {
	for len(*c) > 0 && len((*c)[0]) == 0 {
		*c = (*c)[1:]
	}
	if len(*c) == 0 {
		return 0, io.EOF
	}
	n := copy(p, (*c)[0])
	(*c)[0] = (*c)[0][n:]
	return n, nil
}

// clientStream is a few messages of all kinds and sizes, and where each begins.
func clientStream() (stream []byte, starts []int) {
	b := sample()
	big := schema.Batch{Records: []tlog.Record{{Sequence: 1, Operation: tlog.OpWrite, Size: 300 << 10, Data: bytes.Repeat([]byte{7}, 300<<10)}}}
	for _, m := range [][]byte{
		schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &b),
		schema.AppendCommand(nil, schema.MsgForceFlush, 9),
		schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &big),
		append([]byte{byte(schema.MsgBatch)}, twoSegments(schema.AppendBatch(nil, &b), 3)...),
		schema.AppendBlock(nil, &schema.Block{Data: make([]byte, 4096)}),
		schema.AppendCommand(nil, schema.MsgBye, 0),
	} {
		starts = append(starts, len(stream))
		stream = append(stream, m...)
	}
	return stream, append(starts, len(stream))
}

// readAll reads messages to the end and gives them back as one stream.
func readAll(r *schema.Reader) (got []byte, messages int, err error) {
	for {
		typ, err := r.Type()
		if err == io.EOF {
			return got, messages, nil
		}
		if err != nil {
			return got, messages, err
		}
		frame, err := r.Frame(schema.MaxBatch, nil)
		if err != nil {
			return got, messages, err
		}
		got = append(append(got, byte(typ)), frame...)
		messages++
	}
}

func TestReaderSplits(t *testing.T) {
	stream, starts := clientStream()
	check := func(t interface {
		Helper()
		Errorf(string, ...any)
	}, name string, r io.Reader) {
		t.Helper()
		got, n, err := readAll(schema.NewReader(r))
		if err != nil || n != len(starts)-1 || !bytes.Equal(got, stream) {
			t.Errorf("%s: %d messages, %v", name, n, err)
		}
	}
	check(t, "at once", bytes.NewReader(stream))
	check(t, "byte by byte", iotest.OneByteReader(bytes.NewReader(stream)))
	check(t, "last bytes with EOF", iotest.DataErrReader(bytes.NewReader(stream)))
	rapid.Check(t, func(t *rapid.T) {
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(stream)), 0, 12).Draw(t, "cuts")
		slices.Sort(cuts)
		var parts chunks
		from := 0
		for _, c := range append(cuts, len(stream)) {
			parts = append(parts, stream[from:c])
			from = c
		}
		check(t, "parts", &parts)
	})
}

func TestReaderTruncated(t *testing.T) {
	stream, starts := clientStream()
	for n := 0; n < len(stream); n++ {
		if n > starts[2]+6000 && n < starts[3]-100 && n%997 != 0 {
			continue // inside the big body
		}
		_, messages, err := readAll(schema.NewReader(bytes.NewReader(stream[:n])))
		if whole := slices.Index(starts, n); whole >= 0 {
			if err != nil || messages != whole {
				t.Errorf("ended between messages, at %d: %d messages, %v", n, messages, err)
			}
			continue
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || tlog.ClassOf(err) != tlog.Protocol {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func TestReaderEOF(t *testing.T) {
	if _, err := schema.NewReader(bytes.NewReader(nil)).Frame(100, nil); err != io.EOF {
		t.Errorf("no answer at all: %v, want io.EOF", err)
	}
	r := schema.NewReader(bytes.NewReader([]byte{1}))
	if _, err := r.Type(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Frame(100, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a type byte without a message: %v", err)
	}
	broken := errors.New("cable")
	if _, err := schema.NewReader(iotest.ErrReader(broken)).Frame(100, nil); !errors.Is(err, broken) || tlog.ClassOf(err) != tlog.Unclassified {
		t.Errorf("broken connection: %v", err)
	}
}

// A deadline between messages is not the end.
func TestReaderTypeAgain(t *testing.T) {
	stream := schema.AppendCommand(nil, schema.MsgBye, 0)
	// TimeoutReader fails the second read.
	r := schema.NewReader(iotest.TimeoutReader(&chunks{stream, stream}))
	if typ, err := r.Type(); err != nil || typ != schema.MsgBye {
		t.Fatal(typ, err)
	}
	if _, err := r.Frame(100, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Type(); !errors.Is(err, iotest.ErrTimeout) {
		t.Fatalf("got %v, want a timeout", err)
	}
	if got, n, err := readAll(r); err != nil || n != 1 || !bytes.Equal(got, stream) {
		t.Errorf("after the timeout: %d messages, %v", n, err)
	}
}

func TestReaderLimits(t *testing.T) {
	table := func(words ...uint32) []byte {
		out := binary.LittleEndian.AppendUint32(nil, uint32(len(words)-1))
		for _, w := range words {
			out = binary.LittleEndian.AppendUint32(out, w)
		}
		return append(out, make([]byte, len(out)%8)...)
	}
	most := slices.Repeat([]uint32{0xffffffff}, schema.MaxSegments)
	for name, head := range map[string][]byte{
		"one word too long": table(101 - 1),
		"four gigawords":    table(0xffffffff),
		"of each segment":   table(most...),
		"too many segments": binary.LittleEndian.AppendUint64(nil, schema.MaxSegments),
		"all segments":      binary.LittleEndian.AppendUint64(nil, 0xffffffff),
	} {
		refuse := func(n int) ([]byte, error) {
			t.Errorf("%s: asked for %d bytes", name, n)
			return nil, io.ErrShortBuffer
		}
		got := alloctest.Least(func() {
			r := schema.NewReader(io.MultiReader(bytes.NewReader(head), neverEnding{}))
			if _, err := r.Frame(800, refuse); tlog.ClassOf(err) != tlog.Protocol {
				t.Errorf("%s: %v", name, err)
			}
		})
		if got > 2*schema.MinWindow {
			t.Errorf("%s: %d bytes allocated", name, got)
		}
	}
	exact := append(table(99), make([]byte, 792)...)
	if f, err := schema.NewReader(bytes.NewReader(exact)).Frame(800, nil); err != nil || len(f) != 800 {
		t.Errorf("just within the limit: %d bytes, %v", len(f), err)
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

func TestReaderAlloc(t *testing.T) {
	stream := schema.AppendCommand(nil, schema.MsgBye, 0)
	full := errors.New("no memory left")
	r := schema.NewReader(bytes.NewReader(stream[1:]))
	if _, err := r.Frame(100, func(int) ([]byte, error) { return nil, full }); err != full {
		t.Errorf("refused: %v", err)
	}
	buf := make([]byte, 64)
	r = schema.NewReader(bytes.NewReader(stream[1:]))
	f, err := r.Frame(100, func(int) ([]byte, error) { return buf, nil })
	if err != nil || !bytes.Equal(f, stream[1:]) || &f[0] != &buf[0] || cap(f) != len(f) {
		t.Errorf("own buffer: %x, %v", f, err)
	}
}

// counting counts the calls of Read, and how much each asked for.
type counting struct {
	r     io.Reader
	calls int
	most  int
	sizes []int
}

func (c *counting) Read(p []byte) (int, error) {
	c.calls++
	c.most = max(c.most, len(p))
	c.sizes = append(c.sizes, len(p))
	return c.r.Read(p)
}

// Small messages that come in a stream share reads; large bodies are read
// without passing through the buffer.
func TestReaderCalls(t *testing.T) {
	small := bytes.Repeat(schema.AppendBlock(nil, &schema.Block{Data: make([]byte, 4096)}), 1000)
	c := &counting{r: bytes.NewReader(small)}
	if _, n, err := readAll(schema.NewReader(c)); err != nil || n != 1000 {
		t.Fatalf("%d messages, %v", n, err)
	}
	if c.calls > 100 || c.most > schema.MaxWindow {
		t.Errorf("1000 small messages took %d reads of at most %d bytes", c.calls, c.most)
	}
	b := schema.Batch{Records: []tlog.Record{{Data: make([]byte, 256<<10)}}}
	large := bytes.Repeat(schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &b), 50)
	c = &counting{r: bytes.NewReader(large)}
	if _, n, err := readAll(schema.NewReader(c)); err != nil || n != 50 {
		t.Fatalf("%d messages, %v", n, err)
	}
	if c.calls > 2*50+2 || c.most < 250<<10 {
		t.Errorf("50 large messages took %d reads of at most %d bytes", c.calls, c.most)
	}
	// A buffer that small messages have made grow must not stay in the way.
	c = &counting{r: bytes.NewReader(append(small, large...))}
	if _, n, err := readAll(schema.NewReader(c)); err != nil || n != 1050 {
		t.Fatalf("%d messages, %v", n, err)
	}
	for _, n := range c.sizes[len(c.sizes)-20:] {
		if n > schema.MinWindow && n < 250<<10 {
			t.Errorf("%d bytes of a large message go through the buffer", n)
		}
	}
}

// An idle connection costs no more than the smallest buffer.
func TestReaderIdle(t *testing.T) {
	const n = 100
	var readers []*schema.Reader
	hello := schema.AppendHello(nil, &schema.Hello{Version: schema.Version2, Vdisk: "v"})
	got := alloctest.Least(func() {
		for range n {
			r := schema.NewReader(bytes.NewReader(hello))
			if _, err := r.Frame(schema.MaxHandshake, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Type(); err != io.EOF {
				t.Fatal(err)
			}
			readers = append(readers, r)
		}
	})
	if got > n*(schema.MinWindow+1024) {
		t.Errorf("%d bytes for each of %d", got/n, len(readers))
	}
}

func TestReaderOverConnection(t *testing.T) {
	here, there := net.Pipe()
	stream, _ := clientStream()
	done := make(chan error, 1)
	go func() {
		_, err := there.Write(stream)
		done <- errors.Join(err, there.Close())
	}()
	got, _, err := readAll(schema.NewReader(here))
	if err != nil || !bytes.Equal(got, stream) {
		t.Errorf("%d of %d bytes, %v", len(got), len(stream), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What Blocks shows in the buffer is what Frame would give, however the stream
// arrives and however much of it is taken at a time.
func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var sent, got [][]byte
		for range rapid.IntRange(0, 40).Draw(t, "messages") {
			m := schema.AppendCommand(nil, schema.MsgForceFlush, 9)
			if rapid.IntRange(0, 9).Draw(t, "command") > 0 {
				n := rapid.SampledFrom([]int{0, 1, 512, 4096, 20_000}).Draw(t, "data")
				m = schema.AppendBlock(nil, &schema.Block{Sequence: uint64(len(sent)), Data: bytes.Repeat([]byte{byte(len(sent))}, n)})
			}
			stream, sent = append(stream, m...), append(sent, m)
		}
		var parts chunks
		for rest := stream; len(rest) > 0; {
			n := min(rapid.SampledFrom([]int{1, 100, 5000, 1 << 20}).Draw(t, "part"), len(rest))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		r := schema.NewReader(&parts)
		for {
			typ, err := r.Type()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			var frames [][]byte
			if typ == schema.MsgBlock {
				frames = r.Blocks(nil, rapid.IntRange(0, 5).Draw(t, "most"))
				frames = frames[:rapid.IntRange(0, len(frames)).Draw(t, "taken")]
			}
			for _, f := range frames {
				got = append(got, append([]byte{byte(typ)}, f...))
			}
			if len(frames) > 0 {
				r.Took(frames)
				continue
			}
			f, err := r.Frame(schema.MaxBlock, nil)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, append([]byte{byte(typ)}, f...))
		}
		if !slices.EqualFunc(got, sent, bytes.Equal) {
			t.Fatalf("%d messages came, of %d that were sent, or not the same", len(got), len(sent))
		}
	})
}
