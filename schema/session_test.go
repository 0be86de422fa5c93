package schema_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/crypto/blake2b"

	"tlog"
	"tlog/schema"
)

// part is what one side sent before the other answered.
type part struct {
	client bool
	bytes  []byte
}

// capturedSession reads the hex dump of testdata.
func capturedSession(t testing.TB) []part {
	t.Helper()
	text, err := os.ReadFile("testdata/wire-v1-session.txt")
	if err != nil {
		t.Fatal(err)
	}
	var parts []part
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, "C->S"), strings.HasPrefix(line, "S->C"):
			parts = append(parts, part{client: line[0] == 'C'})
		default:
			digits, _, _ := strings.Cut(line[8:], "|")
			b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
			if err != nil {
				t.Fatal(err)
			}
			p := &parts[len(parts)-1]
			p.bytes = append(p.bytes, b...)
		}
	}
	if len(parts) != 7 {
		t.Fatalf("the captured session has %d parts", len(parts))
	}
	return parts
}

// unhex reads hexadecimal digits, in groups as it pleases the reader.
func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Written out by hand from the field tables of version 1, word by word, so
// that the codec and the capture are both held against a third source.
func TestSessionByHand(t *testing.T) {
	want := []string{
		// HandshakeRequest: 2 data words, 1 pointer.
		`0000000005000000 0000000002000100
		 0800010101000000 0000000000000000 0100000032000000 62656e6368000000`,
		// HandshakeResponse: 1 data word.
		`0000000002000000 0000000001000000 0800010101000000`,
		// Block 0, block 1: 4 data words, hash and data; force flush at 1.
		`01 000000000d000000 0000000004000200
		 0000000000000000 0000000000000000 f75350a736f1e918 0100000000000000
		 0500000002010000 1100000082000000
		 9d31b61cb7eec16d c3568 8cb0215e007 1b7ec41cd5428c18 fa9756aad2344420
		 0000000000000000 b36dd79221d040c3
		 01 000000000d000000 0000000004000200
		 0100000000000000 0100000000000000 b8b750a736f1e918 0100000000000000
		 0500000002010000 1100000082000000
		 4dbe5cb0be26e8e0 d78bc6a57d270124 f00175b03735f9b7 9b7a9126eb9276b4
		 0100000000000000 06c2535f42b24a99
		 02 0000000003000000 0000000002000000 0200000000000000 0100000000000000`,
		// RecvOK [0], RecvOK [1], ForceFlushReceived []: 1 data word, 1 pointer.
		`0000000004000000 0000000001000100 0100000000000000 010000000d000000 0000000000000000
		 0000000004000000 0000000001000100 0100000000000000 010000000d000000 0100000000000000
		 0000000003000000 0000000001000100 0300000000000000 0100000005000000`,
		// FlushOK [0 1].
		`0000000005000000 0000000001000100 0200000000000000 0100000015000000 0000000000000000 0100000000000000`,
		// Wait for slave sync, and its answer.
		`03 0000000003000000 0000000002000000 0300000000000000 0000000000000000`,
		`0000000003000000 0000000001000100 0400000000000000 0100000005000000`,
	}
	for i, p := range capturedSession(t) {
		if got := unhex(t, want[i]); !bytes.Equal(got, p.bytes) {
			t.Errorf("part %d:\n got %x\nwant %x", i, got, p.bytes)
		}
	}
}

func TestSessionFromOurEncoders(t *testing.T) {
	block := func(seq uint64, time, data string) []byte {
		k := schema.Block{
			Sequence: seq, Index: int64(seq), Operation: tlog.OpWrite,
			Timestamp: leUint64(unhex(t, time)), Data: unhex(t, data),
		}
		k.Hash = blake2b.Sum256(k.Data)
		return schema.AppendBlock(nil, &k)
	}
	response := func(status tlog.BlockStatus, sequences ...uint64) []byte {
		// The fields of version 2 must not show.
		return schema.AppendResponse(nil, schema.Version1, &schema.Response{
			Status: status, Sequences: sequences, UpTo: 9, Epoch: 9, Chain: tlog.Hash{9}, Message: "nine",
		})
	}
	got := [][]byte{
		schema.AppendHello(nil, &schema.Hello{
			Version: schema.Version1, Vdisk: "bench", ResetFirst: true, Generation: 9, Takeover: true, Client: tlog.UUID{9},
		}),
		schema.AppendWelcome(nil, &schema.Welcome{Version: schema.Version1, Status: tlog.HandshakeOK, Epoch: 9, Message: "nine"}),
		bytes.Join([][]byte{
			block(0, "f75350a736f1e918", "0000000000000000b36dd79221d040c3"),
			block(1, "b8b750a736f1e918", "010000000000000006c2535f42b24a99"),
			schema.AppendCommand(nil, schema.MsgForceFlush, 1),
		}, nil),
		bytes.Join([][]byte{
			response(tlog.StatusRecvOK, 0), response(tlog.StatusRecvOK, 1), response(tlog.StatusForceFlushReceived),
		}, nil),
		response(tlog.StatusFlushOK, 0, 1),
		schema.AppendCommand(nil, schema.MsgWaitSlaveSync, 0),
		response(tlog.StatusWaitSlaveSyncReceived),
	}
	for i, p := range capturedSession(t) {
		if !bytes.Equal(got[i], p.bytes) {
			t.Errorf("part %d:\n got %x\nwant %x", i, got[i], p.bytes)
		}
	}
}

func leUint64(b []byte) (v uint64) {
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}

func TestSessionDecoded(t *testing.T) {
	var client, server []byte
	for _, p := range capturedSession(t) {
		if p.client {
			client = append(client, p.bytes...)
		} else {
			server = append(server, p.bytes...)
		}
	}
	c := schema.NewReader(bytes.NewReader(client))
	frame, err := c.Frame(schema.MaxHandshake, nil)
	if err != nil {
		t.Fatal(err)
	}
	hello, err := schema.DecodeHello(frame)
	if err != nil {
		t.Fatal(err)
	}
	if want := (schema.Hello{Version: schema.Version1, Vdisk: "bench", ResetFirst: true}); !reflect.DeepEqual(hello, want) {
		t.Errorf("hello:\n got %+v\nwant %+v", hello, want)
	}
	for seq := range uint64(2) {
		checkSessionBlock(t, c, seq)
	}
	for _, want := range []struct {
		t   schema.MessageType
		seq uint64
	}{{schema.MsgForceFlush, 1}, {schema.MsgWaitSlaveSync, 0}} {
		frame := nextMessage(t, c, want.t)
		if typ, seq, err := schema.DecodeCommand(frame); err != nil || typ != want.t || seq != want.seq {
			t.Errorf("command: got %d, %d, %v; want %d, %d", typ, seq, err, want.t, want.seq)
		}
	}
	if _, err := c.Type(); err != io.EOF {
		t.Errorf("behind the last message: %v, want io.EOF", err)
	}
	checkSessionAnswers(t, schema.NewReader(bytes.NewReader(server)))
}

func nextMessage(t *testing.T, r *schema.Reader, want schema.MessageType) []byte {
	t.Helper()
	if typ, err := r.Type(); err != nil || typ != want {
		t.Fatalf("type: got %d, %v; want %d", typ, err, want)
	}
	frame, err := r.Frame(schema.MaxBlock, nil)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func checkSessionBlock(t *testing.T, c *schema.Reader, seq uint64) {
	t.Helper()
	frame := nextMessage(t, c, schema.MsgBlock)
	k, err := schema.DecodeBlock(frame)
	if err != nil {
		t.Fatal(err)
	}
	if k.Sequence != seq || k.Index != int64(seq) || k.Operation != tlog.OpWrite || len(k.Data) != 16 || k.Data[0] != byte(seq) {
		t.Errorf("block %d: %+v", seq, k)
	}
	if k.Hash != blake2b.Sum256(k.Data) {
		t.Errorf("block %d: the hash is not that of the data", seq)
	}
	if k.Timestamp>>56 != 0x18 { // 2025
		t.Errorf("block %d: timestamp %d", seq, k.Timestamp)
	}
	if !schema.PlainBlock(frame) {
		t.Errorf("block %d is not decoded in place", seq)
	}
}

func checkSessionAnswers(t *testing.T, s *schema.Reader) {
	t.Helper()
	frame, err := s.Frame(schema.MaxHandshake, nil)
	if err != nil {
		t.Fatal(err)
	}
	welcome, err := schema.DecodeWelcome(frame)
	if want := (schema.Welcome{Version: schema.Version1, Status: tlog.HandshakeOK}); err != nil || welcome != want {
		t.Errorf("welcome: got %+v, %v; want %+v", welcome, err, want)
	}
	for i, want := range []schema.Response{
		{Status: tlog.StatusRecvOK, Sequences: []uint64{0}},
		{Status: tlog.StatusRecvOK, Sequences: []uint64{1}},
		{Status: tlog.StatusForceFlushReceived},
		{Status: tlog.StatusFlushOK, Sequences: []uint64{0, 1}},
		{Status: tlog.StatusWaitSlaveSyncReceived},
	} {
		frame, err := s.Frame(schema.MaxResponse, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := schema.DecodeResponse(frame); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("response %d: got %+v, %v; want %+v", i, got, err, want)
		}
	}
	if _, err := s.Frame(schema.MaxResponse, nil); err != io.EOF {
		t.Errorf("behind the last response: %v, want io.EOF", err)
	}
}
