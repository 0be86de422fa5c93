package storage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"

	"tlog/internal/alloctest"
)

// FuzzConfig reads anything as a configuration file: no panic, and what is
// refused ends a program with the exit code of a configuration. It is the
// operator's own file, of which YAML makes a tree: the bound is that of a file
// of a page.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("data-dir: /var/lib/tlog\ndata-shards: 4\n"))
	f.Add([]byte("storage-addresses: [a:1, b:2@3]\nkey-file: k\nlisten: x\n"))
	f.Add([]byte("a: &a [x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n"))
	f.Add([]byte("data-shards: {x: 1}\n"))
	f.Add([]byte("- 1\n"))
	f.Add([]byte("\x00"))
	path := filepath.Join(f.TempDir(), "config")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		alloctest.Bound(t, 4096, func() {
			flags := Flags{Config: path}
			fs := pflag.NewFlagSet("fuzz", pflag.ContinueOnError)
			flags.Register(fs, true)
			flags.Config = path
			err := flags.ReadConfig(fs)
			if err == nil {
				err = flags.check()
			}
			if code := ExitCode(err); err != nil && code != ExitConfig && code != ExitUsage {
				t.Fatalf("exit code %d: %v", code, err)
			}
		})
	})
}
