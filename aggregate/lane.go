package aggregate

import "sync"

// lane calls functions one after the other, in the order in which they were
// given, on a goroutine that exists while there are any.
type lane struct {
	mu      sync.Mutex
	queue   []func()
	running bool
}

// add queues f; it never blocks.
func (l *lane) add(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, f)
	if !l.running {
		l.running = true
		go l.run()
	}
}

func (l *lane) run() {
	for {
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		l.running = len(queue) > 0
		l.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, f := range queue {
			f()
		}
	}
}
