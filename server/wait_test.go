package server

import (
	"context"
	"errors"
	"testing"
)

// TestNobodyWaits has a log that is ready at the moment at which the client
// that waited for it is gone, or its time is out: the vdisk is not given to it,
// or a takeover that nobody wants any more would take it from who has it.
func TestNobodyWaits(t *testing.T) {
	for _, why := range []error{context.Canceled, errSlow} {
		for range 100 { // either may be looked at first
			s := &Server{}
			e := &entry{cancel: func() {}, loaded: make(chan struct{}), owner: &owner{}, waiters: 1}
			close(e.loaded)
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(why)
			if err := s.wait(ctx, e); !errors.Is(err, why) {
				t.Fatalf("%v, want %v", err, why)
			}
			if e.waiters != 0 {
				t.Fatalf("%d wait", e.waiters)
			}
		}
	}
}
