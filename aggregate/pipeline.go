package aggregate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/collect"
)

// ErrClosed is what Append and Barrier return after Close.
var ErrClosed = errors.New("aggregate: pipeline is closed")

// Pipeline turns the record stream of one vdisk into sealed, hash-chained,
// committed aggregations, in order.
type Pipeline struct {
	cfg       Config
	key       *crypto.DataKey
	encode    func([][]byte) error
	publisher Publisher
	committed func(tlog.Sequence, tlog.Hash, error)
	packing   packing
	started   time.Time // the machine's time counts from here

	mu    sync.Mutex
	core  *collect.Machine
	items []item                 // appended, not yet cut; as the core counts them
	jobs  map[tlog.Position]*job // cut, not yet committed
	tail  Head                   // where the log ends after what was cut; Digest is not kept
	last  tlog.Sequence          // of what was appended
	clock uint64                 // timestamp of the last record appended
	timer *time.Timer
	err   error // why it is dead

	line       line           // of the Sealers: what waits to be sealed
	publishing lane[*job]     // chains and publishes, in order of positions
	digest     tlog.Hash      // of the last position chained; owned by publishing
	reporting  lane[report]   // releases and reports, in order of positions
	sealing    sync.WaitGroup // jobs that a worker has begun
	ended      chan struct{}  // closed by reporting: nothing more will be reported
}

// item is a batch or a control aggregation, waiting to be cut.
type item struct {
	batch   Batch
	control *control
}

// control is a control aggregation and who waits for it.
type control struct {
	kind crypto.Kind
	head Head
	done chan error // buffered
}

// New starts a pipeline that continues head. encode fills parity shards as
// crypto.Seal wants it, for several aggregations at once. committed is called
// in order of positions, one call at a time: once for each aggregation that is
// durable together with every one before it, with the last sequence and the
// chain value there; and once with an error when the pipeline has failed, or
// was closed before all was durable: then it is dead. It must return promptly
// and not wait for Barrier or Close.
func New(cfg Config, head Head, key *crypto.DataKey, encode func([][]byte) error, to Publisher, committed func(last tlog.Sequence, chain tlog.Hash, err error)) *Pipeline {
	cfg = cfg.withDefaults()
	cfg.Logger = cfg.Logger.With("vdisk", string(head.Vdisk))
	p := &Pipeline{
		cfg: cfg, key: key, encode: encode, publisher: to, committed: committed,
		started: time.Now(),
		core: collect.New(collect.Config{
			MaxBytes: cfg.MaxBytes, MaxRecords: cfg.MaxRecords, Grown: cfg.grown, MaxAge: cfg.MaxAge,
			MaxPayload: tlog.MaxAggregation, InFlight: cfg.InFlight, Last: head.Position,
		}),
		jobs: make(map[tlog.Position]*job),
		tail: head, last: head.Last, clock: head.Timestamp, digest: head.Digest,
		ended: make(chan struct{}),
	}
	p.publishing.init(p.publish)
	p.reporting.init(p.report)
	return p
}

// Append takes a batch. It does not wait: the caller bounds memory by Release.
// Records must follow those appended before, in sequence and time. After an
// error nothing of the batch is in the log, and Release was called: the
// pipeline has failed or is closed, or the batch is not one that can follow
// (the caller's mistake; the pipeline lives on).
func (p *Pipeline) Append(b Batch) error {
	err := p.append(b)
	if err != nil && b.Release != nil {
		b.Release()
	}
	return err
}

func (p *Pipeline) append(b Batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if err := p.follows(b.Records); err != nil {
		return fmt.Errorf("aggregate: append to vdisk %s: %w", p.tail.Vdisk, err)
	}
	p.items = append(p.items, item{batch: b})
	if err := p.step(collect.Appended{Records: len(b.Records), Bytes: len(b.Frame), Now: time.Since(p.started)}); err != nil {
		return err
	}
	end := &b.Records[len(b.Records)-1]
	p.last, p.clock = end.Sequence, end.Timestamp
	return nil
}

// follows checks what would make the log unreadable if it were wrong.
func (p *Pipeline) follows(records []tlog.Record) error {
	if len(records) == 0 {
		return errors.New("empty batch")
	}
	last, clock := p.last, p.clock
	for i := range records {
		r := &records[i]
		if r.Sequence != last+1 {
			return fmt.Errorf("sequence %d after %d", r.Sequence, last)
		}
		if r.Timestamp < clock {
			return fmt.Errorf("timestamp %d of sequence %d is below %d", r.Timestamp, r.Sequence, clock)
		}
		last, clock = r.Sequence, r.Timestamp
	}
	return nil
}

// Force seals what was appended so far without waiting for size or age.
func (p *Pipeline) Force() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step(collect.Force{})
}

// Barrier seals what is pending, then a control aggregation of kind
// (crypto.KindBarrier or KindBaseChange) with h's Generation, Client, Hash,
// Base, First and Version1, which hold for what is appended after. It returns
// when that is committed, and committed was called for it. When ctx ends first
// the outcome is open; the pipeline goes on.
func (p *Pipeline) Barrier(ctx context.Context, kind crypto.Kind, h Head) error {
	if kind != crypto.KindBarrier && kind != crypto.KindBaseChange {
		return fmt.Errorf("aggregate: %v is no barrier", kind)
	}
	c := &control{kind: kind, head: h, done: make(chan error, 1)}
	if err := p.control(c); err != nil {
		return err
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("aggregate: barrier of vdisk %s is not yet committed: %w", h.Vdisk, context.Cause(ctx))
	}
}

func (p *Pipeline) control(c *control) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items = append(p.items, item{control: c})
	return p.step(collect.Control{Now: time.Since(p.started)})
}

// Close seals what was accepted and returns when it is committed. When ctx ends
// first the rest fails, with an error of class tlog.Fatal: it may or may not be
// durable. Afterwards nothing is reported and no batch is held any more; what
// was handed to the publisher is the publisher's. Close returns why the
// pipeline failed, if it has. It may be called again.
func (p *Pipeline) Close(ctx context.Context) error {
	p.mu.Lock()
	p.step(collect.Close{})
	p.mu.Unlock()
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.fail(tlog.Fatalf("aggregate: vdisk %s closed before everything was durable: %w", p.tail.Vdisk, context.Cause(ctx)))
		<-p.ended
	}
	p.sealing.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	return p.err
}

func (p *Pipeline) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step(collect.Failed{Err: err})
}

// aged is the timer's function.
func (p *Pipeline) aged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step(collect.Aged{Now: time.Since(p.started)})
}
