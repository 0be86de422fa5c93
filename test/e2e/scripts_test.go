//go:build e2e

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"tlog/internal/redistest"
)

// TestScripts runs what operators type, right and wrong, and checks the words
// and exit codes they get. The command `code N cmd…` wants exit code N.
func TestScripts(t *testing.T) {
	bindir := filepath.Dir(bin(t, "tlogctl"))
	testscript.Run(t, testscript.Params{
		Dir: "testdata/scripts",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bindir+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("ADDR", freeAddr(t))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":  wantCode,
			"redis": startRedis(t),
		},
	})
}

// wantCode is the script command `code N program arguments…`.
func wantCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program arguments…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v: exit code %d, want %d", args[1:], got, want)
	}
}

// startRedis is the script command `redis NAME arguments…`: it starts a
// redis-server with these arguments and sets NAME to its address.
func startRedis(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 1 {
			ts.Fatalf("usage: redis NAME arguments…")
		}
		s := redistest.Start(t, args[1:]...)
		ts.Setenv(args[0], s.Addr)
	}
}
