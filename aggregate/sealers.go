package aggregate

import (
	"runtime"
	"sync"

	"tlog/internal/reuse"
)

// Sealers are the goroutines that seal, shared by any number of pipelines, and
// the bound on the memory of what they sealed. They exist while there is work.
//
// A sealed aggregation counts until its Sealed is released. When the stores
// stall, this stops the sealing: batches then stay unreleased, and whoever
// bounds those stops reading. Work is begun in the order in which it came, so
// no position waits for memory that a later one of its log holds.
type Sealers struct {
	workers, limit int

	mu      sync.Mutex
	queue   []sealTask
	running int // goroutines
	held    int // bytes

	scratch reuse.Objects[scratch]
	free    func(bytes int) // release, made once
}

// sealTask calls do with its share of the memory, which do, or someone on its
// behalf, gives back by release.
type sealTask struct {
	bytes int
	do    func()
}

// scratch is what one sealing needs besides its result.
type scratch struct{ plain, packed []byte }

// NewSealers returns a pool of so many goroutines (0: GOMAXPROCS) that holds at
// most memory bytes of sealed aggregations (0: 128 MiB); a single larger one is
// let through alone.
func NewSealers(workers, memory int) *Sealers {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if memory <= 0 {
		memory = defaultMemory
	}
	s := &Sealers{workers: workers, limit: memory, scratch: reuse.Objects[scratch]{New: func() *scratch { return new(scratch) }}}
	s.free = s.release
	return s
}

func (s *Sealers) submit(bytes int, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, sealTask{bytes, do})
	s.start()
}

func (s *Sealers) release(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= bytes
	s.start()
}

// ready reports whether the first task may begin. The caller holds mu.
func (s *Sealers) ready() bool {
	return len(s.queue) > 0 && (s.held == 0 || s.held+s.queue[0].bytes <= s.limit)
}

// start adds a worker if there is something for it. The caller holds mu.
func (s *Sealers) start() {
	if s.ready() && s.running < s.workers {
		s.running++
		go s.work()
	}
}

func (s *Sealers) work() {
	for {
		s.mu.Lock()
		if !s.ready() {
			s.running--
			s.mu.Unlock()
			return
		}
		t := s.queue[0]
		s.queue[0] = sealTask{}
		s.queue = s.queue[1:]
		s.held += t.bytes
		s.start() // the next task may be ready, too
		s.mu.Unlock()
		t.do()
	}
}
