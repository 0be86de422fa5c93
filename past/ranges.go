package past

import "sync"

// span is the blocks from…to, to excluded.
type span struct{ from, to int64 }

// ranges are the blocks that someone is changing now. There are as many as
// there are requests at a time, so looking at all of them costs nothing.
type ranges struct {
	mu    sync.Mutex
	freed sync.Cond
	busy  []span
}

func (r *ranges) init() { r.freed.L = &r.mu }

// lock waits until nobody changes a block of s, and takes it.
func (r *ranges) lock(s span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.overlaps(s) {
		r.freed.Wait()
	}
	r.busy = append(r.busy, s)
}

func (r *ranges) overlaps(s span) bool {
	for _, b := range r.busy {
		if b.from < s.to && s.from < b.to {
			return true
		}
	}
	return false
}

func (r *ranges) unlock(s span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range r.busy {
		if b == s {
			r.busy[i] = r.busy[len(r.busy)-1]
			r.busy = r.busy[:len(r.busy)-1]
			break
		}
	}
	r.freed.Broadcast()
}
