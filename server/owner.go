package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/internal/core/session"
	"tlog/internal/failpoint"
	"tlog/schema"
	"tlog/stor"
)

// owner is a vdisk that this server owns: its machine, and what the machine's
// actions work on.
type owner struct {
	srv   *Server
	vdisk tlog.VdiskID
	uuid  tlog.UUID
	// origin is the moment that the log was begun with; zero: none.
	origin tlog.Origin
	log    *stor.Log
	pipe   *aggregate.Pipeline
	tell   *slog.Logger
	care   *care
	life   context.Context // ends when the owner is let go of
	end    context.CancelFunc

	mu      sync.Mutex
	machine *session.Machine
	conns   map[session.Conn]*conn
	closing bool          // nobody may attach any more
	idle    int           // janitor's rounds without a client
	seen    tlog.Sequence // last record at the janitor's last round

	once    sync.Once
	flushed bool          // what close found
	gone    chan struct{} // closed when the owner is no longer in the server's list
}

// attach gives the connection to the machine; false if the owner is going.
func (o *owner) attach(c *conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	o.idle = 0
	o.conns[c.id] = c
	c.owner = o
	o.stepLocked(c.attach)
	return true
}

// detach tells the machine that the connection ended.
func (o *owner) detach(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stepLocked(session.Detached{Conn: c.id})
	delete(o.conns, c.id)
}

func (o *owner) step(e session.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stepLocked(e)
}

func (o *owner) stepLocked(e session.Event) {
	var broken error
	for _, a := range o.machine.Step(e) {
		if err := o.act(a); err != nil && broken == nil {
			broken = err
		}
	}
	if broken != nil {
		o.stepLocked(failure(broken))
	}
}

// act does what the machine says. Nothing here waits. An error means that the
// log is of no more use.
func (o *owner) act(a session.Action) error {
	switch a := a.(type) {
	case session.Append:
		return o.append(a)
	case session.Force:
		o.pipe.Force()
	case session.Drop:
		if p, ok := a.Payload.(*payload); ok { // a block of several has none
			o.srv.discard(p)
		}
	case session.Barrier:
		o.srv.tasks.Go(func() { o.barrier(a.Head) })
	case session.Recheck:
		o.srv.tasks.Go(func() { o.recheck(a.Attach) })
	case session.Welcome:
		o.welcome(a)
	case session.Reply:
		o.reply(a)
	case session.Close:
		if c := o.conns[a.Conn]; c != nil {
			c.log.Info("session ends", "reason", a.Reason)
			c.out.end()
		}
	case session.Pause:
		o.pause(a.Conn, true)
	case session.Resume:
		o.pause(a.Conn, false)
	case session.Gap:
		if c := o.conns[a.Conn]; c != nil {
			c.gap(a.Open)
		}
	case session.Note:
		o.tell.Warn(a.Message, "conn", uint64(a.Conn))
	case session.Die:
		o.closing = true
		o.tell.Error("vdisk is let go of", "reason", a.Message)
		o.srv.Metrics.OwnersFailed.Add(1)
		o.srv.tasks.Go(o.letGo)
	default:
		panic("internal error: server: unknown action")
	}
	return nil
}

func (o *owner) pause(id session.Conn, on bool) {
	if c := o.conns[id]; c != nil {
		c.out.pause(on)
	}
}

func (o *owner) reply(r session.Reply) {
	if c := o.conns[r.Conn]; c != nil {
		c.out.put(answer{reply: r})
	}
}

// welcome answers a handshake.
func (o *owner) welcome(w session.Welcome) {
	c := o.conns[w.Conn]
	if c == nil {
		return
	}
	if w.Status != tlog.HandshakeOK {
		c.refuse(&session.Refusal{Status: w.Status, Message: w.Message})
		return
	}
	o.srv.Metrics.Handshakes.Add(1)
	c.log.Info("client attached", "version", uint32(c.version), "generation", uint64(w.Head.Generation), "at", uint64(w.Head.Last))
	c.welcome(&schema.Welcome{
		Version: c.version, Status: w.Status, LastFlushed: w.Head.Last, Chain: w.Head.Chain,
		Generation: w.Head.Generation, Epoch: o.log.Epoch(), LastTimestamp: w.Head.Timestamp,
		CreditRecords: creditRecords, CreditBytes: o.srv.creditBytes, Hash: w.Head.Hash, Vdisk: o.uuid,
		DiskSize: w.Disk.Size, BlockSize: w.Disk.BlockSize, Durability: o.srv.cfg.Durability,
	})
}

// append hands records to the pipeline, as they came if possible.
func (o *owner) append(a session.Append) error {
	o.noteAppend(&a)
	p := a.Payload.(*payload)
	if !a.Whole {
		p = o.encoded(a, p)
	}
	return o.pipe.Append(aggregate.Batch{
		Frame: p.buf, Records: p.batch.Records, Chain: a.Chain,
		Release: p.release,
	})
}

func (o *owner) noteAppend(a *session.Append) {
	failpoint.Here("record.taken")
	o.srv.Metrics.Records.Add(uint64(len(a.Records)))
	if a.Clamped {
		o.srv.Metrics.TimestampsClamped.Add(1)
	}
}

// encoded is a payload that is the batch of a's records, in p's place.
func (o *owner) encoded(a session.Append, p *payload) *payload {
	q := o.srv.payloads.get(schema.BatchSize(a.Records))
	q.charge, p.charge = p.charge, 0
	q.encode(a.Records, a.Chain)
	o.srv.payloads.put(p)
	return q
}

// barrier runs in its own goroutine; the machine has one on its way at most.
func (o *owner) barrier(h session.Head) {
	failpoint.Here("barrier.append")
	err := o.pipe.Barrier(o.life, crypto.KindBarrier, aggregate.Head{
		Generation: h.Generation, Client: h.Client, Hash: h.Hash, Base: uint64(h.Base), First: h.First, Version1: h.Version1,
	})
	if err != nil {
		o.step(failure(err))
		return
	}
	failpoint.Here("barrier.stored")
	o.step(session.BarrierDone{})
}

// recheck reads where the stored log ends, for an attach that would be refused.
func (o *owner) recheck(a session.Attach) {
	ctx, cancel := context.WithTimeoutCause(o.life, o.srv.cfg.AttachTimeout, errSlow)
	defer cancel()
	e := session.Rechecked{Attach: a}
	k, err := o.srv.survey(ctx, o.vdisk)
	if err != nil {
		e.Problem = err.Error()
	} else {
		e.Head = k.session()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns[a.Conn] != nil {
		o.stepLocked(e)
	}
}

// committed is told by the pipeline, in order, what is durable.
func (o *owner) committed(last tlog.Sequence, chain tlog.Hash, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.stepLocked(failure(err))
		return
	}
	o.stepLocked(session.Committed{Last: last, Chain: chain})
}

// giveUp ends an attach that takes too long.
func (o *owner) giveUp(c *conn) {
	msg := "the log's barrier is not durable yet; try again"
	if err := o.log.Stalled(); err != nil {
		msg = "the log cannot be written at the moment: " + err.Error()
	}
	o.step(session.GiveUp{Conn: c.id, Message: msg})
}

// close flushes what was accepted until ctx ends, gives everything back and
// leaves the server's list. It reports whether all of it is durable. Of several
// calls the first does it, and the others wait for it.
func (o *owner) close(ctx context.Context) bool {
	o.once.Do(func() {
		o.flushed = o.shut(ctx)
		o.srv.remove(o)
		close(o.gone)
	})
	return o.flushed
}

func (o *owner) shut(ctx context.Context) bool {
	o.mu.Lock()
	o.closing = true
	o.stepLocked(session.Stop{})
	o.mu.Unlock()
	err := o.pipe.Close(ctx)
	o.end()
	o.log.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.stepLocked(failure(err))
	}
	flushed := o.machine.Durable() == o.machine.Head().Last
	if !flushed {
		o.tell.Error("records were received and are not durable", "durable", uint64(o.machine.Durable()), "received", uint64(o.machine.Head().Last))
	}
	return flushed
}

// letGo closes an owner that has nothing left to flush, or cannot.
func (o *owner) letGo() {
	ctx, cancel := context.WithTimeout(context.Background(), lingerTime)
	defer cancel()
	o.close(ctx)
}

// idleFor reports that the owner had nothing to do for rounds visits of the
// janitor, and then lets nobody attach any more.
func (o *owner) idleFor(rounds int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := o.machine.Head().Last
	if last == o.seen {
		o.machine.Rest()
	}
	o.seen = last
	if o.closing || len(o.conns) > 0 || !o.machine.Idle() {
		o.idle = 0
		return false
	}
	o.idle++
	o.closing = o.idle >= rounds
	return o.closing
}

// failure is what an attaching client is told of err.
func failure(err error) session.Failed {
	f := session.Failed{Status: tlog.HandshakeInternal, Message: err.Error()}
	switch tlog.ClassOf(err) {
	case tlog.Unavailable, tlog.Transient, tlog.Fatal:
		f.Status = tlog.HandshakeUnavailable
	}
	switch {
	case errors.Is(err, stor.ErrFenced):
		f.Status = tlog.HandshakeMoved
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		f.Status = tlog.HandshakeUnavailable
	}
	return f
}

// giveUpAfter ends the connection's attach unless the result is called before.
func (o *owner) giveUpAfter(c *conn, d time.Duration) func() {
	t := time.AfterFunc(d, func() { o.giveUp(c) })
	return func() { t.Stop() }
}
