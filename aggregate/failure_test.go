package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
)

// A failing store: one report, nothing published after it, everything given
// back, whether the failed position was stored or not.
func TestStoreFails(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored %v", stored), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk(t, 1, 0)
				s := d.after()
				s.failAt, s.stored = 4, stored
				s.hold = func(f func()) { f() } // in order
				sealers := aggregate.NewSealers(2, 0)
				p, r := d.start(aggregate.Config{MaxRecords: 1, InFlight: 2, Sealers: sealers}, s)
				for range 10 {
					if err := p.Append(d.next(1, 10)); err != nil && !errors.Is(err, errStore) {
						t.Fatal(err)
					}
				}
				barrier := make(chan error, 1)
				go func() { barrier <- p.Barrier(context.Background(), crypto.KindBarrier, d.head) }()
				if err := <-barrier; !errors.Is(err, errStore) {
					t.Errorf("barrier: %v", err)
				}
				synctest.Wait()
				last, errs, err := r.get()
				if !errors.Is(err, errStore) || errs != 1 || !slices.Equal(last, []tlog.Sequence{1, 2}) {
					t.Errorf("committed %v, %v (%d times); want [1 2] and the store's error once", last, err, errs)
				}
				if s.end() > 5 {
					t.Errorf("published up to %d", s.end())
				}
				d.allReleased()
				if err := p.Append(d.next(1, 10)); !errors.Is(err, errStore) {
					t.Errorf("append afterwards: %v", err)
				}
				d.allReleased()
				if err := p.Close(t.Context()); !errors.Is(err, errStore) || tlog.ClassOf(err) != tlog.Fatal {
					t.Errorf("close: %v", err)
				}
				if held, queued, _ := sealers.Memory(); held != 0 || queued != 0 {
					t.Errorf("%d bytes held, %d jobs queued", held, queued)
				}
			})
		})
	}
}

// Close with a store that never answers ends with its context, and so does
// everything that waits.
func TestCloseHungStore(t *testing.T) {
	for _, inFlight := range []int{2, 20} { // the barrier waits to be cut, or is in flight
		synctest.Test(t, func(t *testing.T) { closeHungStore(t, inFlight) })
	}
}

func closeHungStore(t *testing.T, inFlight int) {
	d := newDisk(t, 1, 0)
	s := d.after()
	s.hang = true
	sealers := aggregate.NewSealers(2, 0)
	p, r := d.start(aggregate.Config{MaxRecords: 1, InFlight: inFlight, Sealers: sealers}, s)
	for range 5 {
		mustAppend(t, p, d.next(1, 10))
	}
	barrier := make(chan error, 1)
	go func() { barrier <- p.Barrier(context.Background(), crypto.KindBarrier, d.head) }()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := p.Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || tlog.ClassOf(err) != tlog.Fatal {
		t.Errorf("close: %v", err)
	}
	d.allReleased()
	last, errs, cerr := r.get()
	if len(last) != 0 || errs != 1 || !errors.Is(cerr, context.DeadlineExceeded) {
		t.Errorf("committed %v, %v (%d times)", last, cerr, errs)
	}
	if err := <-barrier; err == nil {
		t.Error("the barrier of a failed pipeline is committed")
	}
	s.releaseHeld()
	if held, _, _ := sealers.Memory(); held != 0 {
		t.Errorf("%d bytes held", held)
	}
	if err2 := p.Close(context.Background()); !errors.Is(err2, context.DeadlineExceeded) {
		t.Errorf("close again: %v", err2)
	}
}

// Close while Publish itself hangs; when it goes on, nothing is published any
// more.
func TestCloseHungPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, 1, 0)
		s := d.after()
		s.block = make(chan struct{})
		sealers := aggregate.NewSealers(1, 0)
		p, _ := d.start(aggregate.Config{MaxRecords: 1, InFlight: 3, Sealers: sealers}, s)
		for range 6 {
			mustAppend(t, p, d.next(1, 10))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
		d.allReleased()
		close(s.block)
		synctest.Wait()
		if s.end() != 2 {
			t.Errorf("published up to %d; position 2 was on its way when the pipeline was closed", s.end())
		}
		if held, queued, running := sealers.Memory(); held != 0 || queued != 0 || running != 0 {
			t.Errorf("%d bytes held, %d jobs queued, %d workers", held, queued, running)
		}
	})
}

// Close waits for a worker that is at it: afterwards none uses what the caller
// passed in.
func TestCloseWaitsForSealing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, 1, 0)
		sealing := true
		slow := func([][]byte) error {
			<-time.After(time.Hour)
			sealing = false
			return nil
		}
		r := &report{}
		p := aggregate.New(aggregate.Config{MaxRecords: 1}, d.head, d.key, slow, d.after(), r.committed)
		mustAppend(t, p, d.next(1, 10))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
		if sealing {
			t.Error("closed while sealing")
		}
		d.allReleased()
	})
}

// A barrier whose context ends leaves the pipeline going.
func TestBarrierGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, 1, 0)
		s := d.after()
		s.block = make(chan struct{})
		p, _ := d.start(aggregate.Config{}, s)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Barrier(ctx, crypto.KindBarrier, d.head); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("barrier: %v", err)
		}
		close(s.block)
		mustAppend(t, p, d.next(1, 10))
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if s.end() != 3 {
			t.Errorf("published up to %d, want barrier and data: 3", s.end())
		}
	})
}

// Sealing that fails kills the pipeline, and gives everything back.
func TestSealFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, 1, 0)
		s := d.after()
		sealers := aggregate.NewSealers(1, 0)
		r := &report{}
		broken := func([][]byte) error { return errors.New("no parity") }
		p := aggregate.New(aggregate.Config{MaxRecords: 1, Sealers: sealers}, d.head, d.key, broken, s, r.committed)
		for range 4 {
			if err := p.Append(d.next(1, 10)); err != nil && tlog.ClassOf(err) != tlog.Fatal {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if err := p.Close(t.Context()); tlog.ClassOf(err) != tlog.Fatal {
			t.Errorf("close: %v", err)
		}
		d.allReleased()
		if held, queued, _ := sealers.Memory(); held != 0 || queued != 0 || s.end() != 1 {
			t.Errorf("%d bytes held, %d jobs queued, published up to %d", held, queued, s.end())
		}
	})
}

// Sealers share their memory bound: a stalled store stops the sealing of all,
// and it goes on by itself.
func TestSharedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, vdisks = 100_000, 4
		sealers := aggregate.NewSealers(2, 3*size)
		var disks []*disk
		var pipes []*aggregate.Pipeline
		var stores []*store
		for range vdisks {
			d := newDisk(t, 1, 0)
			s := d.after()
			s.hang = true
			p, _ := d.start(aggregate.Config{MaxRecords: 1, Sealers: sealers}, s)
			disks, pipes, stores = append(disks, d), append(pipes, p), append(stores, s)
			for range 3 {
				mustAppend(t, p, d.next(1, size))
			}
		}
		synctest.Wait()
		held, queued, _ := sealers.Memory()
		if held > 3*size || held < size || queued < 9 {
			t.Errorf("%d bytes held, limit %d; %d jobs wait", held, 3*size, queued)
		}
		for i, p := range pipes {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if err := p.Close(ctx); err == nil {
				t.Error("closed cleanly on a hung store")
			}
			cancel()
			disks[i].allReleased()
			stores[i].releaseHeld()
		}
		synctest.Wait()
		if held, queued, running := sealers.Memory(); held != 0 || queued != 0 || running != 0 {
			t.Errorf("at the end: %d bytes held, %d jobs queued, %d workers", held, queued, running)
		}
	})
}
