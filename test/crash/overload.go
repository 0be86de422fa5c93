package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"tlog"
)

// overloadReport is what the overload showed.
type overloadReport struct {
	taken, offered float64 // records/s
	clients        int
	windows        int64         // MiB of all clients
	budget         int64         // MiB of the server
	base, peak     float64       // MiB of the server's memory: before the clients, and at most
	live           float64       // MiB of its heap at the end of the stall, garbage collected
	bound          float64       // MiB that peak may come to
	liveBound      float64       // MiB that live may come to
	used           float64       // MiB of the half of the budget for messages, at most
	stall          time.Duration // of all Redis
	recovery       time.Duration // from its end until everything was flushed
	records        int
	verified       int
}

func (r *overloadReport) ratio() float64 {
	if r.taken == 0 {
		return 0
	}
	return r.offered / r.taken
}

func (r *overloadReport) print(row func(what, format string, a ...any)) {
	row("overload: records/s taken at most; asked for, by so many clients", "%.0f; %.0f (x%.1f), %d", r.taken, r.offered, r.ratio(), r.clients)
	row("all Redis stopped; records sent, all of them compared", "%v; %d", r.stall, r.records)
	row("windows of the clients; memory budget of the server; half of it used", "%d; %d; %.1f MiB", r.windows, r.budget, r.used)
	row("heap of the server at the end of the stall, after GC; may be", "%.0f; %.0f MiB", r.live, r.liveBound)
	row("memory of the server (VmHWM): before the clients; at most; may be", "%.0f; %.0f; %.0f MiB", r.base, r.peak, r.bound)
	row("everything flushed after the end of the stall", "%v", r.recovery.Round(time.Millisecond))
}

// Of the overload. All windows together hold several times what the server's
// budget does, so that it must make clients wait.
const (
	overBudget  = 32 // MiB
	overWindow  = 8  // MiB, of a client
	overClients = 32
	overRatio   = 4.0 // offered to taken
	overCalib   = 3   // clients that find what is taken
)

// overload has clients ask for four times what a server takes, and stops all
// shard servers in the midst of it.
func (c *soakConfig) overload(w *world, out *soakReport) error {
	r := &out.over
	r.clients, r.windows, r.budget, r.stall = overClients, overClients*overWindow, overBudget, c.stall
	w.shape = shape{redis: 7, fsync: "always", servers: 1, writers: overCalib, flush: 256, budget: fmt.Sprintf("%dMiB", overBudget),
		load: load{Blocks: 128, Burst: -1, Window: overWindow << 20}}
	if err := w.begin(nil); err != nil {
		return err
	}
	if !w.progress(patience) {
		w.violated(errors.New("nothing was acknowledged at all"))
		return nil
	}
	s := w.servers[0]
	r.taken = w.rate(2 * time.Second)
	r.offered = overRatio * r.taken
	for _, c := range w.writers {
		if err := c.finish(); err != nil {
			w.violated(err)
			return nil
		}
	}
	if err := w.restartMeasured(s, r); err != nil {
		return err
	}
	w.shape.load.Rate = r.offered / overClients
	for i := overCalib; i < overClients; i++ {
		w.writers = append(w.writers, w.newWriter(w.newLedger(tlog.VdiskID(fmt.Sprintf("disk-%d", i)), driverDisk)))
	}
	for _, c := range w.writers {
		if err := c.start(nil, false); err != nil {
			return err
		}
	}
	if err := w.stallAll(s, r); err != nil || len(w.violations()) > 0 {
		return err
	}
	return w.overJudge(s, r)
}

// restartMeasured starts the server anew, as its peak of memory is counted from
// there.
func (w *world) restartMeasured(s *tlogServer, r *overloadReport) error {
	if code := s.p.stop(); code != 0 {
		w.violated(fmt.Errorf("SIGTERM: tlogserver ended with code %d\n%s", code, s.p.tail()))
	}
	if err := s.startMeasured(); err != nil {
		return err
	}
	var err error
	r.base, err = s.p.peak()
	return err
}

// rate is how many records a second become durable.
func (w *world) rate(d time.Duration) float64 {
	sum := func() (n tlog.Sequence) {
		for _, c := range w.writers {
			n += c.ledger.durable().Sequence
		}
		return n
	}
	<-time.After(d / 3)
	before := sum()
	<-time.After(d)
	return float64(sum()-before) / d.Seconds()
}

// stallAll lets the clients write, stops all shard servers, lets them go on, and
// has everything flushed.
func (w *world) stallAll(s *tlogServer, r *overloadReport) error {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	watch := func(d time.Duration) error {
		for end := time.After(d); ; {
			select {
			case <-end:
				return nil
			case <-look.C:
				w.watch()
				_, m, err := s.ask("")
				if err != nil {
					return err
				}
				r.used = max(r.used, m["tlog_memory_budget_used_bytes"]/(1<<20))
				if m["tlog_memory_budget_used_bytes"] > m["tlog_memory_budget_bytes"] {
					w.violated(fmt.Errorf("the server uses %v bytes of a budget of %v", m["tlog_memory_budget_used_bytes"], m["tlog_memory_budget_bytes"]))
				}
			}
		}
	}
	const before = 2 * time.Second
	if err := watch(before); err != nil {
		return err
	}
	var all []*process
	for _, p := range w.pool.redis {
		all = append(all, p.p)
		p.p.signal(stopSignal)
	}
	w.cfg.say("all Redis stand still")
	err := watch(r.stall)
	if u, _, failed := s.usage(); failed == nil {
		r.live = float64(u.heap) / (1 << 20)
	} else if err == nil {
		err = failed
	}
	for _, p := range all {
		p.signal(contSignal)
	}
	if err != nil || len(w.violations()) > 0 {
		return err
	}
	w.cfg.say("all Redis go on")
	begin := time.Now()
	for _, c := range w.writers {
		if err := c.askEnd(); err != nil {
			return err
		}
	}
	for _, c := range w.writers {
		if err := c.finish(); err != nil {
			w.violated(err)
			return nil
		}
	}
	r.recovery = time.Since(begin)
	if r.recovery > patience {
		w.violated(fmt.Errorf("everything was flushed %v after the stall, not within %v", r.recovery, patience))
	}
	return nil
}

// overJudge: the server's memory stayed within its budget, and everything is
// there.
func (w *world) overJudge(s *tlogServer, r *overloadReport) error {
	var err error
	if r.peak, err = s.p.peak(); err != nil {
		return err
	}
	// What lives is the budget, and what connections and vdisks need besides.
	r.liveBound = overBudget + overBeside
	if r.live > r.liveBound {
		w.violated(fmt.Errorf("%.0f MiB live in the server at the end of the stall, with a budget of %d MiB; %.0f MiB may", r.live, overBudget, r.liveBound))
	}
	// Go's collector lets the heap grow to twice that, and to more where it gets no
	// processor; what was freed is not given back to the system at once.
	r.bound = r.base + 4*r.liveBound
	if r.peak > r.bound {
		w.violated(fmt.Errorf("the server's memory came to %.0f MiB, with a budget of %d MiB and %.0f MiB before clients came; %.0f MiB may be", r.peak, overBudget, r.base, r.bound))
	}
	if least := overBudget / 2 / 2.0; r.used < least {
		w.violated(fmt.Errorf("at most %.1f MiB of the budget for messages were used: that is no overload", r.used))
	}
	if err := s.calm(); err != nil {
		w.violated(err)
	}
	if len(w.violations()) > 0 {
		return nil
	}
	if err := w.read(nil); err != nil {
		return err
	}
	for _, l := range w.ledgers {
		records, _ := l.counts()
		r.records += records
	}
	r.verified = 1
	return nil
}

const overBeside = 24 // MiB

// peak is the most memory that the process has had, in MiB.
func (p *process) peak() (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib float64
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			_, err := fmt.Sscan(rest, &kib)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmHWM in /proc/PID/status")
}
