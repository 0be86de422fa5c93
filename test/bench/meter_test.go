//go:build e2e

package bench

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// meter counts the processor time of this process and of others, and this
// process' system calls that read or write: of sockets and of files.
type meter struct {
	b      *testing.B
	pids   []int
	own    time.Duration
	others time.Duration
	calls  int
}

func startMeter(b *testing.B, pids []int) *meter {
	return &meter{b, pids, ownTime(b), timeOf(b, pids), ownCalls(b)}
}

// report reports what was used since the start, by b.N operations on payload
// bytes together.
func (m *meter) report(payload int64) {
	gb := float64(payload) / 1e9
	m.b.ReportMetric(float64(ownCalls(m.b)-m.calls)/float64(m.b.N), "calls/op")
	m.b.ReportMetric((ownTime(m.b)-m.own).Seconds()/gb, "cpu-s/GB")
	if len(m.pids) > 0 {
		m.b.ReportMetric((timeOf(m.b, m.pids)-m.others).Seconds()/gb, "redis-cpu-s/GB")
	}
}

func ownTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ownCalls(b *testing.B) int {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	var rchar, wchar, reads, writes int
	if _, err := fmt.Sscanf(string(text), "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d", &rchar, &wchar, &reads, &writes); err != nil {
		b.Fatalf("/proc/self/io: %v", err)
	}
	return reads + writes
}

// timeOf is the processor time of processes that run, in steps of 10 ms.
func timeOf(b *testing.B, pids []int) time.Duration {
	sum := 0
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		// The name, in brackets, may hold anything; utime is the 12th field behind it.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		for _, f := range fields[11:13] {
			ticks, err := strconv.Atoi(string(f))
			if err != nil {
				b.Fatal(err)
			}
			sum += ticks
		}
	}
	const perSecond = 100 // USER_HZ, on all that Go runs on
	return time.Duration(sum) * (time.Second / perSecond)
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
