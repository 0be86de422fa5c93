package stor

import (
	"context"
	"time"
)

// pace spreads work over time. It is one goroutine's.
type pace struct{ next time.Time }

// charge books work that may take d.
func (p *pace) charge(d time.Duration) {
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(d)
}

// wait returns when what was charged has had its time, or with ctx's error.
func (p *pace) wait(ctx context.Context) error {
	d := time.Until(p.next)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
