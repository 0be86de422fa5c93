package tlog_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tlog"
)

func TestRecordCheck(t *testing.T) {
	data := []byte("data")
	for _, c := range []struct {
		name string
		r    tlog.Record
		err  string // part of the error; empty: none
	}{
		{"write", tlog.Record{Sequence: 1, Size: 4, Operation: tlog.OpWrite, Data: data}, ""},
		{"trim", tlog.Record{Sequence: 1, Size: tlog.MaxZeroSize, Operation: tlog.OpTrim}, ""},
		{"zero", tlog.Record{Sequence: 1, Size: 1, Operation: tlog.OpZero}, ""},
		{"watermark", tlog.Record{Sequence: 1, Operation: tlog.OpWatermark, Group: 3}, ""},
		{"watermark with extent", tlog.Record{Sequence: 1, Size: 8, Operation: tlog.OpWatermark}, "watermark with an extent"},
		{"flush mark", tlog.Record{Sequence: 1, Operation: tlog.OpFlush}, ""},
		{"largest write", tlog.Record{Sequence: 1, Size: tlog.MaxRecordData, Operation: tlog.OpWrite, Data: make([]byte, tlog.MaxRecordData)}, ""},
		{"last byte", tlog.Record{Sequence: 1, Offset: 1<<63 - 2, Size: 1, Operation: tlog.OpZero}, ""},
		{"no sequence", tlog.Record{Size: 4, Operation: tlog.OpWrite, Data: data}, "without sequence"},
		{"empty write", tlog.Record{Sequence: 1, Operation: tlog.OpWrite}, "write of 0 bytes"},
		{"write with other size", tlog.Record{Sequence: 1, Size: 5, Operation: tlog.OpWrite, Data: data}, "write of 5 bytes with 4"},
		{"too large a write", tlog.Record{Sequence: 1, Size: tlog.MaxRecordData + 1, Operation: tlog.OpWrite, Data: make([]byte, tlog.MaxRecordData+1)}, "limit"},
		{"trim with data", tlog.Record{Sequence: 1, Size: 4, Operation: tlog.OpTrim, Data: data}, "trim of 4 bytes with 4"},
		{"empty zero", tlog.Record{Sequence: 1, Operation: tlog.OpZero}, "zero of 0 bytes"},
		{"flush mark with extent", tlog.Record{Sequence: 1, Offset: 8, Operation: tlog.OpFlush}, "flush with"},
		{"no operation", tlog.Record{Sequence: 1, Size: 4, Data: data}, "unknown operation 0"},
		{"beyond the end", tlog.Record{Sequence: 1, Offset: 1<<63 - 1, Size: 1, Operation: tlog.OpZero}, "out of range"},
	} {
		err := c.r.Check()
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		}
		if err != nil && tlog.ClassOf(err) != tlog.Protocol {
			t.Errorf("%s: class %d, want protocol", c.name, tlog.ClassOf(err))
		}
	}
}

// TestChain fixes the bytes that chain values are made of.
func TestChain(t *testing.T) {
	start := tlog.ChainStart("disk")
	r := tlog.Record{Sequence: 0x0102, Offset: 0x0304, Size: 0x05, Timestamp: 0x06, Operation: tlog.OpTrim, Group: 0x07, Hash: tlog.Hash{8}}
	header := "0201000000000000" + "0403000000000000" + "0600000000000000" + "0700000000000000" + "05000000" + "02" + "000000"
	if got := hex.EncodeToString(r.AppendHeader(nil)); got != header {
		t.Errorf("record header %s, want %s", got, header)
	}
	// printf 'tlog record chain 1\0disk' | sha256sum
	if got, want := start.String(), "43eb7756220bb045beec809e6fd3e078c9246a0e5c72f84f2a203d6d96c73707"; got != want {
		t.Errorf("chain start %s, want %s", got, want)
	}
	if got, want := tlog.ChainNext(start, &r).String(), "d8aeafdbef5c595c79c01064f5989566c3c576683c02d8099457c6ba93205698"; got != want {
		t.Errorf("chain value %s, want %s", got, want)
	}
	for i := range 5 {
		other := r
		switch i {
		case 0:
			other.Sequence++
		case 1:
			other.Offset++
		case 2:
			other.Operation = tlog.OpZero
		case 3:
			other.Hash[31]++
		case 4:
			other.Timestamp++
		}
		if tlog.ChainNext(start, &other) == tlog.ChainNext(start, &r) {
			t.Errorf("change %d of a record does not change the chain value", i)
		}
	}
}

func TestUUID(t *testing.T) {
	// RFC 9562, appendix A.4: version 5 of www.example.com in the DNS space.
	dns, err := tlog.ParseUUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := dns.NameUUID("www.example.com").String(), "2ed6657d-e927-568b-95e1-2665a8aea6a2"; got != want {
		t.Errorf("name UUID %s, want %s", got, want)
	}
	b, err := json.Marshal(dns)
	var back tlog.UUID
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if err != nil || back != dns {
		t.Errorf("JSON %s reads back as %v: %v", b, back, err)
	}
	for _, bad := range []string{"", "6ba7b810", "6ba7b810-9dad-11d1-80b4-00c04fd430c8-", "6ba7b8109dad-11d1-80b4-00c04fd430c88", "6ba7b810-9dad-11d1-80b4-00c04fd430cg"} {
		if _, err := tlog.ParseUUID(bad); err == nil {
			t.Errorf("%q is taken for a UUID", bad)
		}
	}
}

func TestVdiskID(t *testing.T) {
	for id, ok := range map[tlog.VdiskID]bool{
		"a": true, "vm-1_disk.0": true, tlog.VdiskID(bytes.Repeat([]byte("x"), 128)): true,
		"": false, tlog.VdiskID(bytes.Repeat([]byte("x"), 129)): false, "a/b": false, "ä": false, "a b": false, "a\x00": false, "{a}": false,
	} {
		if err := id.Check(); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestClass(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("outer: %w", tlog.Corruptf("inner: %w", cause))
	if tlog.ClassOf(err) != tlog.Corrupt || !errors.Is(err, cause) {
		t.Errorf("class %d of %v", tlog.ClassOf(err), err)
	}
	if c := tlog.ClassOf(tlog.WithClass(tlog.Fatal, err)); c != tlog.Fatal {
		t.Errorf("the outermost class is %d, want fatal", c)
	}
	if tlog.WithClass(tlog.Fatal, nil) != nil || tlog.ClassOf(cause) != tlog.Unclassified {
		t.Error("nil, or an error without class, has one")
	}
}

func TestPermanent(t *testing.T) {
	for s := tlog.HandshakeUnavailable; s <= tlog.HandshakeOK; s++ {
		passing := s == tlog.HandshakeOK || s == 0 || s == tlog.HandshakeInternal || s == tlog.HandshakeMoved || s == tlog.HandshakeUnavailable
		if s != 0 && s.Permanent() == passing {
			t.Errorf("%v: permanent %t", s, s.Permanent())
		}
	}
}
