package server

import (
	"tlog"
	"tlog/internal/reuse"
	"tlog/schema"
)

// payload is one received message with its buffer. charge is what it has taken
// from the budget; the one who takes the payload takes the charge over.
type payload struct {
	buf     []byte
	memory  *reuse.Buffer // that buf is in
	batch   schema.Batch  // of a version-2 batch; its records alias buf
	charge  int64
	release func() // discard, made once
}

// payloads are recycled: a buffer for every message would cost half of the
// server's time. New of spare is set before the first get.
type payloads struct {
	memory reuse.Buffers
	spare  reuse.Objects[payload]
}

// payloadSize is the size of the buffer that a message of n bytes gets.
func payloadSize(n int) int { return reuse.Size(n) }

// get returns a payload whose buffer has n bytes.
func (p *payloads) get(n int) *payload {
	v := p.spare.Get()
	v.memory = p.memory.Get(n)
	v.buf = v.memory.Bytes
	return v
}

// encode makes v, which is long enough for it, the batch of these records.
func (v *payload) encode(records []tlog.Record, chain tlog.Hash) {
	v.buf = schema.AppendBatch(v.buf[:0], &schema.Batch{Records: records, Chain: chain})
	if err := schema.DecodeBatch(v.buf, &v.batch); err != nil {
		panic("internal error: server: own batch: " + err.Error())
	}
}

// put takes a payload back; nobody else may refer to it any more.
func (p *payloads) put(v *payload) {
	if cap(v.buf) != cap(v.memory.Bytes) {
		panic("internal error: server: payload with another buffer than its own")
	}
	p.memory.Put(v.memory)
	clear(v.batch.Records)
	v.batch = schema.Batch{Records: v.batch.Records[:0]}
	v.buf, v.memory, v.charge = nil, nil, 0
	p.spare.Put(v)
}
