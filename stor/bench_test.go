package stor_test

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"tlog"
	"tlog/stor"
)

// quickCheck trusts the bodies: the digests of the benchmarks' own fakes are
// not what is measured.
func quickCheck(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	n := int(b[24]) + int(b[25])
	end := fakeFixed + 32*n
	c := stor.Checked{K: int(b[24]), M: int(b[25]), Index: -1, Head: b[:end:end]}
	c.Digest = sha256.Sum256(c.Head)
	copy(c.Prev[:], b[26:])
	if !headOnly {
		c.Index, c.Body = int(b[end]), b[end+8:]
	}
	return c, nil
}

func benchFixture(b *testing.B) *fixture {
	f := newFixture(b, 4, 2, 0, 7)
	f.close()
	f.cfg.Check = quickCheck
	for _, s := range f.fakes {
		s.closed, s.trusting = false, true
	}
	f.open()
	return f
}

// BenchmarkPublish publishes with eight positions in flight, and waits for the last.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			f := benchFixture(b)
			defer f.close()
			l := f.takeover()
			s := seal(b, f.pool, f.vdisk, 1, tlog.Hash{}, make([]byte, size))
			shards := &kept{s}
			slots := make(chan struct{}, 8)
			var wg sync.WaitGroup
			b.SetBytes(int64(size))
			b.ReportAllocs()
			pos := tlog.Position(0)
			for b.Loop() {
				pos++
				slots <- struct{}{}
				wg.Add(1)
				l.Publish(pos, s.digest, shards, func(err error) {
					if err != nil {
						b.Error(err)
					}
					<-slots
					wg.Done()
				})
			}
			wg.Wait()
		})
	}
}

// kept is a position that is published again and again.
type kept struct{ *sealed }

func (k *kept) Release() {}

func (k *kept) Shard(i int) (head, body []byte) { return k.head, k.bodies[i] }

func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct{ k, m int }{{4, 2}, {16, 4}} {
		b.Run(fmt.Sprintf("%d+%d/1MiB", c.k, c.m), func(b *testing.B) {
			f := newFixture(b, c.k, c.m, 0, c.k+c.m)
			defer f.close()
			s := seal(b, f.pool, f.vdisk, 1, tlog.Hash{}, make([]byte, 1<<20))
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				if err := f.pool.Encode(s.bodies); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, lost := range []int{0, 2} {
		b.Run(fmt.Sprintf("1MiB/%d lost", lost), func(b *testing.B) {
			f := benchFixture(b)
			defer f.close()
			if err := <-f.publish(f.takeover(), 1<<20); err != nil {
				b.Fatal(err)
			}
			gone := 0
			for _, s := range f.fakes {
				if sh := s.stored[f.vdisk][1]; sh != nil && sh.meta.Index < lost {
					s.down = errLost
					gone++
				}
			}
			if gone != lost {
				b.Fatalf("%d servers are gone", gone)
			}
			v, err := f.pool.Survey(b.Context(), f.vdisk)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Read(b.Context(), 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
