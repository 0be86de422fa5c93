package redis_test

import (
	"context"
	"fmt"
	"testing"

	"tlog"
	"tlog/stor"
	"tlog/stor/memory"
)

// benchmarkServer measures appends and reads of s. Positions wrap around, so
// that a long run does not fill the memory.
func benchmarkServer(b *testing.B, s stor.Server) {
	own(b, s)
	for _, c := range []struct{ size, depth int }{{256 << 10, 8}, {25 << 10, 8}, {1100, 1}} {
		b.Run(fmt.Sprintf("append/size=%d/depth=%d", c.size, c.depth), func(b *testing.B) { benchmarkAppend(b, s, c.size, c.depth) })
	}
	for _, size := range []int{1100, 256 << 10} {
		b.Run(fmt.Sprintf("shard/size=%d", size), func(b *testing.B) { benchmarkShard(b, s, size) })
	}
	b.Run("metas/positions=4096", func(b *testing.B) { benchmarkMetas(b, s) })
}

func benchmarkAppend(b *testing.B, s stor.Server, size, depth int) {
	const positions = 64
	b.SetBytes(int64(size))
	b.ReportAllocs()
	answers := make(chan error, depth)
	done := func(_ stor.Meta, err error) { answers <- err }
	requests := make([]*stor.AppendRequest, positions)
	for i := range requests {
		requests[i] = shard(tlog.Position(i+1), size-4)
		requests[i].Replace = true // the data is written each time
	}
	n := 0
	for b.Loop() {
		if n >= depth {
			if err := <-answers; err != nil {
				b.Fatal(err)
			}
		}
		s.Append(context.Background(), requests[n%positions], done)
		n++
	}
	for range min(n, depth) {
		if err := <-answers; err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkShard(b *testing.B, s stor.Server, size int) {
	q := shard(1000, size-4)
	q.Replace = true
	mustAppend(b, s, q)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := s.Shard(context.Background(), vdisk, 1000, 0); err != nil || len(got) != size {
			b.Fatal(len(got), err)
		}
	}
}

func benchmarkMetas(b *testing.B, s stor.Server) {
	mustAppend(b, s, shard(4096, 100))
	b.ReportAllocs()
	for b.Loop() {
		if m, err := s.Metas(context.Background(), vdisk, 1, 4096); err != nil || len(m) == 0 {
			b.Fatal(len(m), err)
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	s, err := memory.New()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	benchmarkServer(b, s)
}
