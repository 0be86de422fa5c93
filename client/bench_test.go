package client_test

import (
	"fmt"
	"net"
	"testing"

	"tlog"
	"tlog/client"
)

// BenchmarkAppend is the whole client: hash, copy, window, batches and
// writev over loopback TCP, to a server that reads, acknowledges and forgets.
// The last flush is inside the measure.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{512, 4 << 10, 64 << 10, 1 << 20} {
		for _, writers := range []int{1, 4} {
			b.Run(fmt.Sprintf("%d/writers=%d", size, writers), func(b *testing.B) {
				conn := &countingConn{}
				c := openBench(b, conn)
				data := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.SetParallelism(writers)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := c.Append(ctx, tlog.OpWrite, 0, uint32(size), data); err != nil {
							b.Error(err)
							return
						}
					}
				})
				if err := c.FlushTo(ctx, c.Last()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/float64(max(1, c.Stats().Attaches)*max(1, conn.batches())), "records/batch")
			})
		}
	}
}

// BenchmarkFlush is one write and its flush, at depth 1.
func BenchmarkFlush(b *testing.B) {
	c := openBench(b, &countingConn{})
	data := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Append(ctx, tlog.OpWrite, 0, 4096, data); err != nil {
			b.Fatal(err)
		}
		if err := c.Flush(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// countingConn counts the messages that its server has read.
type countingConn struct{ f *fake }

func (c *countingConn) batches() uint64 {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	return uint64(c.f.messages)
}

func openBench(b *testing.B, conn *countingConn) *client.Client {
	f := newFake(b)
	f.discard = true
	conn.f = f
	addr := f.listen("tcp", net.JoinHostPort("127.0.0.1", "0"))
	c, err := client.Open(ctx, client.Config{Servers: []string{addr}, Vdisk: vdisk})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { abandon(c) })
	return c
}
