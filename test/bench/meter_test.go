//go:build e2e

package bench

import (
	"slices"
	"testing"
	"time"

	"tlog/internal/bench/proc"
)

// meter counts the processor time of this process and of others, and this
// process' system calls that read or write: of sockets and of files.
type meter struct {
	b           *testing.B
	pids        []int
	own, others proc.Usage
}

func startMeter(b *testing.B, pids []int) *meter {
	own, others := used(b, pids)
	return &meter{b, pids, own, others}
}

func used(b *testing.B, pids []int) (own, others proc.Usage) {
	own, err := proc.Own()
	if err != nil {
		b.Fatal(err)
	}
	if others, err = proc.Of(pids...); err != nil {
		b.Fatal(err)
	}
	return own, others
}

// report reports what was used since the start, by b.N operations on payload
// bytes together.
func (m *meter) report(payload int64) {
	gb := float64(payload) / 1e9
	own, others := used(m.b, m.pids)
	m.b.ReportMetric(float64(own.Sub(m.own).Calls)/float64(m.b.N), "calls/op")
	m.b.ReportMetric(own.Sub(m.own).CPU.Seconds()/gb, "cpu-s/GB")
	if len(m.pids) > 0 {
		m.b.ReportMetric(others.Sub(m.others).CPU.Seconds()/gb, "redis-cpu-s/GB")
	}
}

// latencies are how long each operation took.
type latencies []time.Duration

func (l *latencies) since(start time.Time) { *l = append(*l, time.Since(start)) }

func (l latencies) report(b *testing.B) {
	slices.Sort(l)
	at := func(q float64) float64 { return float64(l[int(q*float64(len(l)-1))].Microseconds()) }
	b.ReportMetric(at(0.50), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}
