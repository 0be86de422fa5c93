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
			m           memory
			mu          sync.Mutex
			live        [][]byte // of the records from freed+1 on
			last, freed tlog.Sequence
			most        int
		)
		size := rapid.SampledFrom([]int{1, 4096, 30000, 65536, 65537, 300000})
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
			m.used(last, n)
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
			most = max(most, len(m.full)+len(m.spare)+1)
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
