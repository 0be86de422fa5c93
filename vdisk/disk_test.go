package vdisk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tlog"
	"tlog/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// clone copies a base and its marker as a dying process leaves them: the
// marker as it was, the base as it is or later.
func clone(t testing.TB, base string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "clone.img")
	for _, f := range [][2]string{{markerPath(base), markerPath(to)}, {base, to}} {
		b, err := os.ReadFile(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f[1], b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// Any sequence of operations, with a log that becomes durable when it likes,
// deaths at any moment, and the base thrown away: the disk reads as what was
// written, and after a death as the log has it.
func TestDiskAgainstImage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStore("d")
		cfg := testConfig(t, s)
		cfg.Size = 32 << 10
		cfg.MarkerBytes = 4 << 10
		r := openRig(t, s, cfg)
		r.log.auto = rapid.Bool().Draw(rt, "auto")
		defer func() { r.log.flush(1 << 30); r.mustClose(t) }()
		want := make(image, cfg.Size)
		draw := func(rt *rapid.T) (off, n int64) {
			off = rapid.Int64Range(0, cfg.Size-1).Draw(rt, "off")
			return off, rapid.Int64Range(0, min(9000, cfg.Size-off)).Draw(rt, "n")
		}
		fill := byte(0)
		again := func(base string) {
			if len(s.taken) > s.stable { // those not durable may be lost, or not
				s.taken = s.taken[:rapid.IntRange(s.stable, len(s.taken)).Draw(rt, "left")]
			}
			cfg.Base = base
			r = openRig(t, s, cfg)
			r.log.auto = rapid.Bool().Draw(rt, "auto")
			want = s.image(len(s.taken), cfg.Size)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				off, n := draw(rt)
				fill++
				r.write(t, off, int(n), fill)
				copy(want[off:], bytes.Repeat([]byte{fill}, int(n)))
			},
			"trim": func(rt *rapid.T) {
				off, n := draw(rt)
				check(t, r.Trim(ctx, off, n))
				clear(want[off : off+n])
			},
			"zero": func(rt *rapid.T) {
				off, n := draw(rt)
				check(t, r.Zero(ctx, off, n, rapid.Bool().Draw(rt, "mayTrim")))
				clear(want[off : off+n])
			},
			"flush": func(rt *rapid.T) {
				if !r.log.auto {
					r.log.flush(rapid.IntRange(0, len(s.taken)).Draw(rt, "to"))
					return
				}
				check(t, r.Flush(ctx))
				if s.durable() != len(s.taken) {
					rt.Fatal("flush returned with records not durable")
				}
			},
			"die": func(rt *rapid.T) {
				base := clone(t, cfg.Base)
				taken, stable := s.taken, s.stable
				gone, cancel := context.WithCancel(ctx)
				cancel()
				_ = r.Close(gone) // what it still does counts for nothing
				s.taken, s.stable = taken, stable
				again(base)
			},
			"new host": func(rt *rapid.T) {
				r.log.flush(1 << 30)
				r.mustClose(t)
				again(filepath.Join(t.TempDir(), "other.img"))
			},
			"restart": func(rt *rapid.T) {
				r.log.flush(1 << 30)
				r.mustClose(t)
				// Everything was durable: nothing has to be caught up.
				cfg.CatchUp = nil
				again(cfg.Base)
				cfg.CatchUp = s.catchUp
			},
			"": func(rt *rapid.T) {
				off, n := draw(rt)
				got := make([]byte, n)
				if _, err := r.ReadAt(got, off); err != nil && err != io.EOF {
					rt.Fatal(err)
				}
				if !bytes.Equal(got, want[off:off+n]) {
					rt.Fatalf("read of %d at %d differs", n, off)
				}
				checkExtents(rt, r, want, off, n)
			},
		})
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkExtents fails unless the answer is without gap, and zero is zero.
func checkExtents(t *rapid.T, r *rig, want image, off, n int64) {
	ext, err := r.Extents(off, n, false)
	if err != nil {
		t.Fatal(err)
	}
	at := off
	for _, e := range ext {
		if e.Offset != at || e.Length <= 0 || e.Hole && !e.Zero {
			t.Fatalf("extent %+v at %d", e, at)
		}
		if at += e.Length; e.Zero && len(bytes.Trim(want[e.Offset:at], "\x00")) != 0 {
			t.Fatalf("extent %+v is not zero", e)
		}
	}
	if at != off+n {
		t.Fatalf("extents end at %d, not %d", at, off+n)
	}
}

// Overlapping concurrent writers end as the log has them, though they come
// back from it in any order, while records move to the base and readers look.
func TestConcurrentOverlappingWrites(t *testing.T) {
	s := newStore("d")
	cfg := testConfig(t, s)
	cfg.MarkerInterval = time.Millisecond
	r := openRig(t, s, cfg)
	var shake sync.Mutex
	r.log.late = func() {
		if rand.IntN(2) == 0 {
			shake.Lock() // waits for another one that is late
			defer shake.Unlock()
		}
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				off := rand.Int64N(64<<10) &^ 511
				switch {
				case i%50 == 49:
					check(t, r.Flush(ctx))
				case i%7 == 6:
					check(t, r.Trim(ctx, off, 8<<10))
				default:
					check(t, r.WriteAt(ctx, bytes.Repeat([]byte{byte(g*31 + i)}, 4096), off))
				}
				if _, err := r.ReadAt(make([]byte, 64<<10), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, want := r.read(t), s.image(len(s.taken), testSize); !bytes.Equal(got, want) {
		t.Error("the disk is not what the log says")
	}
	r.mustClose(t)
	got, err := os.ReadFile(cfg.Base)
	if want := s.image(len(s.taken), testSize); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the base is not what the log says (%v)", err)
	}
}

func TestReadsDoNotWaitForFlush(t *testing.T) {
	s := newStore("d")
	r := openRig(t, s, testConfig(t, s))
	r.log.auto = false
	r.write(t, 4096, 4096, 'x')
	flushed := make(chan error)
	go func() { flushed <- r.Flush(ctx) }()
	for b := make([]byte, 1); ; {
		if _, err := r.ReadAt(b, 5000); err != nil || b[0] != 'x' {
			t.Fatalf("read %q, %v", b, err)
		}
		s.mu.Lock()
		marked := len(s.taken) == 2
		s.mu.Unlock()
		if marked {
			break
		}
	}
	if got, err := os.ReadFile(r.cfg.Base); err != nil || len(bytes.Trim(got, "\x00")) != 0 {
		t.Fatalf("the base is ahead of the log (%v)", err)
	}
	select {
	case err := <-flushed:
		t.Fatalf("flush returned %v before the log was durable", err)
	default:
	}
	r.log.flush(2)
	check(t, <-flushed)
	r.mustClose(t)
}

func TestFlushMarks(t *testing.T) {
	s := newStore("d")
	r := openRig(t, s, testConfig(t, s))
	for range 3 {
		check(t, r.Flush(ctx))
	}
	r.write(t, 0, 512, 'a')
	for range 3 {
		check(t, r.Flush(ctx))
	}
	var ops []tlog.Operation
	for _, rec := range s.taken {
		ops = append(ops, rec.rec.Operation)
	}
	if len(ops) != 2 || ops[1] != tlog.OpFlush {
		t.Errorf("log holds %v, want one write and one mark", ops)
	}
	r.mustClose(t)
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore("d")
		r := openRig(t, s, testConfig(t, s))
		r.log.auto = false
		r.write(t, 0, 512, 'a')
		began := time.Now()
		if err := r.Flush(ctx); !errors.Is(err, ErrTimeout) || Errno(err) != syscall.EIO {
			t.Errorf("flush of a log that hangs: %v", err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("flush gave up after %v", took)
		}
		// The log comes back: nothing was lost, and a flush can promise again.
		r.log.flush(2)
		check(t, r.Flush(ctx))
		r.log.full = make(chan struct{})
		if err := r.WriteAt(ctx, []byte{1}, 0); !errors.Is(err, ErrTimeout) {
			t.Errorf("write to a full window: %v", err)
		}
		close(r.log.full)
		r.write(t, 0, 512, 'b')
		r.log.auto = true
		r.mustClose(t)
	})
}

// What is acknowledged and not in the base is bounded; a writer goes on when
// the log does.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore("d")
		cfg := testConfig(t, s)
		cfg.Size, cfg.WindowBytes = 64<<20, 8<<20
		r := openRig(t, s, cfg)
		r.log.auto = false
		written := 0
		for ; ; written += 1 << 20 {
			if err := r.WriteAt(ctx, make([]byte, 1<<20), int64(written)); err != nil {
				if !errors.Is(err, ErrTimeout) {
					t.Fatal(err)
				}
				break
			}
		}
		if written != 15<<20 {
			t.Errorf("%d bytes were acknowledged with a window of %d", written, cfg.WindowBytes)
		}
		done := make(chan error)
		go func() { done <- r.WriteAt(ctx, make([]byte, 2<<20), 0) }()
		synctest.Wait()
		r.log.flush(3)
		check(t, <-done)
		r.log.auto = true
		r.mustClose(t)
	})
}

func TestLogRefusesForGood(t *testing.T) {
	s := newStore("d")
	r := openRig(t, s, testConfig(t, s))
	r.write(t, 0, 512, 'a')
	check(t, r.Flush(ctx))
	fenced := errors.New("fenced by another client")
	r.log.breakWith(fenced)
	for what, err := range map[string]error{
		"write": r.WriteAt(ctx, []byte{1}, 0), "trim": r.Trim(ctx, 0, 1), "zero": r.Zero(ctx, 0, 1, false), "flush": r.Flush(ctx),
	} {
		if !errors.Is(err, fenced) || Errno(err) != syscall.EIO {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := r.read(t); got[0] != 'a' || got[511] != 'a' {
		t.Error("reads stopped")
	}
	if err := r.Close(ctx); err != nil {
		t.Errorf("close: %v", err) // everything was durable
	}
	if n := strings.Count(r.logs.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d error lines:\n%s", n, r.logs)
	}
}

// A base that cannot be written ends writing. What it lacks is read from
// memory, the marker stays, and a later Open puts everything right.
func TestBaseFails(t *testing.T) {
	s := newStore("d")
	cfg := testConfig(t, s)
	r := openRig(t, s, cfg)
	r.write(t, 0, 512, 'a')
	check(t, r.Flush(ctx))
	check(t, r.awaitApplied(ctx, 2))
	good := r.base.f
	readOnly, err := os.Open(cfg.Base)
	check(t, err)
	r.base.f = readOnly
	r.write(t, 0, 256, 'b')
	_ = r.Flush(ctx) // the log is fine
	<-r.fail.halted
	if err := r.WriteAt(ctx, []byte{1}, 0); Errno(err) != syscall.EIO {
		t.Errorf("write: %v", err)
	}
	if got := r.read(t); got[0] != 'b' || got[256] != 'a' {
		t.Errorf("read %q %q", got[0], got[256])
	}
	if err := r.Close(ctx); err == nil {
		t.Error("close says that all is well")
	}
	check(t, good.Close())
	m, err := readMarker(markerPath(cfg.Base))
	if err != nil || m.point.Sequence != 0 {
		t.Errorf("marker %+v, %v", m, err)
	}
	r = openRig(t, s, cfg)
	if got := r.read(t); !bytes.Equal(got, s.image(len(s.taken), testSize)) {
		t.Error("the base was not put right")
	}
	r.mustClose(t)
}

// When an fdatasync fails, nobody knows what the base holds.
func TestSyncFails(t *testing.T) {
	s := newStore("d")
	r := openRig(t, s, testConfig(t, s))
	r.write(t, 0, 512, 'a')
	check(t, r.Flush(ctx))
	check(t, r.awaitApplied(ctx, 2))
	good := r.base.f
	rd, wr, err := os.Pipe() // cannot be synced
	check(t, err)
	r.base.f = rd
	signal(r.due)
	<-r.fail.halted
	if _, err := r.ReadAt(make([]byte, 512), 0); Errno(err) != syscall.EIO || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("read from a base that was not synced: %v", err)
	}
	if err := r.Close(ctx); err == nil {
		t.Error("close says that all is well")
	}
	check(t, errors.Join(good.Close(), wr.Close()))
}

func TestLargeOperations(t *testing.T) {
	s := newStore("d")
	cfg := testConfig(t, s)
	cfg.Size = 10 << 30
	r := openRig(t, s, cfg)
	big := make([]byte, 9<<20)
	for i := range big {
		big[i] = byte(i >> 9)
	}
	check(t, r.WriteAt(ctx, big, 5<<30-512))
	check(t, r.Trim(ctx, 0, 5<<30))
	check(t, r.Zero(ctx, 6<<30, 4<<30, true))
	check(t, r.Flush(ctx))
	check(t, r.awaitApplied(ctx, s.point(len(s.taken)).Sequence))
	got := make([]byte, len(big))
	if _, err := r.ReadAt(got, 5<<30-512); err != nil {
		t.Fatal(err)
	}
	clear(big[:512])
	if !bytes.Equal(got, big) {
		t.Error("a write of several records reads differently")
	}
	if n := len(s.taken); n != 3+2+1+1+1 { // 4 GiB of zeroes is one more than one record
		t.Errorf("%d records", n)
	}
	ext, err := r.Extents(0, cfg.Size, true)
	if err != nil || len(ext) != 1 || !ext[0].Hole {
		t.Errorf("first extent %+v, %v", ext, err)
	}
	r.mustClose(t)
}

func TestOutsideTheDisk(t *testing.T) {
	s := newStore("d")
	r := openRig(t, s, testConfig(t, s))
	for _, c := range []struct{ off, n int64 }{{-1, 1}, {testSize, 1}, {testSize - 1, 2}, {1<<63 - 1, 1}} {
		for what, err := range map[string]error{
			"write": r.WriteAt(ctx, make([]byte, c.n), c.off), "trim": r.Trim(ctx, c.off, c.n), "zero": r.Zero(ctx, c.off, c.n, true),
		} {
			if !errors.Is(err, ErrRange) || Errno(err) != syscall.EINVAL {
				t.Errorf("%s of %d at %d: %v", what, c.n, c.off, err)
			}
		}
	}
	check(t, r.WriteAt(ctx, nil, testSize))
	check(t, r.Trim(ctx, 0, 0))
	if len(s.taken) != 0 {
		t.Errorf("%d records logged", len(s.taken))
	}
	r.mustClose(t)
}

func TestCloseOfALogThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore("d")
		cfg := testConfig(t, s)
		r := openRig(t, s, cfg)
		r.log.auto = false
		r.write(t, 0, 512, 'a')
		r.log.flush(1)
		r.write(t, 512, 512, 'b')
		go func() { _ = r.Flush(ctx) }()
		synctest.Wait()
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		began := time.Now()
		if err := r.Close(short); !errors.Is(err, client.ErrNotFlushed) {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("close took %v", took)
		}
		if m, err := readMarker(markerPath(cfg.Base)); err != nil || m.point.Sequence != 1 {
			t.Errorf("marker %+v, %v", m, err)
		}
		if err := r.WriteAt(ctx, []byte{1}, 0); !errors.Is(err, ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		if err := r.Close(ctx); !errors.Is(err, ErrClosed) {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestMarkerAdvancesWhileServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore("d")
		cfg := testConfig(t, s)
		cfg.MarkerInterval = 5 * time.Second
		r := openRig(t, s, cfg)
		r.write(t, 0, 512, 'a')
		check(t, r.Flush(ctx))
		<-time.After(5*time.Second + 1)
		synctest.Wait()
		if m, err := readMarker(markerPath(cfg.Base)); err != nil || m.point != s.point(2) {
			t.Errorf("marker %+v, %v", m, err)
		}
		r.mustClose(t)
	})
}
