package schema

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"tlog"
)

// What is read in place is what the library reads, also of frames with a bit
// flipped; and what a session sends is read in place.
func TestCanonicalAnswersAndCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u64 := func(name string) uint64 { return rapid.Uint64().Draw(t, name) }
		r := Response{
			Status: tlog.BlockStatus(rapid.Int8().Draw(t, "status")), UpTo: tlog.Sequence(u64("upTo")), Epoch: tlog.Epoch(u64("epoch")),
			Expected: tlog.Sequence(u64("expected")), CreditRecords: rapid.Uint32().Draw(t, "records"), CreditBytes: u64("bytes"),
		}
		if rapid.Bool().Draw(t, "chain") {
			copy(r.Chain[:], rapid.SliceOfN(rapid.Byte(), hashSize, hashSize).Draw(t, "value"))
		}
		answer := AppendResponse(nil, Version2, &r)
		var got Response
		if !canonicalResponse(answer, &got) || !reflect.DeepEqual(got, r) {
			t.Fatalf("%+v is read as %+v", r, got)
		}
		typ, seq := MessageType(rapid.Byte().Draw(t, "type")), u64("sequence")
		command := AppendCommand(nil, typ, seq)[1:]
		if gotType, gotSeq, ok := canonicalCommand(command); !ok || gotType != typ || gotSeq != seq {
			t.Fatalf("command %d %d is read as %d %d, %v", typ, seq, gotType, gotSeq, ok)
		}
		flip(t, answer)
		if canonicalResponse(answer, &got) {
			if want, err := otherResponse(answer); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("read in place %+v, by the library %+v, %v", got, want, err)
			}
		}
		flip(t, command)
		if gotType, gotSeq, ok := canonicalCommand(command); ok {
			if typ, seq, err := otherCommand(command); err != nil || gotType != typ || gotSeq != seq {
				t.Fatalf("read in place %d %d, by the library %d %d, %v", gotType, gotSeq, typ, seq, err)
			}
		}
	})
}

func flip(t *rapid.T, frame []byte) {
	frame[rapid.IntRange(0, len(frame)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
}
