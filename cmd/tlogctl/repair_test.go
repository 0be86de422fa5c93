package main

import (
	"bytes"
	"strings"
	"testing"

	"tlog/cmd/internal/storage"
)

// Command lines that must end before anything is opened, or taken over.
func TestRepairUsage(t *testing.T) {
	redis := "--storage-addresses 127.0.0.1:1 --key-file none"
	for _, c := range []struct {
		args string
		says string
	}{
		{"repair " + redis, "want a vdisk, or --all"},
		{"repair v --all " + redis, "want a vdisk, or --all"},
		{"repair v " + redis, "--force"},
		{"repair --all " + redis, "fences the server"},
		{"repair v --rate fast --data-dir none", "--rate"},
		{"scrub " + redis, "want a vdisk, or --all"},
		{"scrub v w " + redis, "scrub"},
		{"stores replace " + redis, "one of --slot and --server"},
		{"stores replace --slot 1 --server x " + redis, "one of --slot and --server"},
		{"stores replace --slot 1 new --data-dir none", "name no other"},
	} {
		cmd := command()
		cmd.SetArgs(strings.Fields(c.args))
		cmd.SetOut(new(bytes.Buffer))
		err := cmd.ExecuteContext(t.Context())
		if storage.ExitCode(err) != storage.ExitUsage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("tlogctl %s: %v, want a usage error with %q", c.args, err, c.says)
		}
	}
}
