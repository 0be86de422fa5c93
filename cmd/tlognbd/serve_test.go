package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tlog/cmd/internal/storage"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"512": 512, "1K": 1 << 10, "64M": 64 << 20, "10G": 10 << 30, "10g": 10 << 30, "2T": 2 << 40, "10GiB": 10 << 30,
		"": 0, "0": 0, "-1": 0, "G": 0, "1GB": 0, "1.5G": 0, "10X": 0, "1GG": 0, "1iB": 0, "9000P": 0, "99999999999999999999": 0, "1 G": 0,
	} {
		var s storage.Size
		err := s.Set(text)
		if (err == nil) != (want > 0) || int64(s) != want {
			t.Errorf("%q: %d, %v; want %d", text, s, err, want)
		}
	}
}

// parse runs the command line up to its checks.
func parse(t *testing.T, args ...string) (*serve, error) {
	t.Helper()
	s := &serve{given: pflag.NewFlagSet("storage", pflag.ContinueOnError)}
	c := s.command()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.RunE = func(_ *cobra.Command, args []string) error {
		s.vdisk = "v"
		return s.check()
	}
	c.SetArgs(append([]string{"v"}, args...))
	return s, c.Execute()
}

func TestRefusedCommandLines(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("dta-dir: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"", storage.ExitUsage, "--size is needed"},
		{"--size 513", storage.ExitUsage, "multiple of 512"},
		{"--size 1G --listen 0.0.0.0:10809", storage.ExitUsage, "--insecure"},
		{"--size 1G --listen :10809", storage.ExitUsage, "--insecure"},
		{"--size 1G --listen unix:", storage.ExitUsage, "1 to 107 bytes"},
		{"--size 1G --listen 127.0.0.1", storage.ExitUsage, "HOST:PORT"},
		{"--size 1G --server 127.0.0.1:70000", storage.ExitUsage, "not a port"},
		{"--size 1G --flush-deadline 0s", storage.ExitUsage, "must be positive"},
		{"--size 1G --group a/b", storage.ExitUsage, "--group"},
		{"--size 1G --threads 0", storage.ExitUsage, "1 to 1024"},
		{"--size 1G --config " + bad, storage.ExitConfig, "unknown key"},
	} {
		_, err := parse(t, strings.Fields(c.args)...)
		if err == nil || storage.ExitCode(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: exit %d, %v", c.args, storage.ExitCode(err), err)
		}
	}
	for _, args := range []string{"--size 1G", "--size 1G --listen [::1]:0", "--size 1G --listen localhost:1", "--size 1G --listen :1 --insecure", "--size 1G --listen unix:x.sock"} {
		if _, err := parse(t, strings.Fields(args)...); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// What was given for storage reaches the plugin, with absolute paths, and what
// was not given does not.
func TestParameters(t *testing.T) {
	s, err := parse(t, "--size", "1G", "--data-dir", "d", "--storage-addresses", "a:1,b:2@3", "--data-shards", "2", "--server", "x:1,unix:/s", "--takeover", "--group", "g", "--group-dir", "d")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.parameters("/base.img")
	here, _ := filepath.Abs("d")
	want := []string{
		"vdisk=v", "size=1073741824", "server=x:1,unix:/s", "base=/base.img", "flush-deadline=30s", "takeover=true", "group=g", "group-dir=" + here,
		"data-dir=" + here, "data-shards=2", "storage-addresses=a:1,b:2@3",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	for listen, want := range map[string]string{"127.0.0.1:7": "-i 127.0.0.1 -p 7", ":7": "-p 7", "unix:/x": "-U /x", "[::1]:7": "-i ::1 -p 7"} {
		s.endpoint.listen = listen
		if got := strings.Join(s.endpoint.socket(), " "); got != want {
			t.Errorf("--listen %s: %q, want %q", listen, got, want)
		}
	}
}

func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	live, stale, file := filepath.Join(dir, "live"), filepath.Join(dir, "stale"), filepath.Join(dir, "file")
	l, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dead, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{live: storage.ExitConfig, file: storage.ExitConfig, stale: 0, filepath.Join(dir, "none"): 0} {
		if err := removeStale(path); storage.ExitCode(err) != want {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); (err == nil) != (want != 0) {
			t.Errorf("%s: %v afterwards", path, err)
		}
	}
}
