package aggregate

import (
	"context"
	"log/slog"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/collect"
	"tlog/internal/failpoint"
	"tlog/schema"
)

// preludeRoom is more than a framed prelude takes.
const preludeRoom = 1024

// job is one aggregation from its cut to its commit: the pipeline's, but for
// what a worker and the publishing lane do with it. It is recycled when its
// commit was reported; those of a pipeline that failed are not.
type job struct {
	p        *Pipeline
	done     func(error) // published, made once
	position tlog.Position
	bytes    int // of the Sealers' memory
	header   crypto.Header
	prelude  schema.Prelude
	control  *control  // of a control aggregation
	chain    tlog.Hash // after the last record

	items  []item         // batches not yet copied; guarded by the pipeline's mu
	begun  bool           // a worker has it; likewise
	sealed *crypto.Sealed // between sealing and publishing; likewise
}

func newJob() *job {
	j := new(job)
	j.done = func(err error) { j.p.published(j.position, err) }
	return j
}

// free gives the job back.
func (j *job) free() {
	spare := &j.p.cfg.Sealers.jobs
	*j = job{done: j.done, items: j.items[:0]}
	if cap(j.items) > spareLimit {
		j.items = nil
	}
	spare.Put(j)
}

// describe fills header and prelude from the job's items, and moves tail.
func (j *job) describe(tail *Head) {
	j.header = crypto.Header{
		Kind: crypto.KindData, Vdisk: tail.UUID, Position: j.position,
		First: tail.Last + 1, K: uint8(tail.K), M: uint8(tail.M),
		FirstTimestamp: tail.Timestamp, LastTimestamp: tail.Timestamp,
	}
	if c := j.items[0].control; c != nil {
		j.control = c
		clear(j.items)
		j.items = j.items[:0]
		j.header.Kind = c.kind
		tail.writer(&c.head)
	}
	before, clock := tail.Chain, tail.Timestamp
	for i := range j.items {
		records := j.items[i].batch.Records
		if i == 0 {
			j.header.FirstTimestamp = records[0].Timestamp
		}
		j.header.Count += uint32(len(records))
		j.header.LastTimestamp = records[len(records)-1].Timestamp
		tail.Chain = j.items[i].batch.Chain
	}
	tail.Position = j.position
	tail.Last += tlog.Sequence(j.header.Count)
	tail.Timestamp = j.header.LastTimestamp
	j.header.Last, j.chain = tail.Last, tail.Chain
	j.prelude = prelude(tail, &j.header, before, clock)
}

// prelude is what the payload of h begins with: who wrote it, by w, and what
// was before it.
func prelude(w *Head, h *crypto.Header, before tlog.Hash, clock uint64) schema.Prelude {
	return schema.Prelude{
		Vdisk: w.Vdisk, Size: uint64(h.Count), Timestamp: h.FirstTimestamp, Chain: before,
		Generation: w.Generation, Hash: w.Hash, Client: w.Client,
		Base: w.Base, First: w.First, Version1: w.Version1, LastTimestamp: clock,
	}
}

// memory is an upper bound of what the sealed job holds. The caller holds the
// pipeline's mu, or has begun the job.
func (j *job) memory() int {
	size, n := preludeRoom, int(j.header.K)+int(j.header.M)
	for i := range j.items {
		size += len(j.items[i].batch.Frame)
	}
	return n * (crypto.ShardLength(uint32(size), j.header.K) + crypto.HeadRoom(int(j.header.K), int(j.header.M)))
}

// take takes the batches from a job that no worker has begun.
func (j *job) take() []item {
	if j.begun {
		return nil
	}
	items := j.items
	j.items = nil
	return items
}

func (j *job) discard() {
	if j.sealed != nil {
		j.sealed.Release()
		j.sealed = nil
	}
}

func (i *item) release() {
	if i.batch.Release != nil {
		i.batch.Release()
	}
}

// seal is the job's work on a worker; it owns bytes of the Sealers' memory.
func (j *job) seal() {
	p, memory := j.p, j.bytes
	p.mu.Lock()
	if p.err != nil {
		p.mu.Unlock()
		p.cfg.Sealers.release(memory)
		return
	}
	j.begun = true
	p.sealing.Add(1)
	p.mu.Unlock()
	defer p.sealing.Done()

	failpoint.Here("seal.begin")
	sealed, err := p.sealItems(j)
	failpoint.Here("seal.done")
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.cfg.Sealers.release(memory)
		p.step(collect.Failed{Err: err})
		return
	}
	sealed.OnRelease(p.cfg.Sealers.free, memory)
	j.sealed = sealed
	p.step(collect.Sealed{Position: j.position})
}

// sealItems puts the batches together where they will be encrypted, gives them
// back, and seals.
func (p *Pipeline) sealItems(j *job) (*crypto.Sealed, error) {
	size := preludeRoom
	for i := range j.items {
		size += len(j.items[i].batch.Frame)
	}
	room := crypto.NewRoom(int(j.header.K), int(j.header.M), size)
	plain := schema.AppendPrelude(room.Bytes(), &j.prelude)
	for i := range j.items {
		plain = append(plain, j.items[i].batch.Frame...)
	}
	for i := range j.items {
		j.items[i].release()
	}
	clear(j.items)
	j.items = j.items[:0]
	sc := p.cfg.Sealers.scratch.Get()
	defer p.cfg.Sealers.scratch.Put(sc)
	payload, h := plain, &j.header
	if h.Kind == crypto.KindData {
		payload, h.Compression = p.packing.pack(plain, sc)
	}
	h.PlainLength, h.StoredLength = uint32(len(plain)), uint32(len(payload))
	return room.Seal(p.key, j.header, payload, p.encode, p.cfg.Random)
}

// publish is a job's turn on the publishing lane. When the pipeline died
// meanwhile, there is nothing left to publish.
func (p *Pipeline) publish(j *job) {
	p.mu.Lock()
	sealed := j.sealed
	j.sealed = nil
	p.mu.Unlock()
	if sealed == nil {
		return
	}
	p.digest = sealed.Chain(p.digest)
	failpoint.Here("seal.publish")
	if p.cfg.Logger.Enabled(context.Background(), slog.LevelDebug) {
		p.cfg.Logger.Debug("publish", "position", j.position, "kind", j.header.Kind.String(),
			"first", j.header.First, "last", j.header.Last, "stored_bytes", j.header.StoredLength)
	}
	p.publisher.Publish(j.position, p.digest, sealed, j.done) // j may be free by its end
}

func (p *Pipeline) published(pos tlog.Position, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.step(collect.Failed{Err: err})
		return
	}
	p.step(collect.Durable{Position: pos})
}
