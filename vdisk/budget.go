package vdisk

import (
	"context"
	"slices"
	"sync"
)

// budget bounds the bytes of records that the base does not hold yet. Waiters
// are served in order of arrival, so that a large write is not starved.
type budget struct {
	mu      sync.Mutex
	free    int
	waiters []*waiter
}

type waiter struct {
	n     int
	ready chan struct{} // closed when n was taken for it
}

// take waits for n bytes until ctx or stop ends. n must not exceed the whole.
func (b *budget) take(ctx context.Context, stop <-chan struct{}, n int) error {
	b.mu.Lock()
	if len(b.waiters) == 0 && b.free >= n {
		b.free -= n
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	b.waiters = append(b.waiters, w)
	b.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-stop:
		b.abandon(w)
		return errStopped
	case <-ctx.Done():
		b.abandon(w)
		return ctx.Err()
	}
}

// give returns n bytes.
func (b *budget) give(n int) {
	b.mu.Lock()
	b.free += n
	b.serve()
	b.mu.Unlock()
}

func (b *budget) serve() {
	n := 0
	for n < len(b.waiters) && b.waiters[n].n <= b.free {
		b.free -= b.waiters[n].n
		close(b.waiters[n].ready)
		n++
	}
	b.waiters = slices.Delete(b.waiters, 0, n)
}

// abandon takes w out, or gives back what it was given meanwhile.
func (b *budget) abandon(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiters, w); i >= 0 {
		b.waiters = slices.Delete(b.waiters, i, i+1)
	} else {
		b.free += w.n
	}
	b.serve()
}
