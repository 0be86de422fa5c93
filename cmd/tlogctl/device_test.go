package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"tlog/player"
)

// openTarget opens a file as a device.
func (l *logged) openTarget(t testing.TB, o restoreOptions) (*device, error) {
	t.Helper()
	f, err := os.OpenFile(o.to, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{f: f, size: loggedSize}
	if err := d.resume(o); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

// restoreDevice restores a moment to a device, or a part of it: it ends after so
// many bytes.
func (l *logged) restoreDevice(t testing.TB, o restoreOptions, seq int, bytes int64) (below int64, err error) {
	t.Helper()
	d, err := l.openTarget(t, o)
	if err != nil {
		return 0, err
	}
	src, done := l.source(t, seq, true)
	defer done()
	if d.state != nil {
		below = int64(d.state.Floor)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := d.write(ctx, src, player.RestoreOptions{SaveEvery: 64 << 10, Progress: func(p player.Progress) {
		if p.Bytes > bytes {
			cancel()
		}
	}})
	if err == nil {
		err = d.finish(t.Context(), r)
	}
	return below, d.leave(err)
}

func put(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDeviceGoesOn interrupts restores to a device that is full of something
// else, and gives the command again: as it was, for another moment, and after
// somebody wrote to the device.
func TestDeviceGoesOn(t *testing.T) {
	l := newLogged(t, 200, 12)
	last := l.end()
	o := restoreOptions{to: l.path("device"), state: l.path("state")}
	full := []byte(strings.Repeat("x", loggedSize))
	for name, c := range map[string]struct {
		between func()
		seq     int
		fresh   bool
		says    string
	}{
		"the same":        {func() {}, last, false, ""},
		"another moment":  {func() {}, last / 2, false, ""},
		"written to":      {func() { put(t, o.to, full) }, last, false, "is not as the restore"},
		"anew":            {func() { put(t, o.to, full) }, last, true, ""},
		"a state of none": {func() { put(t, o.state, []byte("{}")) }, last, false, "not the state of a restore; --fresh begins anew"},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, o.to, full)
			if err := os.Remove(o.state); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if _, err := l.restoreDevice(t, o, last, loggedSize/4); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("--at seq:%d goes on", last)) {
				t.Fatalf("interrupted: %v", err)
			}
			c.between()
			o := o
			o.fresh = c.fresh
			below, err := l.restoreDevice(t, o, c.seq, loggedSize)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if below > 0 == c.fresh {
				t.Errorf("it went on below %d", below)
			}
			l.wantFile(t, o.to, l.after(c.seq))
			if _, err := os.Stat(o.state); err == nil {
				t.Error("a state is left of a disk that is whole")
			}
		})
	}
}

// TestDeviceWithoutState is written to in part, and says so.
func TestDeviceWithoutState(t *testing.T) {
	l := newLogged(t, 100, 13)
	last := l.end()
	o := restoreOptions{to: l.path("device")}
	put(t, o.to, make([]byte, loggedSize))
	if _, err := l.restoreDevice(t, o, last, loggedSize/4); err == nil || !strings.HasSuffix(err.Error(), "is written to in part") {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := l.restoreDevice(t, o, last, loggedSize); err != nil {
		t.Error(err)
	}
	l.wantFile(t, o.to, l.after(last))
}
