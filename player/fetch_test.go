package player

import "testing"

// TestQueueIsBounded: what is on its way stays within the memory, whatever the
// size of positions turns out to be, but for one position that is always read.
func TestQueueIsBounded(t *testing.T) {
	for _, step := range []struct{ memory, largest, want int }{
		{12 << 20, 1 << 20, 8}, {12 << 20, firstRoom, 4}, {12 << 20, 6 << 20, 2}, {12 << 20, 7 << 20, 1}, {12 << 20, 20 << 20, 1}, {1, 1 << 20, 1},
	} {
		q := queue{log: &Log{readers: 8, memory: step.memory}, largest: step.largest}
		for range 40 {
			for q.full() {
				if !q.pop(func(*item) bool { return true }) {
					t.Fatal("ended")
				}
			}
			it := &item{room: q.room(), ready: make(chan struct{})}
			close(it.ready)
			q.items = append(q.items, it)
			if got := len(q.items); got > step.want {
				t.Fatalf("%+v: %d positions on their way", step, got)
			}
			if kept := len(q.items) + len(q.free); kept > 1 && kept*q.largest > step.memory {
				t.Fatalf("%+v: %d rooms are kept", step, kept)
			}
		}
		if got := len(q.items); got != step.want {
			t.Errorf("%+v: %d positions on their way", step, got)
		}
	}
}
