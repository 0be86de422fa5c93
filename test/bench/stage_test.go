//go:build e2e

package bench

import (
	"testing"

	"tlog/internal/bench/stage"
)

const perBatch = 64 // records of a message

// stages are over the 256 records of 4 KiB of one aggregation.
var stages = stage.Config{Content: content, Record: 4 << 10, Records: 256, Data: dataShards, Parts: shards}

// BenchmarkStage is each stage alone. Their sum is what the path's processor
// time is compared with.
func BenchmarkStage(b *testing.B) {
	for _, name := range stage.Names {
		b.Run(name, func(b *testing.B) {
			s, err := stage.Open(name, stages)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(stages.Bytes()))
			b.ReportAllocs()
			m := startMeter(b, nil)
			for b.Loop() {
				if err := s.Do(); err != nil {
					b.Fatal(err)
				}
			}
			m.report(int64(b.N) * int64(stages.Bytes()))
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
