package aggregate

import "sync"

// lane does things one after the other, in the order in which they were given,
// on a goroutine that exists while there are any.
type lane[T any] struct {
	do  func(T)
	run func() // loop, made once

	mu      sync.Mutex
	queue   []T
	spare   []T // the queue that was done last, empty
	running bool
}

// spareLimit is the longest queue that is kept when there is nothing in it.
const spareLimit = 16

func (l *lane[T]) init(do func(T)) { l.do, l.run = do, l.loop }

// add queues v; it never blocks.
func (l *lane[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, v)
	if !l.running {
		l.running = true
		go l.run()
	}
}

func (l *lane[T]) loop() {
	var done []T
	for {
		l.mu.Lock()
		clear(done)
		if done != nil && cap(done) <= spareLimit {
			l.spare = done[:0]
		}
		queue := l.queue
		l.queue, l.spare = l.spare, nil
		l.running = len(queue) > 0
		if !l.running {
			l.queue, l.spare = queue, l.queue
		}
		l.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, v := range queue {
			l.do(v)
		}
		done = queue
	}
}
