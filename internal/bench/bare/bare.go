// Package bare stores shards the shortest way there is, as what a real store is
// measured against: files that are allocated, written and synced, and Redis
// servers that only SET and GET.
//
// A Store has one lane a shard server, each with a goroutine of its own. It is
// for one goroutine.
package bare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// depth is how many positions are in flight, as a server has it.
const depth = 8

// Store takes equal shards of one position after the other.
type Store struct {
	lanes  []lane
	tokens chan struct{} // held by shards in flight
}

// lane is one shard server's: put begins to store a shard, and done is called
// when it is as durable as it gets, in order. close tells the first failure.
type lane interface {
	put(shard []byte, done func())
	close() error
}

type put struct {
	shard []byte
	done  func()
}

func newStore(lanes []lane) *Store {
	return &Store{lanes, make(chan struct{}, depth*len(lanes))}
}

// Append gives one shard to each lane, when there is room for them.
func (s *Store) Append(shard []byte) {
	for _, l := range s.lanes {
		s.tokens <- struct{}{}
		l.put(shard, func() { <-s.tokens })
	}
}

// Drain waits until all that was appended is stored.
func (s *Store) Drain() {
	for range cap(s.tokens) {
		s.tokens <- struct{}{}
	}
	for range cap(s.tokens) {
		<-s.tokens
	}
}

// Sync gives one shard to each lane and waits until all are stored: a flush.
func (s *Store) Sync(shard []byte) {
	var wg sync.WaitGroup
	wg.Add(len(s.lanes))
	for _, l := range s.lanes {
		l.put(shard, wg.Done)
	}
	wg.Wait()
}

// Close ends the lanes. What failed since the store was opened, it tells.
func (s *Store) Close() error {
	var errs []error
	for _, l := range s.lanes {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

// file appends to one file: pwrite into allocated space and fdatasync, for all
// that waits at once, as the file store commits.
type file struct {
	f         *os.File
	queue     chan put
	ended     chan struct{}
	allocated int64
	end       int64
	err       error // the first; run's, until ended is closed
}

// OpenFiles makes n new files in dir.
func OpenFiles(dir string, n int) (*Store, error) {
	var lanes []lane
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("bare-%02d", i)))
		if err != nil {
			return nil, errors.Join(err, newStore(lanes).Close())
		}
		l := &file{f: f, queue: make(chan put, depth*n), ended: make(chan struct{})}
		go l.run()
		lanes = append(lanes, l)
	}
	return newStore(lanes), nil
}

func (l *file) put(shard []byte, done func()) { l.queue <- put{shard, done} }

func (l *file) run() {
	defer close(l.ended)
	var batch []put
	for p := range l.queue {
		batch = append(batch[:0], p)
		for len(l.queue) > 0 {
			batch = append(batch, <-l.queue)
		}
		for _, p := range batch {
			l.must(l.write(p.shard))
		}
		l.must(syscall.Fdatasync(int(l.f.Fd())))
		for _, p := range batch {
			p.done()
		}
	}
}

func (l *file) write(shard []byte) error {
	const step = 16 << 20
	for l.end+int64(len(shard)) > l.allocated {
		if err := syscall.Fallocate(int(l.f.Fd()), 0, l.allocated, step); err != nil {
			return err
		}
		l.allocated += step
	}
	n, err := l.f.WriteAt(shard, l.end)
	l.end += int64(n)
	return err
}

func (l *file) must(err error) {
	if l.err == nil {
		l.err = err
	}
}

func (l *file) close() error {
	close(l.queue)
	<-l.ended
	return errors.Join(l.err, l.f.Close())
}

// Read reads n shards of each of the first files that OpenFiles made in dir,
// from all of them at once, each into one buffer again and again.
func Read(dir string, files, n, size int) error {
	failed := make(chan error, files)
	for i := range files {
		go func() { failed <- read(filepath.Join(dir, fmt.Sprintf("bare-%02d", i)), n, size) }()
	}
	var errs []error
	for range files {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func read(path string, n, size int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, size)
	for i := range n {
		if _, err := f.ReadAt(buf, int64(i)*int64(size)); err != nil {
			return err
		}
	}
	return nil
}
