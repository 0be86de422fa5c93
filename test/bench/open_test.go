//go:build e2e

package bench

import (
	"context"
	"fmt"
	"testing"

	"tlog/player"
	"tlog/stor"
)

// BenchmarkOpen shows how opening a log grows with its length, for a reader and
// for a server that takes it over and gives it up again.
func BenchmarkOpen(b *testing.B) {
	for _, kind := range []string{"file", "redis"} {
		for _, positions := range []int{500, 4000} {
			b.Run(fmt.Sprintf("store=%s/positions=%d", kind, positions), func(b *testing.B) {
				s := openStore(b, kind)
				s.lengthen(b, positions)
				b.Run("read", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						l, err := player.Open(context.Background(), s.pool, s.keys, vdisk, player.Config{})
						if err != nil {
							b.Fatal(err)
						}
						if got := l.Info().Positions; int(got) < positions {
							b.Fatalf("%d positions; want %d at least", got, positions)
						}
					}
				})
				b.Run("takeover", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						l, err := s.pool.Takeover(context.Background(), vdisk.UUID(s.pool.Manifest().Pool, 0), accept)
						if err != nil {
							b.Fatal(err)
						}
						l.Close()
					}
				})
			})
		}
	}
}

// accept believes what a takeover adopts.
func accept(context.Context, *stor.View, *stor.Fetched) error { return nil }

// lengthen makes a log of so many positions: each flush is one.
func (s *store) lengthen(b *testing.B, positions int) {
	b.Helper()
	c, stop := s.attach(b)
	w := writer{c: c, size: 512}
	for range positions {
		w.write(b)
		if err := c.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	stop()
}
