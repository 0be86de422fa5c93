// Package redistest starts real Redis servers for tests that have the build
// tag e2e.
//
// A Server listens on a free port of loopback, keeps its files in a directory
// of its own, and is ended, by its process ID, when the test ends.
package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 30 * time.Second

// Server is one redis-server process. Its methods end the test when the
// process does not do as told; they are for one goroutine.
type Server struct {
	Addr string // host:port
	Dir  string // where it keeps its files
	Pid  int    // of the process that runs now, or ran last

	t     testing.TB
	args  []string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process was reaped
}

// Start starts a Redis that a shard server may be: every write synced. args
// come last, so they overrule: "--appendfsync", "everysec".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir(), args: args}
	for range 5 {
		s.Addr = freeAddr(t)
		s.launch()
		if s.wait() {
			t.Cleanup(s.Kill)
			return s
		}
		// The port may have been taken between our look and its listening.
		s.Kill()
	}
	t.Fatalf("redis-server did not start: %s", s.Log())
	return nil
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *Server) launch() {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	args := append([]string{
		"--bind", "127.0.0.1", "--port", port, "--dir", s.Dir, "--logfile", filepath.Join(s.Dir, "redis.log"),
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no",
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test binary is killed
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
	s.Pid = s.cmd.Process.Pid
	ended := make(chan struct{})
	s.ended = ended
	cmd := s.cmd
	go func() { _ = cmd.Wait(); close(ended) }()
}

// wait waits until the server answers, whatever it answers, and reports
// whether it is still alive then.
func (s *Server) wait() bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		if answer, err := s.ask("PING"); err == nil && !strings.HasPrefix(answer, "-LOADING") {
			return s.alive()
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return false
		case <-end:
			return false
		}
	}
}

func (s *Server) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// ask sends one inline command and gives the first line of the answer.
func (s *Server) ask(command string) (string, error) {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// Do sends one command, as redis-cli would, and gives the first line of the
// answer; an error answer ends the test.
func (s *Server) Do(words ...string) string {
	s.t.Helper()
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	answer, err := s.ask(strings.Join(quoted, " "))
	if err != nil || strings.HasPrefix(answer, "-") {
		s.t.Fatalf("redis %s: %q, %v", words, answer, err)
	}
	return answer
}

// Kill ends the process as a crash would, and waits for its end.
func (s *Server) Kill() {
	s.t.Helper()
	s.signal(syscall.SIGKILL)
}

// Stop ends the process in good order, and waits for its end.
func (s *Server) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
}

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("redis-server %d: %v", s.Pid, err)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("redis-server %d does not end on %v", s.Pid, sig)
	}
}

// Freeze stops the process from running, so that it neither answers nor closes
// its connections; Thaw lets it go on.
func (s *Server) Freeze() { s.send(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.send(syscall.SIGCONT) }

func (s *Server) send(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("redis-server %d: %v: %v", s.Pid, sig, err)
	}
}

// Restart starts the process again, on the same port and files, after Kill or
// Stop; args, if any, replace those of Start.
func (s *Server) Restart(args ...string) {
	s.t.Helper()
	if len(args) > 0 {
		s.args = args
	}
	s.launch()
	if !s.wait() {
		s.t.Fatalf("redis-server did not start again: %s", s.Log())
	}
}

// Log is the end of what the server logged.
func (s *Server) Log() string {
	const most = 1000
	b, err := os.ReadFile(filepath.Join(s.Dir, "redis.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}

// Get is the value of a setting.
func (s *Server) Get(setting string) string {
	s.t.Helper()
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "CONFIG GET %s\r\n", setting); err != nil {
		s.t.Fatal(err)
	}
	// *2, $n, name, $n, value
	lines := bufio.NewScanner(c)
	var line string
	for range 5 {
		if !lines.Scan() {
			s.t.Fatalf("config get %s: short answer", setting)
		}
		line = lines.Text()
	}
	return line
}
