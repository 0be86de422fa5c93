package aggregate_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
)

// null commits at once.
type null struct{}

func (null) Publish(_ tlog.Position, _ tlog.Hash, s *crypto.Sealed, done func(error)) {
	s.Release()
	done(nil)
}

// processor is the CPU time the process has used.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPipeline appends batches of 64 records of 4 KiB.
func BenchmarkPipeline(b *testing.B) {
	for name, seed := range map[string]byte{"random": 1, "zeroes": 0} {
		for _, records := range []int{25, 256} {
			b.Run(fmt.Sprintf("%s/%d", name, records), func(b *testing.B) {
				const perBatch, size = 64, 4096
				d := newDisk(b, 4, 2)
				tokens := make(chan struct{}, 64) // bounds what is not released
				batches := make([]aggregate.Batch, 8)
				for i := range batches {
					rs := d.records(perBatch, size, seed)
					for i := range rs {
						rs[i].Timestamp = 0 // the same batches come again and again
					}
					batches[i] = d.batch(rs)
					batches[i].Release = func() { <-tokens }
				}
				p := aggregate.New(aggregate.Config{MaxRecords: records}, d.head, d.key, d.code.Encode, null{}, func(tlog.Sequence, tlog.Hash, error) {})
				b.SetBytes(perBatch * size)
				b.ReportAllocs()
				before := processor(b)
				for n := 0; b.Loop(); n++ {
					tokens <- struct{}{}
					batch := &batches[n%len(batches)]
					if err := p.Append(*batch); err != nil {
						b.Fatal(err)
					}
					for i := range batch.Records {
						batch.Records[i].Sequence += tlog.Sequence(perBatch * len(batches))
					}
				}
				if err := p.Close(context.Background()); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric((processor(b)-before).Seconds()/(float64(b.N)*perBatch*size/1e9), "cpu-s/GB")
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{100 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			d := newDisk(b, 4, 2)
			s := d.after()
			p, _ := d.start(aggregate.Config{}, s)
			mustAppend(b, p, d.next(size/4096, 4096))
			if err := p.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			before := processor(b)
			for b.Loop() {
				if _, err := d.read(s, 2); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((processor(b)-before).Seconds()/(float64(b.N)*float64(size)/1e9), "cpu-s/GB")
		})
	}
}
