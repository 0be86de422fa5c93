package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"tlog"
	"tlog/crypto"
	"tlog/stor"
	"tlog/stor/file"
)

// parse reads a command line, and the file it names, as the programs do.
func parse(t testing.TB, args ...string) (*Flags, error) {
	t.Helper()
	var f Flags
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.Register(fs, true)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := f.ReadConfig(fs); err != nil {
		return &f, err
	}
	return &f, f.check()
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		args string
		err  string // part of the error; empty: none
	}{
		{"--data-dir d", ""},
		{"--memory", ""},
		{"--storage-addresses h:1", ""},
		{"--storage-addresses h:1 --data-shards 2 --parity-shards 0", ""},
		{"--data-dir d --min-shards 4", ""},
		{"--data-dir d --min-shards 6", ""},
		{"--data-dir d --durability everysec", ""},
		{"", "name the storage"},
		{"--data-dir d --memory", "exclude each other"},
		{"--data-dir d --storage-addresses h:1", "exclude each other"},
		{"--data-dir d --data-shards -1", "data-shards -1"},
		{"--data-dir d --parity-shards -2", "parity-shards -2"},
		{"--data-dir d --data-shards 200 --parity-shards 56", "256 together"},
		{"--data-dir d --min-shards 3", "min-shards 3: 3 shards may then be missing when a flush is acknowledged, and with parity-shards 2"},
		{"--data-dir d --min-shards 7", "min-shards 7: an aggregation has 4+2 shards"},
		{"--data-dir d --durability sometimes", "want always, everysec or memory"},
	} {

		_, err := parse(t, strings.Fields(c.args)...)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: %v, want %q", c.args, err, c.err)
		}
		if err != nil && ExitCode(err) != ExitUsage {
			t.Errorf("%q: exit code %d, want %d", c.args, ExitCode(err), ExitUsage)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // empty: an error
	}{
		{"--storage-addresses a:10 --data-shards 2 --parity-shards 1", "a:10 a:11 a:12"},
		{"--storage-addresses a:10,b:20 --data-shards 2 --parity-shards 1", "a:10 b:20 b:21"},
		{"--storage-addresses a:10@3 --data-shards 1 --parity-shards 1", "a:10@3 a:11@3"},
		{"--storage-addresses a:1,b:2,c:3,d:4 --data-shards 2 --parity-shards 1", "a:1 b:2 c:3 d:4"},
		{"--storage-addresses [::1]:10 --data-shards 1 --parity-shards 1", "[::1]:10 [::1]:11"},
		{"--storage-addresses a:65534 --data-shards 2 --parity-shards 1", ""},
		{"--storage-addresses a:1,a:1 --data-shards 1 --parity-shards 1", ""},
		{"--storage-addresses b:2,a:1 --data-shards 2 --parity-shards 1", "b:2 a:1 a:2"},
		{"--storage-addresses a:2,a:1 --data-shards 2 --parity-shards 1", ""}, // fills up with a:2 again
		{"--storage-addresses a", ""},
		{"--storage-addresses :1", ""},
		{"--storage-addresses a:0", ""},
		{"--storage-addresses a:1@x", ""},
		{"--storage-addresses a:1@-1", ""},
	} {
		f, err := parse(t, strings.Fields(c.args)...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.addresses()
		if (err != nil) != (c.want == "") || err == nil && strings.Join(got, " ") != c.want {
			t.Errorf("%q: %v, %v; want %q", c.args, got, err, c.want)
		}
	}
}

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tlog.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("storage-addresses: [a:1, b:2]\ndata-shards: 1\nparity-shards: 1\nkey-file: k\nlisten: x:1\n")
	f, err := parse(t, "--config", path, "--key-file", "mine")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.StorageAddresses, []string{"a:1", "b:2"}) || f.DataShards != 1 || f.ParityShards != 1 || f.KeyFile != "mine" {
		t.Errorf("flags and file give %+v", f)
	}
	for text, want := range map[string]string{
		"data-dri: d\n":                    "data-dri: unknown key",
		"config: other\n":                  "config: unknown key",
		"data-shards: many\n":              "data-shards",
		"data-dir: d\nmin-shards: 3\n":     "min-shards 3: 3 shards may then be missing",
		"data-dir: d\nmin-shards: 7\n":     "min-shards 7: an aggregation has 4+2 shards",
		"data-dir: d\ndata-shards: 254\n":  "254 and parity-shards 2 are 256 together",
		"data-dir: d\ndurability: often\n": "durability \"often\"",
		"storage: {addresses: a}\n":        "unknown key",
		"[":                                "",
	} {
		write(text)
		if _, err := parse(t, "--config", path); err == nil || !strings.Contains(err.Error(), want) || ExitCode(err) != ExitConfig {
			t.Errorf("%q: %v (exit code %d), want %q", text, err, ExitCode(err), want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, ExitDone},
		{errors.New("any"), ExitFailed},
		{Usage(errors.New("any")), ExitUsage},
		{fmt.Errorf("outer: %w", Usage(errors.New("any"))), ExitUsage},
		{configf("any"), ExitConfig},
		{fmt.Errorf("outer: %w", crypto.ErrWrongKey), ExitConfig},
		{fmt.Errorf("outer: %w", stor.ErrConfig), ExitConfig},
		{file.ErrLocked, ExitConfig},
		{tlog.Corruptf("any"), ExitIntegrity},
		{fmt.Errorf("outer: %w", stor.ErrFenced), ExitFenced},
		{tlog.Unavailablef("any"), ExitServers},
		{&stor.Refusal{Code: stor.Unfit, Err: errors.New("any")}, ExitServers},
		{stor.ErrEmpty, ExitServers},
		{&Exit{Code: ExitNotFlushed, Err: errors.New("any")}, ExitNotFlushed},
	} {
		if got := ExitCode(c.err); got != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.code)
		}
	}
}

// TestEmbedded makes a store, finds it again, and does not make it twice.
func TestEmbedded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := open(t, dir, false); ExitCode(err) != ExitConfig {
		t.Errorf("a reader of nothing: %v", err)
	}
	for range 2 {
		m, err := open(t, dir, true)
		if err != nil || m.P() != 7 || m.W != 6 {
			t.Fatalf("writer: %+v, %v", m, err)
		}
	}
	know(t, dir)
	if st, err := os.Stat(filepath.Join(dir, "key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", st, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "shard-03")); err != nil {
		t.Fatal(err)
	}
	for _, write := range []bool{false, true} {
		if m, err := open(t, dir, write); err != nil || m.P() != 7 {
			t.Errorf("with a directory gone (write %t): %v", write, err)
		}
	}
	if fileExists(filepath.Join(dir, "shard-03")) {
		t.Error("the lost directory was made again")
	}
}

// know makes the store one that has a vdisk: its initialisation is over then.
func know(t testing.TB, dir string) {
	t.Helper()
	f, err := parse(t, "--data-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	o, err := f.OpenWriter(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	log, err := o.Pool.Takeover(t.Context(), tlog.UUID{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	log.Close()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string, write bool) (stor.Manifest, error) {
	t.Helper()
	return opened(t, write, "--data-dir", dir)
}

func opened(t testing.TB, write bool, args ...string) (stor.Manifest, error) {
	t.Helper()
	f, err := parse(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	openAny := f.OpenWriter
	if !write {
		openAny = func(ctx context.Context, log *slog.Logger) (*Opened, error) { return f.OpenReader(ctx, log, true) }
	}
	o, err := openAny(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		return stor.Manifest{}, err
	}
	m := o.Pool.Manifest()
	return m, o.Close()
}

// What flags say of a pool that exists is held against it, each number alone too.
func TestAgreesWithThePool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if _, err := opened(t, true, "--data-dir", dir, "--min-shards", "5"); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                                  "",
		"--data-shards 4":                   "",
		"--parity-shards 2":                 "",
		"--data-shards 4 --parity-shards 2": "",
		"--min-shards 5":                    "",
		"--data-shards 5":                   "4+2 shards, not 5 data shards",
		"--parity-shards 3":                 "4+2 shards, not 3 parity shards",
		"--data-shards 4 --parity-shards 0": "4+2 shards, not 0 parity shards",
		"--min-shards 6":                    "its write quorum is 5, not 6",
		"--min-shards 4":                    "its write quorum is 5, not 4",
		"--durability everysec":             `its durability is "always", not "everysec"`,
	} {
		_, err := opened(t, false, append([]string{"--data-dir", dir}, strings.Fields(args)...)...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || ExitCode(err) != ExitConfig) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
