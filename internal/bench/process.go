package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tlog/internal/bench/proc"
)

// endTime is how long a process may take to end in good order.
const endTime = 40 * time.Second

// process is a program that runs beside this one, and ends with it.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it was reaped
	failed error         // how it ended
	errs   *tail
}

// tail keeps the end of what is written to it, and may look at its lines.
type tail struct {
	mu    sync.Mutex
	kept  []byte
	lines func(line string)
	part  []byte
}

const tailBytes = 4 << 10

// Write keeps b.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-tailBytes):]
	if t.lines == nil {
		return len(b), nil
	}
	t.part = append(t.part, b...)
	for {
		i := bytes.IndexByte(t.part, '\n')
		if i < 0 {
			return len(b), nil
		}
		t.lines(string(t.part[:i]))
		t.part = t.part[i+1:]
	}
}

// String is the end of what was written.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// start starts a program; its standard input and output are what is given.
// lines, if not nil, is told each line of its standard error.
func start(in io.Reader, out io.Writer, lines func(string), program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{}), errs: &tail{lines: lines}}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, p.errs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when this process is killed
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	go func() {
		p.failed = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// wait waits for the end.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
	if p.failed != nil {
		return fmt.Errorf("bench: %s: %w: %s", p.cmd.Path, p.failed, p.errs)
	}
	return nil
}

// stop ends the process in good order.
func (p *process) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.wait(ctx)
}

// kill ends the process at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// serverProcess is a tlogserver.
type serverProcess struct {
	*process
	addr    string
	metrics string // URL
}

// startServer starts tlogserver and waits until it listens.
func (h *Harness) startServer(ctx context.Context, flags ...string) (*serverProcess, error) {
	s := &serverProcess{}
	metrics := make(chan string, 1)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s.process, err = start(nil, w, func(line string) {
		if _, url, ok := strings.Cut(line, " url="); ok {
			select {
			case metrics <- url:
			default:
			}
		}
	}, h.cfg.Server, append([]string{"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"}, flags...)...)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		addr, ok := strings.CutPrefix(lines.Text(), "listening on ")
		if !ok {
			continue
		}
		s.addr = addr
		select {
		case s.metrics = <-metrics:
			return s, nil
		case <-s.ended:
		case <-ctx.Done():
		}
	}
	s.kill()
	return nil, errors.Join(ctx.Err(), fmt.Errorf("bench: tlogserver %s does not start: %s", strings.Join(flags, " "), s.errs))
}

// runtimeNumbers are what a server says of its Go runtime.
type runtimeNumbers struct {
	allocs float64
	gc     float64 // seconds of processor time
}

func (s *serverProcess) runtime(ctx context.Context) (n runtimeNumbers, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.metrics, nil)
	if err != nil {
		return n, err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return n, fmt.Errorf("bench: metrics: %w", err)
	}
	defer resp.Body.Close()
	found := 0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		to, ok := map[string]*float64{"go_memstats_mallocs_total": &n.allocs, "go_cpu_classes_gc_total_cpu_seconds_total": &n.gc}[name]
		if !ok {
			continue
		}
		if *to, err = strconv.ParseFloat(value, 64); err != nil {
			return n, fmt.Errorf("bench: metrics: %w", err)
		}
		found++
	}
	if found != 2 {
		return n, fmt.Errorf("bench: metrics lack the Go runtime's numbers: %w", lines.Err())
	}
	return n, nil
}

// asking is how many allocations one call of runtime costs the server. They
// are counted when a processor's cache of free memory is used up, so by leaps.
func (s *serverProcess) asking(ctx context.Context) (float64, error) {
	const times = 50
	var first, last runtimeNumbers
	var err error
	for i := range times + 2 { // the first one connects
		if last, err = s.runtime(ctx); err != nil {
			return 0, err
		}
		if i == 1 {
			first = last
		}
	}
	return (last.allocs - first.allocs) / times, nil
}

// clientProcess is this program as a client.
type clientProcess struct {
	*process
	in  io.WriteCloser
	out *bufio.Reader
}

// startClient starts a client and waits until it is warm.
func (h *Harness) startClient(ctx context.Context, l Load) (*clientProcess, error) {
	spec, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inR.Close(), inW.Close())
	}
	c := &clientProcess{in: inW, out: bufio.NewReader(outR)}
	c.process, err = start(inR, outW, nil, h.cfg.Self, h.cfg.LoadCommand)
	if err := errors.Join(err, inR.Close(), outW.Close()); err != nil {
		return nil, errors.Join(err, inW.Close(), outR.Close())
	}
	context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	if _, err := c.in.Write(append(spec, '\n')); err != nil {
		c.kill()
		return nil, fmt.Errorf("bench: client: %w: %s", err, c.errs)
	}
	if line, err := c.out.ReadString('\n'); err != nil || strings.TrimSpace(line) != wordReady {
		c.kill()
		return nil, fmt.Errorf("bench: client: %q, %w: %s", line, err, c.errs)
	}
	return c, nil
}

// measure lets a warm client work.
func (c *clientProcess) measure() (o Outcome, err error) {
	if _, err := io.WriteString(c.in, wordGo+"\n"); err != nil {
		return o, fmt.Errorf("bench: client: %w: %s", err, c.errs)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		c.kill()
		return o, fmt.Errorf("bench: client: %w: %s", err, c.errs)
	}
	return o, json.Unmarshal(line, &o)
}

// end lets the client close its session, and waits for it.
func (c *clientProcess) end(ctx context.Context) error {
	return errors.Join(c.in.Close(), c.wait(ctx))
}

// memoryMiB is the resident memory of a process, now and at its most.
func memoryMiB(pid int) (now, peak float64, err error) {
	n, p, err := proc.Memory(pid)
	return float64(n) / (1 << 20), float64(p) / (1 << 20), err
}
