package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"tlog/cmd/internal/storage"
)

// parseMount runs the command line up to its checks.
func parseMount(t *testing.T, args ...string) (*mount, error) {
	t.Helper()
	m := newMount()
	c := m.command()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.RunE = func(_ *cobra.Command, args []string) error {
		m.vdisk = "v"
		return m.check()
	}
	c.SetArgs(append([]string{"v"}, args...))
	return m, c.Execute()
}

func TestRefusedMounts(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--data-dir d", "--at is needed"},
		{"--data-dir d --at yesterday", `moment "yesterday"`},
		{"--data-dir d --at latest --snap-to write", "want flush or any"},
		{"--at latest", "name the storage"},
		{"--data-dir d --at latest --cache c --hydrate=false", "nothing to keep"},
		{"--data-dir d --at latest --cache c --cow c", "a file each"},
		{"--data-dir d --at latest --listen 0.0.0.0:1", "--insecure"},
		{"--data-dir d --at latest --threads 0", "1 to 1024"},
	} {
		_, err := parseMount(t, strings.Fields(c.args)...)
		if err == nil || storage.ExitCode(err) != storage.ExitUsage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: exit %d, %v", c.args, storage.ExitCode(err), err)
		}
	}
	for _, args := range []string{"--at latest --data-dir d", "--at -5m --snap-to flush --cow c --config " + os.DevNull, "--at seq:1 --hydrate=false --index= --storage-addresses a:1"} {
		if _, err := parseMount(t, strings.Fields(args)...); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// What was given reaches the plugin, with absolute paths.
func TestMountParameters(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", "/somewhere")
	m, err := parseMount(t, "--at", "-5m", "--snap-to", "any", "--cow", "o", "--cache", "/c", "--data-dir", "d", "--index", "i")
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.parameters()
	want := []string{
		"vdisk=v", "past=-5m", "snap-to=any", "hydrate=true", "temp-dir=/somewhere",
		"cow=" + filepath.Join(here, "o"), "cache=/c", "index=" + filepath.Join(here, "i"), "data-dir=" + filepath.Join(here, "d"),
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	t.Setenv("TMPDIR", "")
	if m, err = parseMount(t, "--at", "seq:7", "--hydrate=false", "--index=", "--data-dir", "/d"); err != nil {
		t.Fatal(err)
	}
	got, err = m.parameters()
	if want := []string{"vdisk=v", "past=seq:7", "snap-to=", "hydrate=false", "temp-dir=/var/tmp", "index=", "data-dir=/d"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	if err := os.WriteFile("c.yaml", []byte("index: ix\nlisten: 0.0.0.0:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err = parseMount(t, "--at", "seq:7", "--config", "c.yaml"); err != nil || m.indexes.Dir != "ix" {
		t.Errorf("index %q of the configuration file, %v", m.indexes.Dir, err)
	}
	m.cow = filepath.Join("no", "such", "overlay")
	if _, err := m.parameters(); storage.ExitCode(err) != storage.ExitConfig || !strings.Contains(err.Error(), "--cow") {
		t.Errorf("no directory for the overlay: %v", err)
	}
}
