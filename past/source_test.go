package past

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"tlog"
)

// testMoment is the moment of all tests, of a disk that ends within a block.
func testMoment(size int64) Moment {
	return Moment{Vdisk: "v", UUID: tlog.UUID{1}, Sequence: 7, Position: 3, Digest: tlog.Hash{9}, Size: size, Time: time.Unix(1e9, 5)}
}

// logged is a Source in memory: pieces that do not overlap, and zeroes.
type logged struct {
	content []byte
	written []bool  // by byte
	pieces  []piece // newest first; at is not used

	fetched map[int64]int // pieces that Each gave, by offset
	reads   atomic.Int64  // bytes of data by ReadAt
	damaged int           // piece that cannot be read, from 1; 0: none
	between func()        // called before each piece is given
	mu      sync.Mutex
}

func newLogged(rng *rand.Rand, size int64, pieces int) *logged {
	l := &logged{content: make([]byte, size), written: make([]bool, size), fetched: map[int64]int{}, between: func() {}}
	for range pieces {
		unit := []int64{1, sectorSize, blockSize, blockSize}[rng.IntN(4)]
		off := rng.Int64N(size) / unit * unit
		n := min(size-off, unit*(1+rng.Int64N(6)))
		// Only what no newer piece has is live, and all of a piece is.
		for i := int64(0); i < n; i++ {
			if l.written[off+i] {
				n = i
			}
		}
		if n == 0 {
			continue
		}
		for i := off; i < off+n; i++ {
			l.content[i], l.written[i] = byte(rng.Uint32()|1), true
		}
		l.pieces = append(l.pieces, piece{off: off, n: int(n)})
	}
	return l
}

func (l *logged) Size() int64 { return int64(len(l.content)) }

func (l *logged) ReadAt(_ context.Context, p []byte, off int64) error {
	for i := range p {
		if l.written[off+int64(i)] {
			l.reads.Add(1)
		}
	}
	copy(p, l.content[off:off+int64(len(p))])
	return nil
}

func (l *logged) Extents(off, n int64, fn func(off, n int64, data bool) bool) {
	for end := off + n; off < end; {
		to := off
		for to < end && l.written[to] == l.written[off] {
			to++
		}
		if !fn(off, to-off, l.written[off]) {
			return
		}
		off = to
	}
}

func (l *logged) Each(ctx context.Context, want func(off, n int64) bool, fn func(off int64, data []byte) error) error {
	for i, p := range l.pieces {
		if want != nil && !want(p.off, int64(p.n)) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if i+1 == l.damaged {
			return tlog.Corruptf("position %d is damaged", i+1)
		}
		l.between()
		l.mu.Lock()
		l.fetched[p.off]++
		l.mu.Unlock()
		lent := bytes.Clone(l.content[p.off : p.off+int64(p.n)])
		if err := fn(p.off, lent); err != nil {
			return err
		}
		for i := range lent {
			lent[i] = 0xee // it was lent for the call
		}
	}
	return nil
}

// differ says where two disks first differ, or "".
func differ(got, want []byte) string {
	for i := range want {
		if got[i] != want[i] {
			return fmt.Sprintf("byte %d (block %d): got %#x, want %#x", i, i/blockSize, got[i], want[i])
		}
	}
	return ""
}

// readAll reads a disk in pieces of an odd size.
func readAll(r reader, from, to int64) ([]byte, error) {
	all := make([]byte, to-from)
	for off := from; off < to; {
		n := min(to-off, 3*blockSize+77)
		if err := r.ReadAt(context.Background(), all[off-from:][:n], off); err != nil {
			return nil, err
		}
		off += n
	}
	return all, nil
}
