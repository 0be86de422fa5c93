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
