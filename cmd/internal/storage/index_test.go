package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestIndexDir(t *testing.T) {
	home := func() (string, error) { return "/home/u/.cache", nil }
	none := func() (string, error) { return "", errors.New("no home") }
	if got := indexDir(home); got != "/home/u/.cache/tlog" {
		t.Errorf("with a home: %s", got)
	}
	if got := indexDir(none); got != "/var/cache/tlog" {
		t.Errorf("without a home: %s", got)
	}
	t.Setenv("XDG_CACHE_HOME", "/home/u/.cache")
	for arg, want := range map[string]string{"": indexDir(home), "--index=": "", "--index=d": "d"} {
		var x Index
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		x.Register(fs)
		if err := fs.Parse(strings.Fields(arg)); err != nil || x.Dir != want {
			t.Errorf("%q: %q, %v; want %q", arg, x.Dir, err, want)
		}
	}
}

// A configuration file is shared by all programs: one that has no use for
// indexes leaves their key alone.
func TestIndexInTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte("index: /there\ndata-dir: d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := parse(t, "--config", path)
	if err != nil || f.DataDir != "d" {
		t.Errorf("without the flag: %+v, %v", f, err)
	}
	var x Index
	f = new(Flags)
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Register(fs, false)
	x.Register(fs)
	if err := errors.Join(fs.Parse([]string{"--config", path}), f.ReadConfig(fs)); err != nil || x.Dir != "/there" {
		t.Errorf("with the flag: %q, %v", x.Dir, err)
	}
}
