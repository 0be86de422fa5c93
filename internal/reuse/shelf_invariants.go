//go:build invariants

package reuse

import (
	"bytes"
	"fmt"
	"sync"
	"unsafe"
)

// A shelf keeps what was put on it for a while, in order, so that a late write
// meets the pattern and not the next owner.
const (
	quarantine = 16 // as many stay behind when one is taken
	capacity   = 64 // more are dropped, the oldest first
)

// pattern fills what has no owner. It is no plausible length, pointer or text.
const pattern = 0xdb

type shelf[T any] struct {
	mu    sync.Mutex
	queue []shelved[T]
	held  map[*T]struct{}
}

// shelved is an object as it was put.
type shelved[T any] struct {
	v      *T
	image  []byte // of *v
	memory []byte // the pattern
}

func (s *shelf[T]) take() *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) <= quarantine {
		return nil
	}
	return s.oldest()
}

func (s *shelf[T]) put(v *T, memory []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.held[v]; twice {
		panic(fmt.Sprintf("internal error: reuse: %T was put back twice", v))
	}
	if s.held == nil {
		s.held = map[*T]struct{}{}
	}
	s.held[v] = struct{}{}
	poison(memory)
	s.queue = append(s.queue, shelved[T]{v, bytes.Clone(image(v)), memory})
	if len(s.queue) > capacity {
		s.oldest()
	}
}

// oldest takes the first off the shelf, as it was put there. mu is held.
func (s *shelf[T]) oldest() *T {
	e := s.queue[0]
	s.queue[0] = shelved[T]{}
	s.queue = s.queue[1:]
	delete(s.held, e.v)
	if !bytes.Equal(image(e.v), e.image) {
		panic(fmt.Sprintf("internal error: reuse: %T was written after it was put back", e.v))
	}
	if i := written(e.memory); i >= 0 {
		panic(fmt.Sprintf("internal error: reuse: byte %d of a buffer of %d was written after it was put back", i, len(e.memory)))
	}
	return e.v
}

// image is the memory of *v itself.
func image[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// patterns are as many as are compared at once: byte by byte would make tests
// miss their deadlines.
var patterns = bytes.Repeat([]byte{pattern}, 64<<10)

func poison(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, patterns):]
	}
}

// written finds the first byte that is not of the pattern, or −1.
func written(b []byte) int {
	for at := 0; at < len(b); at += len(patterns) {
		part := b[at:min(len(b), at+len(patterns))]
		if bytes.Equal(part, patterns[:len(part)]) {
			continue
		}
		for i, c := range part {
			if c != pattern {
				return at + i
			}
		}
	}
	return -1
}
