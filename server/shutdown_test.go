package server_test

import "testing"

// TestShutdownMeetsServe ends servers that are just beginning: whichever comes
// first, nothing of them goes on. The race detector judges.
func TestShutdownMeetsServe(t *testing.T) {
	s := newStore(t)
	for range 400 {
		if err := start(t, s, nil).stop(); err != nil {
			t.Fatal(err)
		}
	}
}
