package server

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"tlog/internal/reuse"
)

func TestBudgetServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		if err := b.acquire(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		var order []int64
		got := make(chan int64, 3)
		for _, n := range []int64{7, 1, 2} { // 1 would fit, but 7 came first
			go func() {
				if err := b.acquire(t.Context(), n); err == nil {
					got <- n
				}
			}()
			synctest.Wait()
		}
		if len(got) != 0 {
			t.Fatalf("%d claims were granted before their turn", len(got))
		}
		b.release(8)
		synctest.Wait()
		close(got)
		for n := range got {
			order = append(order, n)
		}
		if len(order) != 3 || b.inUse() != 10 {
			t.Errorf("granted %v, %d in use; want all three, 10", order, b.inUse())
		}
	})
}

func TestBudgetWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		_ = b.acquire(t.Context(), 6)
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		results := make(chan error, 2)
		go func() { results <- b.acquire(ctx, 9) }()
		synctest.Wait()
		go func() { results <- b.acquire(t.Context(), 4) }() // fits as soon as the other is gone
		synctest.Wait()
		cancel(gone)
		if err := <-results; err == nil {
			err = <-results
			if !errors.Is(err, gone) {
				t.Errorf("got %v, want the context's cause", err)
			}
		} else if err2 := <-results; !errors.Is(err, gone) || err2 != nil {
			t.Errorf("got %v and %v, want the context's cause and none", err, err2)
		}
		if b.inUse() != 10 {
			t.Errorf("%d in use, want 10", b.inUse())
		}
	})
}

func TestPayloadsAreCleared(t *testing.T) {
	ps := payloads{spare: reuse.Objects[payload]{New: func() *payload { return new(payload) }}}
	p := ps.get(5000)
	p.charge = 1
	p.batch.Records = append(p.batch.Records, makeRecord())
	rs := p.batch.Records
	ps.put(p)
	if len(p.batch.Records) != 0 || rs[0].Data != nil || p.charge != 0 || p.buf != nil {
		t.Errorf("after put: %d records, data %v, charge %d", len(p.batch.Records), rs[0].Data, p.charge)
	}
}
