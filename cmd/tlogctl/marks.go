package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
)

// marks are samples, drawn evenly, of what was written to a target that others
// can write to as well between two restores: whether it is still there tells
// that the target is the same, and that nobody used it meanwhile.
type marks struct {
	all  []mark
	seen int
}

// mark is a piece of what was written.
type mark struct {
	Offset int64  `json:"offset"`
	Size   int    `json:"size"`
	Sum    []byte `json:"sha256"`
}

const (
	markCount = 64
	markSize  = 4096 // bytes at most
)

// add draws from what is written.
func (m *marks) add(b []byte, off int64) {
	if len(b) == 0 {
		return
	}
	m.seen++
	at := len(m.all)
	if at == markCount {
		if at = rand.IntN(m.seen); at >= markCount {
			return
		}
	} else {
		m.all = append(m.all, mark{})
	}
	b = b[:min(len(b), markSize)]
	sum := sha256.Sum256(b)
	m.all[at] = mark{off, len(b), sum[:]}
}

// list is a copy.
func (m *marks) list() []mark { return append([]mark(nil), m.all...) }

// check reads the marks of an earlier restore, and goes on with them.
func (m *marks) check(r io.ReaderAt, list []mark) error {
	b := make([]byte, markSize)
	for _, k := range list {
		if k.Size < 0 || k.Size > markSize {
			return fmt.Errorf("a mark of %d bytes", k.Size)
		}
		if _, err := r.ReadAt(b[:k.Size], k.Offset); err != nil {
			return err
		}
		if sum := sha256.Sum256(b[:k.Size]); !bytes.Equal(sum[:], k.Sum) {
			return fmt.Errorf("at byte %d it does not have what was restored there", k.Offset)
		}
	}
	m.all, m.seen = append([]mark(nil), list...), len(list)
	return nil
}
