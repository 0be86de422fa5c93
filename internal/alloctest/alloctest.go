// Package alloctest bounds what code allocates for bytes that a peer sent.
//
// A decoder that trusts a length shows nothing in its result: it allocates, and
// refuses. So the bound is on everything allocated meanwhile, by any goroutine,
// garbage included.
package alloctest

import (
	"math"
	"runtime"
	"runtime/metrics"
	"testing"
)

// The bound is Factor times the input, and Slack.
const (
	Factor = 8
	Slack  = 1 << 20
)

// Bound runs f and fails t if it allocates more than an input of so many bytes
// may cost. What looks like too much is measured again, exactly: f must do the
// same twice.
func Bound(t testing.TB, input int, f func()) {
	t.Helper()
	limit := uint64(Factor*input + Slack)
	before := roughly()
	f()
	if roughly()-before <= limit {
		return
	}
	before = exactly()
	f()
	if n := exactly() - before; n > limit {
		t.Fatalf("%d bytes are allocated for an input of %d; at most %d may be", n, input, limit)
	}
}

// Least is the fewest bytes that were allocated during one of five calls of f,
// which must do the same each time. What the runtime and other goroutines
// allocate meanwhile only adds, so that bounds of a few KiB hold too.
func Least(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		before := exactly()
		f()
		least = min(least, exactly()-before)
	}
	return least
}

// roughly costs a microsecond, and may miss what caches of the allocator have
// not booked yet, less than Slack.
func roughly() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// exactly stops the world.
func exactly() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
