package watch_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tlog/internal/watch"
)

func TestEndsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var ended []context.Context
		c := watch.Contexts{Ended: func(ctx context.Context) {
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, ctx)
		}}
		told := func(want ...context.Context) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(ended) != len(want) {
				t.Fatalf("%d contexts were told of, want %d", len(ended), len(want))
			}
			for i := range want {
				if ended[i] != want[i] {
					t.Fatalf("context %d is another one", i)
				}
			}
			ended = nil
		}
		add := func(ctx context.Context) { mu.Lock(); defer mu.Unlock(); c.Add(ctx) }
		done := func(ctx context.Context) { mu.Lock(); defer mu.Unlock(); c.Done(ctx) }

		a, cancelA := context.WithCancel(t.Context())
		b, cancelB := context.WithTimeout(t.Context(), time.Minute)
		defer cancelB()
		add(a)
		add(a)
		add(b)
		done(a)
		cancelA()
		told(a) // one of two is left
		done(a)
		add(context.Background())
		done(context.Background())
		<-b.Done() // after a minute
		told(b)
		done(b)

		d, cancelD := context.WithCancel(t.Context())
		e, cancelE := context.WithCancel(t.Context())
		add(d)
		done(d) // its watch is kept
		add(d)
		add(e)
		done(e)
		done(d) // and that of e forgotten
		cancelE()
		told()
		mu.Lock()
		c.Close()
		mu.Unlock()
		cancelD()
		told()
		add(e)
		told(e) // a context that has ended is told of, too
		done(e)
	})
}
