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
// bounds those stops reading. Work of a pipeline is begun in the order in which
// it came, so no position waits for memory that a later one of its log holds;
// pipelines take turns.
type Sealers struct {
	workers, limit int

	mu      sync.Mutex
	queue   turns
	running int // goroutines
	held    int // bytes

	scratch reuse.Objects[scratch]
	jobs    reuse.Objects[job]
	free    func(bytes int) // release, made once
	run     func()          // work, likewise
}

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
	s := &Sealers{workers: workers, limit: memory, scratch: reuse.Objects[scratch]{New: func() *scratch { return new(scratch) }}, jobs: reuse.Objects[job]{New: newJob}}
	s.free, s.run = s.release, s.work
	return s
}

// submit has j sealed. Its bytes of memory are j's then, and are given back by
// release.
func (s *Sealers) submit(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.push(&j.p.line, j)
	s.start()
}

func (s *Sealers) release(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= bytes
	s.start()
}

// ready reports whether the next job may begin. The caller holds mu.
func (s *Sealers) ready() bool {
	next := s.queue.next()
	return next != nil && (s.held == 0 || s.held+next.bytes <= s.limit)
}

// start adds a worker if there is something for it. The caller holds mu.
func (s *Sealers) start() {
	if s.ready() && s.running < s.workers {
		s.running++
		go s.run()
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
		j := s.queue.pop()
		s.held += j.bytes
		s.start() // the next task may be ready, too
		s.mu.Unlock()
		j.seal()
	}
}
