package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	stopSignal = syscall.SIGSTOP
	contSignal = syscall.SIGCONT
)

// tlogServer is a tlogserver and the link in front of it.
type tlogServer struct {
	w       *world
	i       int
	addr    string
	metrics string
	link    *link
	p       *process
	base    usage // of the process that runs, before it had clients
}

// usage is what a process holds.
type usage struct {
	goroutines, descriptors, heap int
}

func (w *world) newServer(i int) (*tlogServer, error) {
	s := &tlogServer{w: w, i: i}
	var err error
	if s.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if s.metrics, err = freeAddr(); err != nil {
		return nil, err
	}
	s.link, err = w.newLink(s.addr)
	return s, err
}

// start starts the process, to die at a point if there is one.
func (s *tlogServer) start(at *point) error {
	if at == nil {
		return s.startMeasured()
	}
	return s.startWith(fmt.Sprintf("TLOG_FAILPOINT=%s:%d", at.name, 1+s.w.rng.IntN(at.most)))
}

func (s *tlogServer) startWith(env ...string) error {
	env = append(env, s.w.pool.serverEnv()...)
	args := append([]string{"--listen", s.addr, "--metrics-listen", s.metrics, "--flush-size", strconv.Itoa(s.w.shape.flush)}, s.w.pool.flags...)
	if s.w.shape.budget != "" {
		args = append(args, "--memory-budget", s.w.shape.budget)
	}
	var err error
	if s.p, err = s.w.launch(fmt.Sprintf("tlogserver-%d", s.i), env, s.w.cfg.bin("tlogserver"), args...); err != nil {
		return err
	}
	return listens(s.p, "tcp", s.addr)
}

// usage is what the process holds now, its garbage collected.
func (s *tlogServer) usage() (usage, map[string]float64, error) { return s.ask("?collect") }

func (s *tlogServer) ask(how string) (usage, map[string]float64, error) {
	var u usage
	fds, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(s.p.cmd.Process.Pid), "fd"))
	if err != nil {
		return u, nil, err
	}
	resp, err := http.Get("http://" + s.metrics + "/metrics" + how)
	if err != nil {
		return u, nil, err
	}
	defer resp.Body.Close()
	numbers := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			numbers[name] = v
		}
	}
	http.DefaultClient.CloseIdleConnections()
	u = usage{int(numbers["go_goroutines"]), len(fds), int(numbers["go_memstats_heap_alloc_bytes"])}
	return u, numbers, lines.Err()
}

// calm checks that nothing is left of clients that are gone and faults that are
// over. What a few idle vdisks cost, and the connections to each Redis, or the
// segments of each directory, that are kept for later, is the slack.
func (s *tlogServer) calm() error {
	const heap = 8 << 20
	slack := 12 + 4*s.w.pool.count
	return eventually(fmt.Sprintf("tlogserver %d gives everything back", s.i), func() error {
		u, m, err := s.usage()
		switch {
		case err != nil:
			return err
		case m["tlog_memory_budget_used_bytes"] != 0 || m["tlog_connections"] != 0:
			return fmt.Errorf("%v bytes of its budget are used, %v connections are open", m["tlog_memory_budget_used_bytes"], m["tlog_connections"])
		case u.goroutines > s.base.goroutines+slack || u.descriptors > s.base.descriptors+slack || u.heap > s.base.heap+heap:
			return fmt.Errorf("it holds %+v; when it started, it was %+v; open are %v", u, s.base, s.open())
		}
		kept := &s.w.stats.kept
		kept.goroutines = max(kept.goroutines, u.goroutines-s.base.goroutines)
		kept.descriptors = max(kept.descriptors, u.descriptors-s.base.descriptors)
		kept.heap = max(kept.heap, u.heap-s.base.heap)
		return nil
	})
}

// open lists what its descriptors are.
func (s *tlogServer) open() []string {
	links, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(s.p.cmd.Process.Pid), "fd", "*"))
	var list []string
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil {
			list = append(list, strings.TrimPrefix(target, s.w.dir))
		}
	}
	slices.Sort(list)
	return list
}

// startMeasured starts the process, and notes what it holds before clients
// reach it.
func (s *tlogServer) startMeasured() error {
	s.link.block(true)
	defer s.link.block(false)
	if err := s.startWith(); err != nil {
		return err
	}
	return eventually("metrics", func() (err error) { s.base, _, err = s.usage(); return err })
}

// dieOf waits for a server to die at its point, and kills it otherwise.
func (s *tlogServer) dieOf(most time.Duration) bool {
	died := s.p.within(most)
	if !died {
		s.p.kill()
	}
	return s.w.struck(s.p)
}

// struck books how a process that is dead was killed; true if at a point.
func (w *world) struck(p *process) bool {
	if name := p.hit(); name != "" {
		p.ending.Store(true)
		w.stats.points.hits[name]++
		w.stats.kills["failpoint"]++
		return true
	}
	return false
}
