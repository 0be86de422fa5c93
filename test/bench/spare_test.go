//go:build e2e

package bench

import (
	"context"
	"slices"
	"testing"
	"time"

	"tlog/crypto"
	"tlog/internal/redistest"
	"tlog/stor"
	"tlog/stor/redis"
)

// BenchmarkSpare is BenchmarkFlush on a pool of seven Redis servers, whole, and
// then with one of them dead: what the spare is for. An operation is a pair of
// runs of flushes; ratio is that of their 99th percentiles, and stays below 3.
func BenchmarkSpare(b *testing.B) {
	const flushes = 400
	s, servers := openSpare(b)
	c, stop := s.attach(b)
	w := writer{c: c, size: 4 << 10}
	run := func() (l latencies) {
		for range flushes {
			start := time.Now()
			w.write(b)
			if err := c.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
			l.since(start)
		}
		return l
	}
	var whole, dead latencies
	for b.Loop() {
		whole = append(whole, run()...)
		servers[2].Kill()
		dead = append(dead, run()...)
		servers[2].Restart()
	}
	slices.Sort(whole)
	slices.Sort(dead)
	p99 := func(l latencies) float64 { return float64(l[len(l)*99/100].Microseconds()) }
	b.ReportMetric(p99(whole), "whole-p99-µs")
	b.ReportMetric(p99(dead), "dead-p99-µs")
	b.ReportMetric(p99(dead)/p99(whole), "ratio")
	stop()
}

// openSpare makes a pool with one spare.
func openSpare(b *testing.B) (*store, []*redistest.Server) {
	b.Helper()
	s := &store{}
	var err error
	if s.keys, err = crypto.NewKeyring(); err != nil {
		b.Fatal(err)
	}
	var processes []*redistest.Server
	var servers []stor.Server
	for range shards + 1 {
		r := startRedis(b)
		processes = append(processes, r)
		c, err := redis.Dial(r.Addr, redis.Options{})
		if err != nil {
			b.Fatal(err)
		}
		servers = append(servers, c)
	}
	cfg := stor.Config{K: dataShards, M: parityShards, Check: check}
	if _, err := stor.Init(b.Context(), cfg, servers); err != nil {
		b.Fatal(err)
	}
	if s.pool, err = stor.Open(b.Context(), cfg, servers); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.pool.Close(); err != nil {
			b.Error(err)
		}
	})
	return s, processes
}
