package sim

import (
	"errors"
	"time"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/collect"
	"tlog/internal/core/session"
)

// tail is where a log ends, and what the next aggregation must carry on.
type tail struct {
	position tlog.Position
	digest   tlog.Hash
	head     session.Head
}

// pipe is aggregate.Pipeline around the collect core.
type pipe struct {
	p         *process
	core      *collect.Machine
	log       *ownedLog
	items     []pipeItem
	jobs      map[tlog.Position]*job
	tail      tail
	first     tlog.Position // lowest that is not committed
	digest    tlog.Hash     // of the last position chained
	err       error
	ended     bool
	committed func(tlog.Sequence, tlog.Hash, error)
	onEnd     []func()
}

type pipeItem struct {
	records []tlog.Record
	chain   tlog.Hash
	control *control
}

// control is a barrier and who waits for it.
type control struct {
	head session.Head
	done func(error)
}

type job struct {
	agg     *aggregation
	control *control
}

var errPipeClosed = errors.New("pipeline is closed")

func newPipe(log *ownedLog, t tail, committed func(tlog.Sequence, tlog.Hash, error)) *pipe {
	sw := &log.p.w.swarm
	return &pipe{
		p: log.p, log: log, jobs: map[tlog.Position]*job{}, tail: t, first: t.position + 1, digest: t.digest, committed: committed,
		core: collect.New(collect.Config{
			MaxBytes: 1 << 16, MaxRecords: sw.maxRecords, Grown: sw.maxRecords * (1 + 3*int(log.p.w.seed&1)), MaxAge: time.Second, MaxPayload: 1 << 20,
			InFlight: sw.inFlight, Last: t.position,
		}),
	}
}

func (p *pipe) append(records []tlog.Record, chain tlog.Hash) error {
	if p.err != nil {
		return p.err
	}
	size := 0
	for i := range records {
		size += tlog.RecordHeaderSize + len(records[i].Data)
	}
	p.items = append(p.items, pipeItem{records: records, chain: chain})
	return p.step(collect.Appended{Records: len(records), Bytes: size, Now: p.p.w.now})
}

func (p *pipe) force() { _ = p.step(collect.Force{}) }

func (p *pipe) barrier(h session.Head, done func(error)) {
	p.items = append(p.items, pipeItem{control: &control{h, done}})
	if err := p.step(collect.Control{Now: p.p.w.now}); err != nil {
		p.p.at(0, func() { done(err) })
	}
}

// close flushes for at most d; done is called when nothing more is reported.
func (p *pipe) close(d time.Duration, done func(error)) {
	_ = p.step(collect.Close{})
	finish := func() { done(p.err) }
	if p.ended {
		p.p.at(0, finish)
		return
	}
	p.onEnd = append(p.onEnd, finish)
	p.p.at(d, func() {
		if !p.ended {
			_ = p.step(collect.Failed{Err: errors.New("closed before everything was durable")})
		}
	})
}

func (p *pipe) step(e collect.Event) error {
	var refused error
	for _, a := range append([]collect.Action(nil), p.core.Step(e)...) {
		switch a.Kind {
		case collect.Refuse:
			p.items = p.items[:len(p.items)-1]
			if refused = p.err; refused == nil {
				refused = errPipeClosed
			}
		case collect.Seal:
			p.cut(a)
		case collect.Publish:
			j := p.jobs[a.Position]
			p.p.at(0, func() { p.publish(j) })
		case collect.Commit:
			p.commit(a.Position)
		case collect.Discard:
			delete(p.jobs, a.Position)
		case collect.Arm:
			p.p.at(a.At-p.p.w.now, func() { _ = p.step(collect.Aged{Now: p.p.w.now}) })
		case collect.Fail:
			p.drop(a.Err)
		case collect.Finish:
			p.p.at(0, p.finish)
		}
	}
	return refused
}

// cut makes a job of the first items, which is sealed on a worker.
func (p *pipe) cut(a collect.Action) {
	agg := &aggregation{position: a.Position, before: p.tail.head.Chain}
	j := &job{agg: agg}
	for _, it := range p.items[:a.Items] {
		if c := it.control; c != nil {
			j.control = c
			h := &p.tail.head
			h.Generation, h.Client, h.Hash = c.head.Generation, c.head.Client, c.head.Hash
			h.Base, h.First, h.Version1 = c.head.Base, c.head.First, c.head.Version1
			continue
		}
		agg.records = append(agg.records, it.records...)
		p.tail.head.Chain = it.chain
	}
	if n := len(agg.records); n > 0 {
		p.tail.head.Last = agg.records[n-1].Sequence
		p.tail.head.Timestamp = agg.records[n-1].Timestamp
	}
	p.items = append([]pipeItem(nil), p.items[a.Items:]...)
	p.tail.position = a.Position
	agg.head = p.tail.head
	p.jobs[a.Position] = j
	p.p.at(p.p.w.between(0, 3*time.Millisecond), func() {
		if p.err == nil {
			_ = p.step(collect.Sealed{Position: a.Position})
		}
	})
}

// publish chains a position and gives it to the log.
func (p *pipe) publish(j *job) {
	if p.err != nil {
		return
	}
	w := p.p.w
	j.agg.prev = p.digest
	w.seal(j.agg, w.rng.Uint64())
	p.digest = j.agg.digest
	w.logf("%s publishes position %d, up to record %d", p.p.name, j.agg.position, j.agg.head.Last)
	p.log.publish(appending.Publish{Position: j.agg.position}, j.agg, func(err error) {
		if err != nil {
			_ = p.step(collect.Failed{Err: err})
			return
		}
		_ = p.step(collect.Durable{Position: j.agg.position})
	})
}

func (p *pipe) commit(pos tlog.Position) {
	j := p.jobs[pos]
	delete(p.jobs, pos)
	p.first = pos + 1
	p.p.at(0, func() {
		p.committed(j.agg.head.Last, j.agg.head.Chain, nil)
		if j.control != nil {
			j.control.done(nil)
		}
	})
}

func (p *pipe) drop(err error) {
	p.err = err
	var waiting []*control
	for pos := p.first; pos <= p.tail.position; pos++ {
		if j := p.jobs[pos]; j != nil && j.control != nil {
			waiting = append(waiting, j.control)
		}
	}
	for _, it := range p.items {
		if it.control != nil {
			waiting = append(waiting, it.control)
		}
	}
	p.items = nil
	p.p.at(0, func() {
		p.committed(0, tlog.Hash{}, err)
		for _, c := range waiting {
			c.done(err)
		}
		p.finish()
	})
}

func (p *pipe) finish() {
	if p.ended {
		return
	}
	p.ended = true
	for _, f := range p.onEnd {
		f()
	}
	p.onEnd = nil
}
