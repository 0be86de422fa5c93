//go:build !invariants

package reuse

import "sync"

// shelf is what is left of one type or class; the garbage collector may empty it.
type shelf[T any] struct{ pool sync.Pool }

func (s *shelf[T]) take() *T {
	v, _ := s.pool.Get().(*T)
	return v
}

// put takes v, and the memory it stands for, if any.
func (s *shelf[T]) put(v *T, _ []byte) { s.pool.Put(v) }

func poison([]byte) {}
