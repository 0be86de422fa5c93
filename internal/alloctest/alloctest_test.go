package alloctest_test

import (
	"testing"

	"tlog/internal/alloctest"
)

// spy notes a failure in place of a test.
type spy struct {
	testing.TB
	failed bool
}

func (s *spy) Helper()               {}
func (s *spy) Fatalf(string, ...any) { s.failed = true }

var sink []byte

func TestBound(t *testing.T) {
	for _, c := range []struct {
		input, allocated int
		over             bool
	}{
		{0, 1000, false}, {0, 900 << 10, false}, {0, 2 << 20, true}, {1 << 20, 8 << 20, false}, {1 << 20, 10 << 20, true},
	} {
		s := &spy{TB: t}
		alloctest.Bound(s, c.input, func() { sink = make([]byte, c.allocated) })
		if s.failed != c.over {
			t.Errorf("%d bytes for %d: failed is %v", c.allocated, c.input, s.failed)
		}
	}
}

// What is allocated each time is counted, what is allocated once is not.
func TestLeast(t *testing.T) {
	calls := 0
	got := alloctest.Least(func() {
		sink = make([]byte, 8<<10)
		if calls++; calls < 5 {
			sink = make([]byte, 1<<20)
		}
	})
	if got < 8<<10 || got > 64<<10 {
		t.Errorf("%d bytes, want 8 KiB", got)
	}
}
