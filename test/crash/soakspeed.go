package main

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// interval is what was measured in a few seconds without a fault.
type interval struct {
	flush []float64 // seconds that each Flush took
	probe []float64 // seconds of each write to a bare Redis that syncs, beside it
}

const intervalTime = 3 * time.Second

// speed is how long flushes took while nothing was wrong, and beside that how
// long a bare Redis took: this machine is shared with others.
type speed struct {
	mu   sync.Mutex
	on   bool
	from time.Time
	now  interval
	done []tails
}

// tails are the 99th percentiles of an interval.
type tails struct{ flush, probe float64 }

// took notes a Flush.
func (s *speed) took(d time.Duration) { s.note(&s.now.flush, d) }

// probed notes a write to the bare Redis.
func (s *speed) probed(d time.Duration) { s.note(&s.now.probe, d) }

func (s *speed) note(list *[]float64, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on {
		*list = append(*list, d.Seconds())
	}
}

// pause forgets an interval that was begun: a fault comes.
func (s *speed) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on, s.now = false, interval{}
}

// quiet says, every second, that nothing is wrong.
func (s *speed) quiet(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on && now.Sub(s.from) < intervalTime {
		return
	}
	const least = 50 // measurements that make a percentile
	if s.on && len(s.now.flush) >= least && len(s.now.probe) >= least {
		s.done = append(s.done, tails{percentile(s.now.flush, 0.99), percentile(s.now.probe, 0.99)})
	}
	s.on, s.from, s.now = true, now, interval{}
}

// drift compares the last third of the intervals with the first one.
type drift struct {
	first, last           float64 // median of the p99 of the intervals, seconds
	probeFirst, probeLast float64 // the same of the bare Redis
	z                     float64 // of a rank test, of the ratios: above 0 is slower
	n                     int     // intervals of a third
}

func (s *speed) drift() (d drift) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var flush, probe, ratio []float64
	for _, t := range s.done {
		flush, probe, ratio = append(flush, t.flush), append(probe, t.probe), append(ratio, t.flush/t.probe)
	}
	d.n = len(flush) / 3
	if d.n == 0 {
		return d
	}
	end := len(flush) - d.n
	d.first, d.last = median(flush[:d.n]), median(flush[end:])
	d.probeFirst, d.probeLast = median(probe[:d.n]), median(probe[end:])
	d.z = rankSum(ratio[:d.n], ratio[end:])
	return d
}

// raw is how much slower it became.
func (d drift) raw() float64 {
	if d.n == 0 {
		return 0
	}
	return d.last/d.first - 1
}

// beside is how much slower it became than the bare Redis did.
func (d drift) beside() float64 {
	if d.n == 0 {
		return 0
	}
	return d.last/d.probeLast*d.probeFirst/d.first - 1
}

// Bounds of the drift. A third test tells it from chance: few short intervals
// differ by more than a tenth on a machine that others use.
const (
	mostDrift = 0.10
	mostZ     = 2.33 // chance has it in one of 100 runs
	leastPart = 5    // intervals of a third: with fewer no z comes to that
)

func (d drift) wrong() error {
	switch {
	case d.n < leastPart:
		return fmt.Errorf("%d intervals without a fault in each third of the run are too few to judge how fast it is", d.n)
	case d.raw() < mostDrift || d.beside() < mostDrift || d.z < mostZ:
		return nil
	}
	return fmt.Errorf("flushes became slower: p99 %.1f ms at first, %.1f ms at last; a bare Redis beside them %.1f and %.1f ms (z = %.1f)",
		1e3*d.first, 1e3*d.last, 1e3*d.probeFirst, 1e3*d.probeLast, d.z)
}

func percentile(list []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[int(p*float64(len(sorted)-1))]
}

func median(list []float64) float64 { return percentile(list, 0.5) }

// probe writes to a Redis of its own that syncs always, again and again.
type probe struct {
	redis *redisServer
	conn  net.Conn
	wg    sync.WaitGroup
}

func (w *world) newProbe(s *speed) (*probe, error) {
	r, err := w.newRedis(w.shape.redis, "always")
	if err != nil {
		return nil, err
	}
	p := &probe{redis: r}
	if p.conn, err = net.Dial("tcp", r.addr); err != nil {
		r.p.kill()
		return nil, err
	}
	p.wg.Go(func() { p.write(s) })
	return p, nil
}

// write sends what a shard of the soak's aggregations is about, fifty times a second.
func (p *probe) write(s *speed) {
	answers := bufio.NewReader(p.conn)
	value := make([]byte, 1024)
	for i := range value {
		value[i] = 'x'
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		begin := time.Now()
		if _, err := fmt.Fprintf(p.conn, "SET probe %s\r\n", value); err != nil {
			return
		}
		if _, err := answers.ReadString('\n'); err != nil {
			return
		}
		s.probed(time.Since(begin))
	}
}

func (p *probe) end() {
	p.conn.Close()
	p.wg.Wait()
	p.redis.p.kill()
}
