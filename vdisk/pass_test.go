package vdisk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/client"
)

// lender acknowledges writes by itself, as the NBD plugin does, and spoils their
// memory as soon as it is told that nobody uses it.
type lender struct {
	mu   sync.Mutex
	lent [][]byte
	back int
}

const spoilt = 0xee

func (l *lender) write(d *Disk, off int64, data []byte) {
	l.mu.Lock()
	l.lent = append(l.lent, data)
	l.mu.Unlock()
	d.Accept([]Write{{Offset: off, Data: data}})
	d.LogSoon()
}

func (l *lender) returned(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.lent[l.back : l.back+n] {
		for i := range p {
			p[i] = spoilt
		}
	}
	l.back += n
}

// Accepted writes are read at once, before the log has them; a flush covers
// them, in the order in which they were acknowledged, with those that are not.
func TestAcceptedWrites(t *testing.T) {
	s, l := newStore("d"), &lender{}
	cfg := testConfig(t, s)
	cfg.Returned = l.returned
	r := openRig(t, s, cfg)
	r.log.full = make(chan struct{})
	l.write(r.Disk, 0, bytes.Repeat([]byte{'a'}, 512))
	l.write(r.Disk, 256, bytes.Repeat([]byte{'b'}, 512))
	if got := r.read(t); got[0] != 'a' || got[255] != 'a' || got[256] != 'b' || got[767] != 'b' {
		t.Fatalf("read %q %q %q", got[0], got[256], got[767])
	}
	close(r.log.full)
	r.write(t, 700, 100, 'c')
	l.write(r.Disk, 750, bytes.Repeat([]byte{'d'}, 10))
	check(t, r.Flush(ctx))
	if n := s.durable(); n != 5 || s.taken[4].rec.Operation != tlog.OpFlush {
		t.Fatalf("%d records are durable, the last a %v", n, s.taken[n-1].rec.Operation)
	}
	check(t, r.awaitApplied(ctx, 5))
	want := make(image, testSize)
	copy(want, bytes.Repeat([]byte{'a'}, 256))
	copy(want[256:], bytes.Repeat([]byte{'b'}, 444))
	copy(want[700:], bytes.Repeat([]byte{'c'}, 100))
	copy(want[750:], bytes.Repeat([]byte{'d'}, 10))
	if !bytes.Equal(r.read(t), want) {
		t.Error("the disk is not what was written")
	}
	l.write(r.Disk, 0, []byte{'e'})
	r.mustClose(t) // logs what it accepted, also without a flush
	if got, err := os.ReadFile(cfg.Base); err != nil || got[0] != 'e' || s.durable() != 6 {
		t.Errorf("after close: %q, %d records durable, %v", got[0], s.durable(), err)
	}
	if l.back != 4 {
		t.Errorf("%d writes came back, want 4", l.back)
	}
}

// Memory comes back only when no reader can see it any more.
func TestReadersOfLentMemory(t *testing.T) {
	s, l := newStore("d"), &lender{}
	cfg := testConfig(t, s)
	cfg.Returned = l.returned
	r := openRig(t, s, cfg)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for p := make([]byte, 64<<10); ; {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.ReadAt(p, 0); err != nil {
					t.Error(err)
					return
				}
				if i := bytes.IndexByte(p, spoilt); i >= 0 {
					t.Errorf("byte %d was read from memory that came back", i)
					return
				}
			}
		})
	}
	for i := range 2000 {
		l.write(r.Disk, rand.Int64N(60<<10), bytes.Repeat([]byte{byte(i % spoilt)}, 4096))
		if i%20 == 19 {
			check(t, r.Flush(ctx))
		}
	}
	close(stop)
	wg.Wait()
	if got, want := r.read(t), s.image(0, testSize); len(got) != len(want) || bytes.IndexByte(got, spoilt) >= 0 {
		t.Error("the disk holds memory that came back")
	}
	r.mustClose(t)
}

// A log that refuses for good, or a base that fails, halts the disk: what was
// accepted is still read, and no flush says that it is durable.
func TestAcceptedWritesThatAreRefused(t *testing.T) {
	s, l := newStore("d"), &lender{}
	cfg := testConfig(t, s)
	cfg.Returned = l.returned
	r := openRig(t, s, cfg)
	fenced := errors.New("fenced by another client")
	r.log.breakWith(fenced)
	l.write(r.Disk, 0, []byte{'a'})
	<-r.Halted()
	b := make([]byte, 1)
	if _, err := r.ReadAt(b, 0); err != nil || b[0] != 'a' {
		t.Errorf("read %q, %v", b, err)
	}
	if err := r.Flush(ctx); !errors.Is(err, fenced) {
		t.Errorf("flush: %v", err)
	}
	if err := r.Close(ctx); !errors.Is(err, client.ErrNotFlushed) {
		t.Errorf("close: %v", err)
	}
	if l.back != 0 {
		t.Errorf("%d writes came back that the base does not hold", l.back)
	}
}

// A write that the log has no room for in time is an error, and is logged
// when there is room, as are those accepted behind it.
func TestLateRecordsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newStore("d"), &lender{}
		cfg := testConfig(t, s)
		cfg.Returned = l.returned
		r := openRig(t, s, cfg)
		r.log.full = make(chan struct{})
		began := time.Now()
		if err := r.WriteAt(ctx, []byte{'a'}, 0); !errors.Is(err, ErrTimeout) || time.Since(began) != 30*time.Second {
			t.Errorf("write to a full window: %v after %v", err, time.Since(began))
		}
		l.write(r.Disk, 0, []byte{'b'})
		close(r.log.full)
		synctest.Wait()
		if n := len(s.taken); n != 2 || s.taken[1].rec.Data[0] != 'b' {
			t.Errorf("%d records are logged, want 2", n)
		}
		b := make([]byte, 1)
		if _, err := r.ReadAt(b, 0); (err != nil && err != io.EOF) || b[0] != 'b' {
			t.Errorf("read %q, %v", b, err)
		}
		r.mustClose(t)
	})
}
