//go:build e2e

package schema_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"tlog"
	"tlog/schema"
)

// The reference implementation's own decoder must agree about every message.
func TestCapnpDecode(t *testing.T) {
	std := exec.Command("go", "list", "-m", "-f", "{{.Dir}}/std", "capnproto.org/go/capnp/v3")
	dir, err := std.Output()
	if err != nil {
		t.Fatal(err)
	}
	b := sample()
	for _, c := range []struct {
		root  string
		frame []byte
		want  []string
	}{
		{"HandshakeRequest", schema.AppendHello(nil, &schema.Hello{
			Version: schema.Version2, Vdisk: "vm-17", Takeover: true, LastFlushed: 77, Hashes: []tlog.HashAlgorithm{2, 1},
		}), []string{`vdiskID = "vm-17"`, "takeover = true", "adopt = false", "lastFlushed = 77", "hashes = [2, 1]"}},
		{"HandshakeRequest", schema.AppendHello(nil, &schema.Hello{Version: schema.Version1, Vdisk: "vm-17", ResetFirst: true}),
			[]string{"version = 16842760", "resetFirstSequence = true", "generation = 0"}},
		{"HandshakeResponse", schema.AppendWelcome(nil, &schema.Welcome{
			Version: schema.Version2, Status: tlog.HandshakeLogBehind, CreditBytes: 1 << 40, BlockSize: 512, Message: "restore it",
		}), []string{"status = -6", "creditBytes = 1099511627776", "blockSize = 512", `message = "restore it"`}},
		{"TlogResponse", schema.AppendResponse(nil, schema.Version2, &schema.Response{
			Status: tlog.StatusRecvFailed, UpTo: 4, Expected: 5, CreditRecords: 6, Sequences: []uint64{7, 8},
		}), []string{"status = -1", "upTo = 4", "expected = 5", "creditRecords = 6", "sequences = [7, 8]"}},
		{"Command", schema.AppendCommand(nil, schema.MsgForceFlush, 9)[1:], []string{"type = 2", "sequence = 9"}},
		{"TlogBlock", schema.AppendBlock(nil, &schema.Block{Sequence: 3, Index: -4, Data: []byte("hi"), Operation: tlog.OpTrim})[1:],
			[]string{"index = -4", `data = "hi"`, "operation = 2"}},
		{"TlogBatch", schema.AppendBatch(nil, &b), []string{"sequence = 7", `data = "abc"`, "size = 4294967295", "group = 5", `data = "01234567"`}},
		{"TlogAggregation", schema.AppendPrelude(nil, &schema.Prelude{Vdisk: "vm-17", Size: 3, Base: 4, First: 5, Version1: true}),
			[]string{"size = 3", `vdiskID = "vm-17"`, "base = 4", "first = 5", "version1 = true"}},
	} {
		cmd := exec.Command("capnp", "decode", "-I"+strings.TrimSpace(string(dir)), "tlog.capnp", c.root)
		cmd.Stdin = bytes.NewReader(c.frame)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", c.root, err, out)
		}
		for _, w := range c.want {
			if !strings.Contains(string(out), w) {
				t.Errorf("%s: %q is missing in\n%s", c.root, w, out)
			}
		}
	}
}
