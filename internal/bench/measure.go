package bench

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"time"

	"tlog/internal/bench/proc"
)

// stack is a store and a server on it.
type stack struct {
	*store
	server *serverProcess
}

// newStack starts a server for a case, on a new store.
func (h *Harness) newStack(ctx context.Context, c Case) (*stack, error) {
	s, err := h.newStore(c.Store)
	if err != nil {
		return nil, err
	}
	st := &stack{store: s}
	if err := h.prepare(ctx, s); err != nil {
		return nil, errors.Join(err, s.end())
	}
	st.server, err = h.startServer(ctx, append([]string{"--flush-size", strconv.Itoa(c.Aggregation)}, s.flags...)...)
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	if h.asking == 0 {
		h.asking, err = st.server.asking(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, st.end(true))
	}
	return st, nil
}

// end ends both. A server that a failure left behind is killed.
func (s *stack) end(failed bool) error {
	if failed {
		s.server.kill()
		return s.store.end()
	}
	return errors.Join(s.server.stop(), s.store.end())
}

// sample is what server and store have used so far.
type sample struct {
	server, store proc.Usage
	machine       time.Duration
	runtime       runtimeNumbers
}

func (s *stack) sample() (a sample, err error) {
	if a.server, err = proc.Of(s.server.pid()); err != nil {
		return a, err
	}
	if a.store, err = proc.Of(s.pids()...); err != nil {
		return a, err
	}
	a.machine, err = proc.Machine()
	return a, err
}

// drive lets one client work, and measures all processes meanwhile.
func (h *Harness) drive(ctx context.Context, s *stack, l Load, v Values) (o Outcome, err error) {
	c, err := h.startClient(ctx, l)
	if err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			c.kill()
		}
	}()
	numbers, err := s.server.runtime(ctx)
	if err != nil {
		return o, err
	}
	before, err := s.sample()
	if err != nil {
		return o, err
	}
	before.runtime = numbers
	if o, err = c.measure(); err != nil {
		return o, err
	}
	after, err := s.sample()
	if err != nil {
		return o, err
	}
	if after.runtime, err = s.server.runtime(ctx); err != nil {
		return o, err
	}
	if _, v["rss_server"], err = memoryMiB(s.server.pid()); err != nil {
		return o, err
	}
	if _, v["rss_client"], err = memoryMiB(c.pid()); err != nil {
		return o, err
	}
	v.count(&o, &before, &after, h.asking)
	return o, c.end(ctx)
}

// once lets a case's load, changed, work on a store and a server of its own.
func (h *Harness) once(ctx context.Context, c Case, v Values, change func(*Load)) (o Outcome, err error) {
	s, err := h.newStack(ctx, c)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, s.end(err != nil)) }()
	l, err := h.load(c, s.server.addr)
	if err != nil {
		return o, err
	}
	change(&l)
	return h.drive(ctx, s, l, v)
}

// count fills in what a load has cost.
func (v Values) count(o *Outcome, before, after *sample, asking float64) {
	server, store := after.server.Sub(before.server), after.store.Sub(before.store)
	n := float64(o.Records)
	v["ops"], v["mbps"] = n/o.Seconds, mbps(o.Bytes, o.Seconds)
	v["cpu_client"], v["cpu_server"] = perGB(o.CPU, o.Bytes), perGB(server.CPU, o.Bytes)
	v["cpu"] = v["cpu_client"] + v["cpu_server"]
	if store.CPU > 0 {
		v["cpu_store"] = perGB(store.CPU, o.Bytes)
		v["cpu"] += v["cpu_store"]
	}
	others := (after.machine - before.machine - o.CPU - server.CPU - store.CPU).Seconds()
	v["others"] = max(others, 0) / o.Seconds / float64(runtime.NumCPU())
	v["allocs_client"], v["calls_client"] = float64(o.Allocs)/n, float64(o.Calls)/n
	// Between the two numbers are the end of one question and the begin of another.
	allocs := after.runtime.allocs - before.runtime.allocs - asking
	v["allocs_server"], v["calls_server"] = max(allocs, 0)/n, float64(server.Calls)/n
	v["gc_server"] = (after.runtime.gc - before.runtime.gc) / server.CPU.Seconds()
	for name, s := range map[string]Spread{"recv": o.RecvOK, "flush": o.FlushOK} {
		if s.Count > 0 {
			v[name+"_p50"], v[name+"_p99"] = micros(s.P50), micros(s.P99)
		}
	}
}

// stream is throughput, with the bare store before it.
func (h *Harness) stream(ctx context.Context, c Case) (Values, error) {
	costs, err := h.stages(c)
	if err != nil {
		return nil, err
	}
	v := make(Values)
	store, err := h.bareStream(c, v)
	if err != nil {
		return nil, err
	}
	if _, err := h.once(ctx, c, v, func(*Load) {}); err != nil {
		return nil, err
	}
	sum := pathSum(costs, c.Hash) + store
	v.judge(sum)
	v.divide("ratio", v["mbps"], v["bare_mbps"])
	return v, nil
}

// latency is how long writers wait, with the bare store before it; a paced
// writer's rate is half of what a stream reaches.
func (h *Harness) latency(ctx context.Context, c Case) (v Values, err error) {
	v = make(Values)
	rate := 0.0
	switch {
	case c.Mode == ModePaced:
		rate, err = h.halfRate(ctx, c)
	case c.Depth == 1:
		err = h.bareFlush(c, v)
	}
	if err != nil {
		return nil, err
	}
	if _, err := h.once(ctx, c, v, func(l *Load) { l.Rate = rate }); err != nil {
		return nil, err
	}
	v.divide("ratio_p50", v["flush_p50"], v["bare_p50"])
	v.divide("ratio_p99", v["flush_p99"], v["bare_p99"])
	return v, nil
}

// halfRate is half of what a stream reaches, in bytes a second.
func (h *Harness) halfRate(ctx context.Context, c Case) (rate float64, err error) {
	c.Mode = ModeStream
	o, err := h.once(ctx, c, make(Values), func(l *Load) { l.For /= 2 })
	return float64(o.Bytes) / o.Seconds / 2, err
}

// idle is the server's memory for vdisks that are attached, and idle.
func (h *Harness) idle(ctx context.Context, c Case) (Values, error) {
	one := c
	one.Vdisks = 1
	base, err := h.resting(ctx, one)
	if err != nil {
		return nil, err
	}
	all, err := h.resting(ctx, c)
	if err != nil {
		return nil, err
	}
	return Values{"rss_server": all, "rss_idle": all - base}, nil
}

func (h *Harness) resting(ctx context.Context, c Case) (now float64, err error) {
	s, err := h.newStack(ctx, c)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.end(err != nil)) }()
	l, err := h.load(c, s.server.addr)
	if err != nil {
		return 0, err
	}
	client, err := h.startClient(ctx, l)
	if err != nil {
		return 0, err
	}
	now, _, err = memoryMiB(s.server.pid())
	return now, errors.Join(err, client.end(ctx))
}
