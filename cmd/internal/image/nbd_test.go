package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tools puts shell scripts in the place of nbdinfo and nbdcopy.
func tools(t *testing.T, size int, nbdcopy string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{"nbdinfo": fmt.Sprintf("echo %d", size), "nbdcopy": nbdcopy} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestExport reads what a program gives through a pipe.
func TestExport(t *testing.T) {
	want := content(6, 9*window+77)
	tools(t, len(want), "exec cat "+write(t, want, false))
	got := make([]byte, len(want))
	for _, p := range pieces(t, "nbd://example/disk") {
		copy(got[p.Off:], p.Data)
	}
	if !bytes.Equal(got, want) {
		t.Error("the pieces are not the disk")
	}
}

// TestExportFails has the program fail in every way: that it said nothing wrong
// is not enough for the disk to be whole.
func TestExportFails(t *testing.T) {
	disk := write(t, content(7, 5*window), false)
	for _, c := range []struct{ name, script, says string }{
		{"fails at once", "echo no such export >&2; exit 3", "no such export"},
		{"fails in the midst", "head -c 1000000 " + disk + "; echo reset by peer >&2; exit 1", "reset by peer"},
		{"ends in the midst", "head -c 1000000 " + disk, "ended before the end"},
		{"fails at the end", "cat " + disk + "; echo late >&2; exit 1", "late"},
		{"gives more", "cat " + disk + "; echo", "more than the disk's size"},
		{"is killed", "head -c 1000000 " + disk + "; kill -9 $$", "signal: killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tools(t, 5*window, c.script)
			m, err := Open(t.Context(), "nbd+unix:///?socket=s")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range m.Pieces(t.Context()) {
				err = errors.Join(err, e)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	tools(t, 0, "")
	if err := os.WriteFile(filepath.Join(strings.Split(os.Getenv("PATH"), ":")[0], "nbdinfo"), []byte("#!/bin/sh\necho refused >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "nbd://example"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a server that is not there: %v", err)
	}
}

// TestExportEnded ends the context while the program gives nothing: it is ended,
// and nobody waits for it.
func TestExportEnded(t *testing.T) {
	tools(t, 5*window, "head -c 600000 /dev/zero | tr '\\0' x; exec sleep 1000")
	m, err := Open(t.Context(), "nbd://example")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err = range m.Pieces(ctx) {
		cancel()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the context ended", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
