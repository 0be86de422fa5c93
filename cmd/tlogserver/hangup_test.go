package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"tlog/cmd/internal/storage"
	"tlog/stor"
	"tlog/stor/memory"
)

// configured is the options of a command line whose --config is a file with text.
func configured(t *testing.T, text string, args ...string) *options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tlog.yaml")
	rewrite(t, path, text)
	o := &options{log: slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil))}
	o.flags = pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.register(o.flags)
	if err := o.flags.Parse(append([]string{"--config", path}, args...)); err != nil {
		t.Fatal(err)
	}
	if err := o.storage.ReadConfig(o.flags); err != nil {
		t.Fatal(err)
	}
	return o
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// memoryPool is 1+1 shards on two servers.
func memoryPool(t *testing.T) (*stor.Pool, []string) {
	t.Helper()
	var list []stor.Server
	var names []string
	for range 2 {
		s, err := memory.New()
		if err != nil {
			t.Fatal(err)
		}
		list, names = append(list, s), append(names, s.Name())
	}
	cfg := stor.Config{K: 1, M: 1, Check: storage.Check, Logger: slog.New(slog.DiscardHandler)}
	if _, err := stor.Init(t.Context(), cfg, list); err != nil {
		t.Fatal(err)
	}
	p, err := stor.Open(t.Context(), cfg, list)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, names
}

// What may not change is named, and then nothing changes.
func TestReloadRefuses(t *testing.T) {
	const first = "storage-addresses: [a:1, b:1]\ndata-shards: 1\nparity-shards: 1\nflush-size: 7\n"
	for _, c := range []struct{ text, args, says string }{
		{strings.Replace(first, "7", "8", 1), "", "flush-size (8, in force is 7)"},
		{strings.Replace(first, "flush-size: 7", "listen: x:1", 1), "", "flush-size (256, in force is 7), listen (x:1"},
		{"data-shards: 1\nparity-shards: 1\nflush-size: 7\n", "", "no storage-addresses"},
		{first + "data-dri: x\n", "", "data-dri: unknown key"},
		{"[", "", "config"},
		{first + "repair-rate: fast\n", "", "repair-rate"},
		{first, "--storage-addresses a:1,b:1", "on the command line"},
		{"storage-addresses: [a:1, b:1, c:1]\ndata-shards: 1\nparity-shards: 1\nflush-size: 7\n", "", "it has 2 servers, 3 are listed"},
	} {
		o := configured(t, first, strings.Fields(c.args)...)
		pool, names := memoryPool(t)
		rewrite(t, o.storage.Config, c.text)
		if _, err := o.reload(t.Context(), pool); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.text, err, c.says)
		}
		for i, s := range pool.Status(t.Context()) {
			if i >= len(names) || s.Name != names[i] || s.Err != nil {
				t.Errorf("%q: now there is %+v", c.text, s)
			}
		}
	}
	o := configured(t, first)
	o.storage.Config = ""
	if _, err := o.reload(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "without --config") {
		t.Errorf("without a file: %v", err)
	}
}

// A new address is met; it gets no slot by being listed, and a flag of the
// command line does not count as changed.
func TestReloadMeetsAddresses(t *testing.T) {
	const text = "storage-addresses: [127.0.0.1:1, 127.0.0.1:%d]\ndata-shards: 1\nparity-shards: 1\nflush-size: 7\n"
	o := configured(t, fmt.Sprintf(text, 2), "--flush-size", "9", "--verbose")
	pool, names := memoryPool(t)
	rewrite(t, o.storage.Config, fmt.Sprintf(text, 3))
	_, err := o.reload(t.Context(), pool)
	for _, name := range names { // they are in slots, and not in the file
		if err == nil || !strings.Contains(err.Error(), name+": configuration does not fit") {
			t.Errorf("got %v, want %s", err, name)
		}
	}
	var now []string
	for _, s := range pool.Status(t.Context()) {
		now = append(now, s.Name)
	}
	if want := append(names, "127.0.0.1:1", "127.0.0.1:3"); !slices.Equal(now, want) {
		t.Errorf("got %v, want %v", now, want)
	}
}

// Who reads tlogserver's file for its storage leaves every other key alone.
func TestEveryKeyMayStandInASharedFile(t *testing.T) {
	mine, theirs := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	(&options{}).register(mine)
	var reader storage.Flags
	reader.Register(theirs, false)
	var text strings.Builder
	mine.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && !f.Hidden { // a hidden one is no setting of an installation
			fmt.Fprintf(&text, "%s: %q\n", f.Name, strings.Trim(f.DefValue, "[]"))
		}
	})
	reader.Config = filepath.Join(t.TempDir(), "tlog.yaml")
	rewrite(t, reader.Config, text.String())
	if err := reader.ReadConfig(theirs); err != nil {
		t.Error(err)
	}
}
