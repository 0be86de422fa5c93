//go:build e2e

package bench

import (
	"testing"
	"time"

	"tlog/crypto"
	"tlog/internal/bench/bare"
)

// Shards as an aggregation of 1 MiB and one of a single flushed 4 KiB write
// make them.
var (
	largeShard = crypto.HeadRoom(dataShards, parityShards) + crypto.ShardLength(1<<20+32<<10, dataShards)
	smallShard = crypto.HeadRoom(dataShards, parityShards) + crypto.ShardLength(4<<10+512, dataShards)
)

// rawStores open a store's bare counterpart; pids are the processes behind it.
var rawStores = map[string]func(b *testing.B) (s *bare.Store, pids []int){
	"file": func(b *testing.B) (*bare.Store, []int) {
		s, err := bare.OpenFiles(b.TempDir(), shards)
		if err != nil {
			b.Fatal(err)
		}
		return s, nil
	},
	"redis": func(b *testing.B) (s *bare.Store, pids []int) {
		var addrs []string
		for range shards {
			r := startRedis(b)
			addrs, pids = append(addrs, r.Addr), append(pids, r.Pid)
		}
		s, err := bare.OpenRedis(addrs)
		if err != nil {
			b.Fatal(err)
		}
		return s, pids
	},
}

// benchmarkBareThroughput counts the payload of 1 MiB, not the 1.5 MiB of shards.
func benchmarkBareThroughput(b *testing.B, open func(*testing.B) (*bare.Store, []int)) {
	s, pids := open(b)
	shard := content[:largeShard]
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	m := startMeter(b, pids)
	for b.Loop() {
		s.Append(shard)
	}
	b.StartTimer() // Loop has stopped it
	s.Drain()
	b.StopTimer()
	m.report(int64(b.N) << 20)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func benchmarkBareFlush(b *testing.B, open func(*testing.B) (*bare.Store, []int)) {
	s, _ := open(b)
	shard := content[:smallShard]
	b.ReportAllocs()
	var l latencies
	for b.Loop() {
		start := time.Now()
		s.Sync(shard)
		l.since(start)
	}
	l.report(b)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
