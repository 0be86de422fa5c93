package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/client"
	"tlog/cmd/internal/storage"
	"tlog/group"
)

// groupStore is an embedded store with two disks of group vm, and one of none.
// At second s disk a has s in its first byte, and b has at the seconds 105 and 115.
func groupStore(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	a := opened(t, dir)
	stamp := group.Stamp(uint64(group.NameID("vm"))<<36 | 90<<8)
	for name, times := range map[string][]uint64{"a": {100, 110, 120}, "b": {105, 115, 119}, "other": {100, 120}} {
		c, err := a.Attach(t.Context(), client.Config{Vdisk: tlog.VdiskID(name), DiskSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range times {
			s := client.Stamp{Time: at * uint64(time.Second), Group: stamp + 1}
			if name == "other" {
				s.Group = 0
			}
			op, data := tlog.OpWrite, []byte{byte(at)}
			if i == 2 {
				op, data = tlog.OpWatermark, nil
				s.Group = stamp.Closed()
			}
			if _, err := c.AppendStamped(t.Context(), s, op, 0, uint32(len(data)), data); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func second(s int64) string { return time.Unix(s, 0).UTC().Format(time.RFC3339) }

func TestRestoreGroup(t *testing.T) {
	dir := groupStore(t)
	for _, c := range []struct {
		at   string
		want [2]byte
	}{{second(107), [2]byte{100, 105}}, {second(110), [2]byte{110, 105}}, {"latest", [2]byte{110, 115}}} {
		to := filepath.Join(t.TempDir(), "vm")
		out := mustCtl(t, dir, "restore", "--group", "vm", "--at", c.at, "--to", to)
		if !strings.Contains(out, "2 disks in "+to) {
			t.Errorf("%s: %s", c.at, out)
		}
		for i, name := range []string{"a.img", "b.img"} {
			b, err := os.ReadFile(filepath.Join(to, name))
			if err != nil || len(b) != 1<<20 || b[0] != c.want[i] || !bytes.Equal(b[1:], make([]byte, 1<<20-1)) {
				t.Errorf("%s at %s: %d bytes, the first %v, %v", name, c.at, len(b), b[:min(1, len(b))], err)
			}
		}
	}
	to := filepath.Join(t.TempDir(), "one")
	if out := mustCtl(t, dir, "restore", "a", "--group", "vm", "--at", second(102), "--to", to, "--json"); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"vdisk":"a"`) {
		t.Errorf("one disk named: %s", out)
	}
	for name, want := range map[string]string{"a": "group ", "other": "none"} {
		if out := mustCtl(t, dir, "info", name); !strings.Contains(out, "stamped by") || !strings.Contains(out, want) {
			t.Errorf("info %s: %s", name, out)
		}
	}
}

// What cannot be cut is refused, and leaves nothing.
func TestRestoreGroupRefused(t *testing.T) {
	dir := groupStore(t)
	above := t.TempDir()
	to := filepath.Join(above, "vm")
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--group vm", storage.ExitUsage, "--to DIR is needed"},
		{"--group a/b --to " + to, storage.ExitUsage, "name"},
		{"--group vm --at yesterday --to " + to, storage.ExitUsage, "moment"},
		{"--group vm --force --to " + to, storage.ExitUsage, "does not go with --group"},
		{"--group vm --snap-to x --to " + to, storage.ExitUsage, "snap"},
		{"--group nobody --to " + to, storage.ExitFailed, "no vdisk of the pool is in group nobody"},
		{"--group vm --to " + full, storage.ExitFailed, "is not empty"},
		{"--group vm --at seq:1 --to " + to, storage.ExitFailed, "one disk's"},
		{"--group vm --at " + second(99) + " --to " + to, storage.ExitFailed, "outside the log"},
		{"--group vm a other --to " + to, storage.ExitFailed, "other was not in group vm then"},
		{"--group vm a nothing --to " + to, storage.ExitFailed, "no such vdisk"},
	} {
		refused(t, dir, c.code, c.says, append([]string{"restore"}, strings.Fields(c.args)...)...)
	}
	if left, err := os.ReadDir(above); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
