package crypto_test

import (
	"fmt"
	"testing"

	"tlog"
	"tlog/crypto"
)

var benchSizes = []int{100 << 10, 1 << 20}

func BenchmarkSeal(b *testing.B) {
	key := testKey(b, 1)
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("4+2/%dKiB", size>>10), func(b *testing.B) {
			payload, e, random := pattern(size), encoder(b, 4, 2), fixedRandom(2)
			h := dataHeader(payload, 4, 2)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				s, err := crypto.Seal(key, h, payload, e.Encode, random)
				if err != nil {
					b.Fatal(err)
				}
				s.Chain(tlog.Hash{})
				s.Release()
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	key := testKey(b, 1)
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("4+2/%dKiB", size>>10), func(b *testing.B) {
			payload := pattern(size)
			s := seal(b, key, dataHeader(payload, 4, 2), payload, fixedRandom(2))
			shards, _ := stored(s, tlog.Hash{})
			data := make([]byte, 4*crypto.ShardLength(uint32(size), 4))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				var first *crypto.Stored
				for i := range 4 {
					c, err := crypto.CheckShard(shards[i], vdiskA, 7)
					if err != nil {
						b.Fatal(err)
					}
					copy(data[i*len(c.Body):], c.Body)
					first = c
				}
				if _, err := crypto.Open(key, first, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHashRecord is the hash of each record, which client and server take
// once each.
func BenchmarkHashRecord(b *testing.B) {
	for _, alg := range []struct {
		name string
		id   tlog.HashAlgorithm
	}{{"blake2b", tlog.HashBlake2b}, {"sha256", tlog.HashSHA256}} {
		for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", alg.name, size>>10), func(b *testing.B) {
				data := pattern(size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					crypto.HashRecord(alg.id, data)
				}
			})
		}
	}
}
