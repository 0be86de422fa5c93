//go:build e2e

package store_test

import (
	"testing"

	"tlog/internal/redistest"
	"tlog/stor"
	"tlog/stor/redis"
)

// The model answers as a real Redis does: what the simulator finds, or does
// not find, is about the scripts that are used.
func TestLikeRedis(t *testing.T) {
	const calls = 50_000
	r := redistest.Start(t, "--appendfsync", "no") // what is answered, not whether it lasts
	s, err := redis.Dial(r.Addr, redis.Options{Durability: stor.DurabilityMemory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	compare(t, s, 2, calls)
	t.Logf("%d calls answered alike", calls)
}
