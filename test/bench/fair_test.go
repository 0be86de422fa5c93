//go:build e2e

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tlog"
	"tlog/client"
)

// quietVdisks write a little and flush, again and again, beside a busy one.
const quietVdisks = 10

// BenchmarkFairness is how long flushes of quiet vdisks take, each a write of
// 4 KiB at depth 1, alone and while one more vdisk of the server is written to
// as fast as it takes it. An operation is a flush of each quiet one.
func BenchmarkFairness(b *testing.B) {
	for _, kind := range []string{"null", "file"} {
		b.Run("store="+kind, func(b *testing.B) {
			for _, busy := range []bool{false, true} {
				b.Run(fmt.Sprintf("busy=%v", busy), func(b *testing.B) { benchmarkFairness(b, kind, busy) })
			}
		})
	}
}

func benchmarkFairness(b *testing.B, kind string, busy bool) {
	host := openStore(b, kind).serve(b)
	quiet := make([]*client.Client, quietVdisks)
	for i := range quiet {
		quiet[i] = host.open(b, tlog.VdiskID(fmt.Sprintf("quiet-%d", i)))
	}
	stop := func() {}
	if busy {
		stop = host.stream(b)
	}
	var l latencies
	for b.Loop() {
		l = append(l, flushAll(b, quiet)...)
	}
	stop()
	l.report(b)
	errs := make([]error, 0, len(quiet))
	for _, c := range quiet {
		errs = append(errs, c.Close(context.Background()))
	}
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	host.stop(b)
}

// flushAll writes to each and flushes it, all at once.
func flushAll(b *testing.B, clients []*client.Client) latencies {
	took := make(latencies, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			start := time.Now()
			_, err := c.Append(context.Background(), tlog.OpWrite, 0, 4<<10, content[:4<<10])
			if err = errors.Join(err, c.Flush(context.Background())); err != nil {
				b.Error(err)
			}
			took[i] = time.Since(start)
		})
	}
	wg.Wait()
	return took
}

// stream writes to a vdisk without a pause until the result is called, which
// reports how fast that was.
func (h *host) stream(b *testing.B) (stop func()) {
	c := h.open(b, vdisk)
	ctx, cancel := context.WithCancel(context.Background())
	var written int64
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() {
		for ; ; written += 4 << 10 {
			at := int(written % int64(len(content)))
			if _, err := c.Append(ctx, tlog.OpWrite, uint64(at), 4<<10, content[at:][:4<<10]); err != nil {
				if !errors.Is(err, context.Canceled) {
					b.Error(err)
				}
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		b.ReportMetric(float64(written)/1e6/time.Since(start).Seconds(), "busy-MB/s")
		if err := c.Close(context.Background()); err != nil {
			b.Error(err)
		}
	}
}
