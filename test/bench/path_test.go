//go:build e2e

package bench

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// kinds are the stores that are measured; null shows the path without one.
var kinds = []string{"null", "file", "redis"}

var sizes = []int{4 << 10, 64 << 10, 1 << 20}

// BenchmarkThroughput logs records as fast as they are taken, by one writer. An
// operation is a record; the flush of the last one is inside the measure.
// Each store has its bare counterpart before it.
func BenchmarkThroughput(b *testing.B) {
	for _, kind := range kinds {
		b.Run("store="+kind, func(b *testing.B) {
			if raw := rawStores[kind]; raw != nil {
				b.Run("bare", func(b *testing.B) { benchmarkBareThroughput(b, raw) })
			}
			for _, size := range sizes {
				b.Run(fmt.Sprintf("record=%dKiB", size>>10), func(b *testing.B) { benchmarkThroughput(b, kind, size) })
			}
		})
	}
}

func benchmarkThroughput(b *testing.B, kind string, size int) {
	s := openStore(b, kind)
	c, stop := s.attach(b)
	w := writer{c: c, size: size}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	m := startMeter(b, s.redis)
	for b.Loop() {
		w.write(b)
	}
	b.StartTimer() // Loop has stopped it
	if err := c.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	m.report(int64(b.N) * int64(size))
	stop()
}

// BenchmarkFlush is one write of 4 KiB and its flush, at depth 1: what a
// database waits for at a commit.
func BenchmarkFlush(b *testing.B) {
	for _, kind := range kinds {
		b.Run("store="+kind, func(b *testing.B) {
			if raw := rawStores[kind]; raw != nil {
				b.Run("bare", func(b *testing.B) { benchmarkBareFlush(b, raw) })
			}
			b.Run("record=4KiB", func(b *testing.B) { benchmarkFlush(b, kind) })
		})
	}
}

func benchmarkFlush(b *testing.B, kind string) {
	c, stop := openStore(b, kind).attach(b)
	w := writer{c: c, size: 4 << 10}
	b.ReportAllocs()
	var l latencies
	for b.Loop() {
		start := time.Now()
		w.write(b)
		if err := c.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
		l.since(start)
	}
	l.report(b)
	stop()
}
