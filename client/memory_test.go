package client

import (
	"bytes"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tlog"
)

// TestMemory takes and frees at random: what is not freed keeps its bytes, and
// chunks are reused instead of made.
func TestMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			m           = memory{most: 1 << 20}
			mu          sync.Mutex
			live        [][]byte // of the records from freed+1 on
			last, freed tlog.Sequence
			most        int
		)
		size := rapid.SampledFrom([]int{1, 4096, 30000, 65536, 65537, 262144, 300000})
		for range 60 {
			n := size.Draw(t, "size")
			p := m.take(n, &mu)
			if len(p) != n || cap(p) != n {
				t.Fatalf("took %d bytes, capacity %d; want %d", len(p), cap(p), n)
			}
			if rapid.IntRange(0, 9).Draw(t, "kept") == 0 {
				continue // the append was given up
			}
			last++
			for i := range p {
				p[i] = byte(last)
			}
			m.used(last, n, &mu)
			live = append(live, p)
			if k := rapid.IntRange(0, min(9, len(live))).Draw(t, "free"); k > 5 {
				live, freed = live[k:], freed+tlog.Sequence(k)
				m.free(freed)
			}
			for i, p := range live {
				if b := byte(freed) + 1 + byte(i); bytes.Count(p, []byte{b}) != len(p) {
					t.Fatalf("record %d was overwritten", int(freed)+1+i)
				}
			}
			chunks := len(m.spare) + 1
			for _, c := range m.full {
				if !c.own {
					chunks++
				}
			}
			most = max(most, chunks)
			idle := 0
			for _, p := range m.owns {
				idle += len(p)
			}
			if idle != m.idle || idle > m.most {
				t.Fatalf("%d bytes of pieces are kept, counted as %d; want at most %d", idle, m.idle, m.most)
			}
		}
		if limit := 60*65536/(chunkBytes*3/4) + 2; most > limit {
			t.Errorf("%d chunks; want at most %d", most, limit)
		}
		m.free(last)
		if len(m.full) != 0 {
			t.Errorf("%d chunks are not reused with nothing left", len(m.full))
		}
	})
}

// Large records of about one size use each other's memory, of whatever size
// others came before.
func TestLargeRecordsReuseMemory(t *testing.T) {
	for _, size := range []int{chunkBytes/4 + 1000, chunkBytes, 1 << 20, 4 << 20} {
		m := memory{most: 8 << 20}
		var mu sync.Mutex
		seen := map[*byte]bool{}
		const window = 2
		for s := tlog.Sequence(1); s <= 100; s++ {
			n := size - int(s)%1000
			if s < 10 {
				n = 100_000 * int(s)
			}
			p := m.take(n, &mu)
			if s > 20 {
				seen[&p[0]] = true
			}
			m.used(s, n, &mu)
			if s > window {
				m.free(s - window)
			}
		}
		if len(seen) > window+2 {
			t.Errorf("records of %d bytes: %d pieces of memory, want at most %d", size, len(seen), window+2)
		}
	}
}
