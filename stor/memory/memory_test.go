package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"tlog/stor"
	"tlog/stor/memory"
	"tlog/stor/stortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	stortest.Run(t, stortest.Backend{Open: func(t *testing.T) stor.Server {
		s, err := memory.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return s
	}})
}
