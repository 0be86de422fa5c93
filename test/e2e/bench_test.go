//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestBench lets the harness measure everything that its last line tells, for
// as short as it can, and looks whether each figure is there. What they are is
// not for a test.
func TestBench(t *testing.T) {
	dir := t.TempDir()
	out := run(t, bin(t, "tlogctl"), "bench", "--runs", "1", "--time", "100ms", "--warm", "20ms", "--log-length", "8M",
		"--dir", dir, "--image-dir", dir, "null", "redis", "redis25", "file", "always", "restore", "fio", "flush")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	figures, ok := strings.CutPrefix(lines[len(lines)-1], "bench: ")
	if !ok {
		t.Fatalf("the last line is %q:\n%s", lines[len(lines)-1], tail(out))
	}
	got := map[string]float64{}
	for _, f := range strings.Fields(figures) {
		name, value, _ := strings.Cut(f, "=")
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		got[name] = x
	}
	for _, name := range []string{"null", "redis", "redis25", "file", "always", "restore", "fio", "flushp50"} {
		if got[name] <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left %v behind, %v", left, err)
	}
}

// TestBenchRefuses gives what cannot be measured: usage errors, before anything starts.
func TestBenchRefuses(t *testing.T) {
	for _, args := range [][]string{{"none"}, {"--record", "0", "stream"}, {"--record", "4X", "stream"}, {"--log-length", "1K", "open"}} {
		out, code := try(t, bin(t, "tlogctl"), append([]string{"bench", "--dir", filepath.Join(t.TempDir(), "none")}, args...)...)
		if code != 2 {
			t.Errorf("%v: exit code %d, want 2: %s", args, code, out)
		}
	}
}
