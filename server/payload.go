package server

import (
	"math/bits"
	"sync"

	"tlog/schema"
)

// payload is one received message with its buffer. charge is what it has taken
// from the budget; the one who takes the payload takes the charge over.
type payload struct {
	buf    []byte
	class  int
	batch  schema.Batch // of a version-2 batch; its records alias buf
	charge int64
}

// Buffers come in classes of 2^(a/4) steps from 1 KiB, so that at most a
// quarter of one is unused.
const (
	minPayload     = 1 << 10
	payloadClasses = 4*13 + 1 // up to 8 MiB
)

// payloads are recycled: a buffer for every message would cost half of the
// server's time.
type payloads struct {
	classes [payloadClasses]sync.Pool
}

func payloadClass(n int) int {
	if n <= minPayload {
		return 0
	}
	u := uint(n-1) / minPayload // ≥ 1: n lies above u KiB
	e := bits.Len(u) - 1        // octave: n−1 is in [2^e, 2^(e+1)) KiB
	quarter := (n - 1 - minPayload<<e) / (minPayload << e / 4)
	return 4*e + quarter + 1
}

func classSize(class int) int {
	if class == 0 {
		return minPayload
	}
	e, quarter := (class-1)/4, (class-1)%4
	return minPayload<<e + (quarter+1)*(minPayload<<e/4)
}

// payloadSize is the size of the buffer that a message of n bytes gets.
func payloadSize(n int) int { return classSize(payloadClass(n)) }

// get returns a payload whose buffer has n bytes.
func (p *payloads) get(n int) *payload {
	c := payloadClass(n)
	if v, ok := p.classes[c].Get().(*payload); ok {
		v.buf = v.buf[:n]
		return v
	}
	return &payload{buf: make([]byte, n, classSize(c)), class: c}
}

// put takes a payload back; nobody else may refer to it any more.
func (p *payloads) put(v *payload) {
	if cap(v.buf) != classSize(v.class) {
		panic("internal error: server: payload with another buffer than its own")
	}
	clear(v.batch.Records)
	v.batch = schema.Batch{Records: v.batch.Records[:0]}
	v.charge = 0
	p.classes[v.class].Put(v)
}
