package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/schema"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"tlogserver": main}) }

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":  func(ts *testscript.TestScript, _ bool, args []string) { exits(ts, args[0], args[1:]) },
			"wrong": wrong,
		},
	})
}

// exits runs a command that must end with that code.
func exits(ts *testscript.TestScript, code string, args []string) {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != code {
		ts.Fatalf("%v: %v, want exit code %s", args, err, code)
	}
}

// wrong runs tlogserver with one argument that must be refused with those words.
func wrong(ts *testscript.TestScript, _ bool, args []string) {
	exits(ts, "2", []string{"tlogserver", args[0]})
	if got := ts.ReadFile("stderr"); !strings.Contains(got, args[1]) || strings.Count(got, "\n") != 1 {
		ts.Fatalf("%s: got %q, want a line with %q", args[0], got, args[1])
	}
	if got := ts.ReadFile("stdout"); got != "" {
		ts.Fatalf("%s: standard output %q", args[0], got)
	}
	left, err := os.ReadDir(ts.MkAbs("."))
	ts.Check(err)
	for _, f := range left {
		if f.Name() != ".tmp" {
			ts.Fatalf("%s: left %s behind", args[0], f.Name())
		}
	}
}

// started runs the command in this process until stop is called, which
// returns its exit code.
func started(t *testing.T, args ...string) (where, addr string, stop func() int) {
	t.Helper()
	return startedWith(t, io.Discard, args...)
}

// startedWith is started with a writer that gets the log.
func startedWith(t *testing.T, log io.Writer, args ...string) (where, addr string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		c := command(in, log)
		c.SetArgs(args)
		err := c.ExecuteContext(ctx)
		_ = in.CloseWithError(err)
		code <- storage.ExitCode(err)
	}()
	lines := bufio.NewReader(out)
	where, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if addr, err = lines.ReadString('\n'); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	addr, ok := strings.CutPrefix(strings.TrimSpace(addr), "listening on ")
	if !ok {
		t.Fatalf("second line is %q", addr)
	}
	return where, addr, func() int { cancel(); return <-code }
}

// hello attaches a version-2 client and returns the answer.
func hello(t *testing.T, network, addr string) schema.Welcome {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	h := schema.Hello{Version: schema.Version2, MinVersion: schema.Version2, Vdisk: "v", Client: tlog.UUID{1}}
	if _, err := c.Write(schema.AppendHello(nil, &h)); err != nil {
		t.Fatal(err)
	}
	frame, err := schema.NewReader(c).Frame(schema.MaxHandshake, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := schema.DecodeWelcome(frame)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestServesAndEnds(t *testing.T) {
	dir := t.TempDir()
	for generation := tlog.Generation(1); generation <= 2; generation++ { // the second one finds what the first wrote
		where, addr, stop := started(t, "--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
		for _, says := range []string{"data goes to 7 directories in", "4+2", "a flushed write is synced on 6 shard servers", "lasts for a time not known yet"} {
			if !strings.Contains(where, says) {
				t.Errorf("first line %q does not say %q", where, says)
			}
		}
		w := hello(t, "tcp", addr)
		if w.Status != tlog.HandshakeOK || w.Generation != generation || w.Durability == "" {
			t.Errorf("welcome: %v (%s), generation %d, %q", w.Status, w.Message, w.Generation, w.Durability)
		}
		if code := stop(); code != storage.ExitDone {
			t.Errorf("exit code %d, want 0", code)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "data", "key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", st, err)
	}
}

// A server that keeps nothing says so, in capitals, and does not show the flag.
func TestDiscard(t *testing.T) {
	where, addr, stop := started(t, "--discard", "--listen", "127.0.0.1:0")
	if !strings.Contains(where, "NOWHERE") || !strings.Contains(where, "nothing is kept") {
		t.Errorf("first line %q", where)
	}
	if w := hello(t, "tcp", addr); w.Status != tlog.HandshakeOK || !strings.Contains(w.Durability, "GONE") {
		t.Errorf("welcome: %v, %q", w.Status, w.Durability)
	}
	if code := stop(); code != storage.ExitDone {
		t.Errorf("exit code %d, want 0", code)
	}
	if f := command(io.Discard, io.Discard).Flags().Lookup("discard"); !f.Hidden {
		t.Error("--discard is shown by --help")
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if ln, err := listen("unix:" + path); err == nil {
		_ = ln.Close()
		t.Fatal("took the socket of a server that runs")
	}
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	_, addr, stop := started(t, "--memory", "--listen", "unix:"+path)
	if addr != "unix:"+path {
		t.Errorf("listening on %s", addr)
	}
	if w := hello(t, "unix", path); w.Status != tlog.HandshakeOK {
		t.Errorf("welcome: %v", w.Status)
	}
	if code := stop(); code != storage.ExitDone {
		t.Errorf("exit code %d, want 0", code)
	}
}

// metricsURL is a log that gives the address of the metrics as soon as it has it.
type metricsURL chan string

func (m metricsURL) Write(line []byte) (int, error) {
	if _, url, ok := strings.Cut(string(line), " msg=metrics url="); ok {
		m <- strings.TrimSpace(url)
	}
	return len(line), nil
}

func TestMetrics(t *testing.T) {
	log := make(metricsURL, 1)
	_, addr, stop := startedWith(t, log, "--memory", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
	hello(t, "tcp", addr)
	resp, err := http.Get(<-log)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"tlog_handshakes_total 1", "tlog_vdisks 1", "tlog_memory_budget_used_bytes 0", "tlog_memory_budget_bytes 1.34217728e+08"} {
		if !strings.Contains(string(body), line+"\n") {
			t.Errorf("metrics do not say %q:\n%s", line, body)
		}
	}
	for _, name := range []string{"go_memstats_mallocs_total", "go_cpu_classes_gc_total_cpu_seconds_total"} { // the harness reads them
		if !strings.Contains(string(body), "\n"+name+" ") {
			t.Errorf("metrics do not have %s", name)
		}
	}
	if code := stop(); code != storage.ExitDone {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.8.9.1": true, "::1": true, "localhost": true,
		"": false, "0.0.0.0": false, "::": false, "192.0.2.1": false, "example.com": false,
	} {
		if got := loopback(host); got != want {
			t.Errorf("loopback(%q) = %v, want %v", host, got, want)
		}
	}
}
