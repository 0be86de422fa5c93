package failpoint_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tlog/internal/failpoint"
)

// journal makes the journal of a file, as the tagged half of the package does.
func journal(t *testing.T, dir, path string, writes ...func() (int64, string)) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, w := range writes {
		off, old := w()
		b = binary.LittleEndian.AppendUint64(b, uint64(off))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(old)))
		b = append(b, old...)
	}
	name := filepath.Join(dir, fmt.Sprintf("%d.undo", st.Sys().(*syscall.Stat_t).Ino))
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func was(off int64, old string) func() (int64, string) {
	return func() (int64, string) { return off, old }
}

func TestUndo(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes []func() (int64, string)
		keep   []bool
		want   string
		undone int
	}{
		{"nothing was unsynced", nil, nil, "abcdefgh", 0},
		{"a write is put back", []func() (int64, string){was(2, "CD")}, []bool{false}, "abCDefgh", 1},
		{"or kept", []func() (int64, string){was(2, "CD")}, []bool{true}, "abcdefgh", 0},
		{"part by part", []func() (int64, string){was(2, "CDEF")}, []bool{true, false}, "abcdEFgh", 1},
		{"the newest first", []func() (int64, string){was(0, "12"), was(0, "ab")}, []bool{false, false}, "12cdefgh", 2},
		{"nothing under what is kept", []func() (int64, string){was(0, "12"), was(0, "ab")}, []bool{true}, "abcdefgh", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := os.WriteFile(path, []byte("abcdefgh"), 0o600); err != nil {
				t.Fatal(err)
			}
			journal(t, dir, path, c.writes...)
			n, err := failpoint.Undo(dir, path, 4, func() bool {
				k := c.keep[0]
				c.keep = c.keep[1:]
				return k
			})
			if err != nil || n != c.undone {
				t.Errorf("undone %d, %v, want %d", n, err, c.undone)
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, []byte(c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if n, err := failpoint.Undo(dir, path, 4, nil); n != 0 || err != nil {
				t.Errorf("a second time: %d, %v", n, err)
			}
		})
	}
}
