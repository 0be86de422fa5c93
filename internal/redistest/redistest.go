// Package redistest starts real Redis servers for tests that have the build
// tag e2e.
//
// A Server listens on a free port of loopback, keeps its files in a directory
// of its own, and is ended, by its process ID, when the test ends.
package redistest

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tlog/internal/redisrun"
)

// Server is one redis-server process. Its methods end the test when the
// process does not do as told; they are for one goroutine.
type Server struct {
	Addr string // host:port
	Dir  string // where it keeps its files
	Pid  int    // of the process that runs now, or ran last

	t   testing.TB
	run *redisrun.Server
}

// Start starts a Redis that a shard server may be: every write synced. args
// come last, so they overrule: "--appendfsync", "everysec".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	run, err := redisrun.Start(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: run.Addr, Dir: run.Dir, Pid: run.Pid, t: t, run: run}
	t.Cleanup(s.Kill)
	return s
}

// Do sends one command, as redis-cli would, and gives the first line of the
// answer; an error answer ends the test.
func (s *Server) Do(words ...string) string {
	s.t.Helper()
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	answer, err := s.run.Ask(strings.Join(quoted, " "))
	if err != nil || strings.HasPrefix(answer, "-") {
		s.t.Fatalf("redis %s: %q, %v", words, answer, err)
	}
	return answer
}

// Kill ends the process as a crash would, and waits for its end.
func (s *Server) Kill() {
	s.t.Helper()
	s.end(syscall.SIGKILL)
}

// Stop ends the process in good order, and waits for its end.
func (s *Server) Stop() {
	s.t.Helper()
	s.end(syscall.SIGTERM)
}

func (s *Server) end(sig os.Signal) {
	s.t.Helper()
	if err := s.run.End(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze stops the process from running, so that it neither answers nor closes
// its connections; Thaw lets it go on.
func (s *Server) Freeze() { s.send(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.send(syscall.SIGCONT) }

func (s *Server) send(sig os.Signal) {
	s.t.Helper()
	if err := s.run.Signal(sig); err != nil {
		s.t.Fatalf("redis-server %d: %v: %v", s.Pid, sig, err)
	}
}

// Restart starts the process again, on the same port and files, after Kill or
// Stop; args, if any, replace those of Start.
func (s *Server) Restart(args ...string) {
	s.t.Helper()
	if err := s.run.Restart(args...); err != nil {
		s.t.Fatal(err)
	}
	s.Pid = s.run.Pid
}

// Log is the end of what the server logged.
func (s *Server) Log() string { return s.run.Log() }

// Get is the value of a setting.
func (s *Server) Get(setting string) string {
	s.t.Helper()
	lines, err := s.run.Lines("CONFIG GET "+setting, 5) // *2, $n, name, $n, value
	if err != nil {
		s.t.Fatalf("config get %s: %v", setting, err)
	}
	return lines[4]
}
