package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long anything may take that must happen.
const patience = 60 * time.Second

// process is a program that runs, with its output in a file.
type process struct {
	name    string
	cmd     *exec.Cmd
	log     string
	done    chan struct{} // closed when it was reaped
	ending  atomic.Bool   // it was told to, or killed
	started time.Time
}

// launch starts a program that prints to its log.
func (w *world) launch(name string, env []string, program string, args ...string) (*process, error) {
	return w.launchWith(name, env, nil, nil, program, args...)
}

// launchWith starts a program; its standard output goes to out, if that is not nil.
func (w *world) launchWith(name string, env []string, in, out *os.File, program string, args ...string) (*process, error) {
	number := w.launched.Add(1)
	p := &process{name: name, done: make(chan struct{}), started: time.Now(),
		log: filepath.Join(w.dir, "logs", fmt.Sprintf("%s.%03d", name, number))}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if out != nil {
		p.cmd.Stdin, p.cmd.Stdout = in, out
	}
	// It must not outlive this program, if that is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is asked of ProcessState
		close(p.done)
	}()
	return p, nil
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	p.ending.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// within waits for the end of the process.
func (p *process) within(d time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(d):
		return false
	}
}

// stop is SIGTERM; it returns the exit code, −1 if it was killed in the end.
func (p *process) stop() int {
	p.ending.Store(true)
	p.signal(syscall.SIGTERM)
	if !p.within(patience) {
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// hit is the failpoint at which the process died, if it did.
func (p *process) hit() string { return p.told("failpoint ") }

// told is what followed a word at the beginning of a line, the last time.
func (p *process) told(word string) string {
	f, err := os.Open(p.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	name := ""
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), word); ok {
			name = n
		}
	}
	return name
}

// tail is the end of what it printed.
func (p *process) tail() string {
	const most = 3000
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}

// died is an error if the process ended though nobody ended it.
func (p *process) died() error {
	if p == nil || p.alive() || p.ending.Load() || p.hit() != "" {
		return nil
	}
	p.ending.Store(true) // told once
	return fmt.Errorf("%s ended by itself: %v\n%s", p.name, p.cmd.ProcessState, p.tail())
}

// run runs a program to its end and returns what it printed and its exit code.
func (w *world) run(name string, env []string, program string, args ...string) (string, int, error) {
	p, err := w.launch(name, env, program, args...)
	if err != nil {
		return "", 0, err
	}
	if !p.within(10 * patience) {
		p.kill()
	}
	b, err := os.ReadFile(p.log)
	return string(b), p.cmd.ProcessState.ExitCode(), err
}

// eventually waits for a foreign process to get somewhere.
func eventually(what string, ok func() error) error {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit:
			return fmt.Errorf("%s: not within %v: %w", what, patience, err)
		}
	}
}

// listens waits until somebody listens at addr, or p has ended.
func listens(p *process, network, addr string) error {
	return eventually(p.name+" listens at "+addr, func() error {
		c, err := net.Dial(network, addr)
		if err == nil {
			return c.Close()
		}
		if !p.alive() {
			return nil
		}
		return err
	})
}

// freeAddr is a loopback address nobody listens on, below the ports that the
// kernel gives to connections: one of those may take the port of a server that
// is dead for a moment.
func freeAddr() (string, error) {
	const lowest, most = 12000, 20000
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(most)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no port is free")
}

var errStopped = errors.New("stopped")
