// Package redisrun starts real Redis servers: for tests (through
// internal/redistest) and for measurements.
//
// A Server listens on a free port of loopback, keeps its files in a directory
// that the caller gives, and is ended by its process ID. It is for one
// goroutine.
package redisrun

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Patience is how long a server may take to start, to answer or to end.
const Patience = 30 * time.Second

// Server is one redis-server process.
type Server struct {
	Addr string // host:port
	Dir  string // where it keeps its files
	Pid  int    // of the process that runs now, or ran last

	args  []string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process was reaped
}

// Start starts a Redis that a shard server may be: every write synced. args
// come last, so they overrule: "--appendfsync", "everysec".
func Start(dir string, args ...string) (*Server, error) {
	s := &Server{Dir: dir, args: args}
	err := errors.New("no port stayed free")
	for range 5 {
		if s.Addr, err = freeAddr(); err != nil {
			return nil, err
		}
		if err = s.launch(); err == nil {
			return s, nil
		}
		// The port may have been taken between our look and its listening.
		_ = s.End(syscall.SIGKILL)
	}
	return nil, err
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("redisrun: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// launch starts the process and waits for its first answer.
func (s *Server) launch() error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append([]string{
		"--bind", "127.0.0.1", "--port", port, "--dir", s.Dir, "--logfile", filepath.Join(s.Dir, "redis.log"),
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no",
	}, s.args...)
	cmd := exec.Command("redis-server", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the caller is killed
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("redisrun: %w", err)
	}
	ended := make(chan struct{})
	s.cmd, s.ended, s.Pid = cmd, ended, cmd.Process.Pid
	go func() { _ = cmd.Wait(); close(ended) }()
	if !s.wait() {
		return fmt.Errorf("redisrun: redis-server does not start: %s", s.Log())
	}
	return nil
}

// wait waits until the server answers, whatever it answers, and reports
// whether it is still alive then.
func (s *Server) wait() bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(Patience)
	for {
		if answer, err := s.Ask("PING"); err == nil && !strings.HasPrefix(answer, "-LOADING") {
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

// Ask sends one inline command and gives the first line of the answer.
func (s *Server) Ask(command string) (string, error) {
	lines, err := s.Lines(command, 1)
	if err != nil {
		return "", err
	}
	return lines[0], nil
}

// Lines sends one inline command and gives the first n lines of the answer.
func (s *Server) Lines(command string, n int) ([]string, error) {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(Patience)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return nil, err
	}
	lines := make([]string, n)
	for i, r := 0, bufio.NewReader(c); i < n; i++ {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		lines[i] = strings.TrimRight(line, "\r\n")
	}
	return lines, nil
}

// Signal sends a signal to the process.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// End sends a signal that ends the process, and waits for its end.
func (s *Server) End(sig os.Signal) error {
	if s.cmd == nil {
		return nil
	}
	if err := s.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("redisrun: redis-server %d: %w", s.Pid, err)
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(Patience):
		return fmt.Errorf("redisrun: redis-server %d does not end on %v", s.Pid, sig)
	}
}

// Restart starts the process again, on the same port and files, after End;
// args, if any, replace those of Start.
func (s *Server) Restart(args ...string) error {
	if len(args) > 0 {
		s.args = args
	}
	return s.launch()
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
