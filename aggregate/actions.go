package aggregate

import (
	"fmt"
	"time"

	"tlog"
	"tlog/internal/core/collect"
)

// step tells the core what happened and does what it says. The error is that
// of a refused item. The caller holds mu.
func (p *Pipeline) step(e collect.Event) error {
	var refused error
	for _, a := range p.core.Step(e) {
		switch a.Kind {
		case collect.Refuse:
			refused = p.refuse(a.Reason)
		case collect.Seal:
			p.cut(a)
		case collect.Publish:
			p.publishing.add(p.jobs[a.Position])
		case collect.Commit:
			p.commit(a.Position)
		case collect.Discard:
			p.jobs[a.Position].discard()
		case collect.Arm:
			p.arm(a.At)
		case collect.Fail:
			p.drop(a.Err)
		case collect.Finish:
			p.reporting.add(report{tell: func() { close(p.ended) }})
		}
	}
	return refused
}

// refuse takes the last item back.
func (p *Pipeline) refuse(why collect.Reason) error {
	end := len(p.items) - 1
	p.items[end] = item{}
	p.items = p.items[:end]
	switch why {
	case collect.Dead:
		return p.err
	case collect.TooLarge:
		return fmt.Errorf("aggregate: append to vdisk %s: batch is longer than %d bytes", p.tail.Vdisk, tlog.MaxAggregation)
	}
	return ErrClosed
}

func (p *Pipeline) arm(at time.Duration) {
	wait := at - time.Since(p.started)
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.aged)
		return
	}
	p.timer.Reset(wait)
}

// cut makes a job of the first items and hands it to the sealers.
func (p *Pipeline) cut(a collect.Action) {
	j := p.cfg.Sealers.jobs.Get()
	j.p, j.position = p, a.Position
	j.items = append(j.items[:0], p.items[:a.Items]...)
	n := copy(p.items, p.items[a.Items:])
	clear(p.items[n:])
	p.items = p.items[:n]
	if n == 0 && cap(p.items) > spareLimit {
		p.items = nil // an idle vdisk keeps no long queue
	}
	j.describe(&p.tail)
	p.jobs[a.Position] = j
	j.bytes = j.memory()
	p.cfg.Sealers.submit(j)
}

// commit reports a position that is durable with all before it.
func (p *Pipeline) commit(pos tlog.Position) {
	j := p.jobs[pos]
	delete(p.jobs, pos)
	p.reporting.add(report{committed: j})
}

// report is what the reporting lane does: it tells of a committed job, or
// whatever else.
type report struct {
	committed *job
	tell      func()
}

func (p *Pipeline) report(r report) {
	if r.tell != nil {
		r.tell()
		return
	}
	j := r.committed
	p.committed(j.header.Last, j.chain, nil)
	if j.control != nil {
		j.control.done <- nil
	}
	j.free()
}

// drop ends a failed pipeline: all that neither a worker nor the publisher has
// is given back, all that waits is told.
func (p *Pipeline) drop(err error) {
	p.err = err
	if p.timer != nil {
		p.timer.Stop()
	}
	items := p.items
	p.items = nil
	var waiting []*control
	for _, j := range p.jobs {
		if j.control != nil {
			waiting = append(waiting, j.control)
		}
		items = append(items, j.take()...)
		j.discard()
	}
	p.cfg.Logger.Debug("pipeline failed", "error", err)
	p.reporting.add(report{tell: func() {
		for _, i := range items {
			if i.control != nil {
				waiting = append(waiting, i.control)
			}
			i.release()
		}
		p.committed(0, tlog.Hash{}, err)
		for _, c := range waiting {
			c.done <- err
		}
		close(p.ended)
	}})
}
