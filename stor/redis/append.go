package redis

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"tlog"
	"tlog/internal/reuse"
	"tlog/internal/watch"
	"tlog/stor"
)

// A batch is what one system call writes.
const (
	batchRequests = 64
	batchBytes    = 4 << 20
)

// request is an append on its way. It is recycled when it was delivered and
// neither a list nor the socket has it any more; its fields are guarded by
// appends.mu. The encoder reads the AppendRequest while writing is set.
type request struct {
	*stor.AppendRequest // nil once delivered
	ctx                 context.Context
	done                func(stor.Meta, error)
	size                int // of Head and Body

	sent      time.Time
	listed    bool // in queue or flight
	eval      bool // with the script's text
	stored    bool // the SET was answered
	setErr    error
	writing   bool // the socket reads Head and Body: done must wait
	over      bool // the outcome is known
	delivered bool // done was, or is about to be, called
	meta      stor.Meta
	err       error
}

// delivery is a call of done that is due.
type delivery struct {
	done func(stor.Meta, error)
	meta stor.Meta
	err  error
}

func (d delivery) make() {
	if d.done != nil {
		d.done(d.meta, d.err)
	}
}

// appends is the pipelined connection. One goroutine runs it; the others that
// it starts live as long as the connection.
type appends struct {
	s    *Server
	wake chan struct{} // there is something in the queue

	mu       sync.Mutex
	closed   bool
	queue    []*request // not sent
	flight   []*request // sent, in the order of their answers
	contexts watch.Contexts
	requests reuse.Objects[request]
	want     []byte // the answer that is hoped for
}

func (a *appends) init(s *Server) {
	a.s, a.wake = s, make(chan struct{}, 1)
	a.contexts.Ended = a.expire
	a.requests.New = func() *request { return new(request) }
}

// Append sends one shard, and its script behind it.
func (s *Server) Append(ctx context.Context, r *stor.AppendRequest, done func(stor.Meta, error)) {
	size := len(r.Head) + len(r.Body)
	var err error
	switch {
	case s.opt.ReadOnly:
		err = s.refusal(stor.Denied, "append: opened for reading only")
	case r.Position == 0 || r.Index < 0 || r.Index > maxIndex || size > maxData:
		err = s.refusal(stor.ServerError, "append: position %d, index %d, %d bytes: out of range", r.Position, r.Index, size)
	case ctx.Err() != nil:
		err = s.appends.ended(ctx)
	default:
		err = s.appends.add(ctx, r, size, done)
	}
	if err != nil {
		go done(stor.Meta{}, err) // never from within Append: the caller may hold its locks
	}
}

func (a *appends) ended(ctx context.Context) error {
	return fmt.Errorf("stor/redis: %s: append: %w", a.s.name, context.Cause(ctx))
}

// add queues a request; an error means that it did not.
func (a *appends) add(ctx context.Context, r *stor.AppendRequest, size int, done func(stor.Meta, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return a.s.errClosed()
	}
	q := a.requests.Get()
	*q = request{AppendRequest: r, ctx: ctx, done: done, size: size, listed: true}
	a.contexts.Add(ctx)
	a.queue = append(a.queue, q)
	a.poke()
	return nil
}

func (a *appends) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// settle gives q its outcome, if it has none yet. mu is held; the delivery is
// made when it no longer is.
func (a *appends) settle(q *request, m stor.Meta, err error) delivery {
	if q.over {
		return a.retire(q)
	}
	q.over, q.meta, q.err = true, m, err
	return a.retire(q)
}

// retire delivers q's outcome when it may be, and recycles q when nothing has
// it any more. It is called after each change of that. mu is held.
func (a *appends) retire(q *request) (d delivery) {
	if q.over && !q.writing && !q.delivered {
		d = delivery{q.done, q.meta, q.err}
		a.contexts.Done(q.ctx)
		q.delivered = true
		q.AppendRequest, q.done = nil, nil
	}
	if q.delivered && !q.listed && !q.writing {
		*q = request{}
		a.requests.Put(q)
	}
	return d
}

// expire settles what has a context that ended.
func (a *appends) expire(ctx context.Context) {
	err := a.ended(ctx)
	var due []delivery
	a.mu.Lock()
	for _, list := range [][]*request{a.flight, a.queue} {
		for _, q := range list {
			if q.ctx == ctx {
				due = append(due, a.settle(q, stor.Meta{}, err))
			}
		}
	}
	a.mu.Unlock()
	for _, d := range due {
		d.make()
	}
}

// run makes a connection whenever something is queued and there is none.
func (a *appends) run() {
	for a.wait() {
		c, err := a.s.connect(a.s.life)
		if err == nil {
			err = tlog.Transientf("stor/redis: %s: append: connection lost: %w", a.s.name, a.serve(c))
		}
		if a.s.life.Err() != nil {
			break
		}
		a.fail(err)
	}
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.fail(a.s.errClosed())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.contexts.Close()
}

// wait reports false when the server is closed.
func (a *appends) wait() bool {
	for {
		a.mu.Lock()
		waiting := len(a.queue) > 0
		a.mu.Unlock()
		if a.s.life.Err() != nil {
			return false
		}
		if waiting {
			return true
		}
		select {
		case <-a.wake:
		case <-a.s.life.Done():
		}
	}
}

// fail gives everything that has no outcome this one. No connection is open.
func (a *appends) fail(err error) {
	var due []delivery
	a.mu.Lock()
	for _, q := range append(a.flight, a.queue...) {
		q.listed = false
		due = append(due, a.settle(q, stor.Meta{}, err))
	}
	a.flight, a.queue = nil, nil
	a.mu.Unlock()
	for _, d := range due {
		d.make()
	}
}

// serve works c until it, or the server, ends, and says why. The first to fail
// closes the socket, which ends the others.
func (a *appends) serve(c *conn) error {
	ctx, cancel := context.WithCancelCause(a.s.life)
	defer context.AfterFunc(ctx, c.close)()
	var wg sync.WaitGroup
	wg.Go(func() { cancel(a.read(c)) })
	wg.Go(func() { cancel(a.watch(ctx)) })
	wg.Go(func() { cancel(a.readmit(ctx)) })
	cancel(a.write(ctx, c))
	wg.Wait()
	c.close()
	return context.Cause(ctx)
}

// write sends what is queued, as much as is there in one system call.
func (a *appends) write(ctx context.Context, c *conn) error {
	enc := encoder{scripts: &a.s.scripts, expiry: 2 * a.s.opt.Timeout}
	var batch []*request
	for {
		batch = a.take(batch)
		if len(batch) == 0 {
			select {
			case <-a.wake:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err := enc.write(c.raw, batch)
		a.written(batch)
		if err != nil {
			return err
		}
	}
}

// take moves requests from the queue into flight.
func (a *appends) take(batch []*request) []*request {
	clear(batch)
	batch = batch[:0]
	a.mu.Lock()
	defer a.mu.Unlock()
	now, n, bytes := time.Now(), 0, 0
	for n < len(a.queue) && len(batch) < batchRequests && bytes < batchBytes {
		q := a.queue[n]
		n++
		if q.over {
			q.listed = false
			a.retire(q)
			continue
		}
		q.writing, q.sent, q.stored, q.setErr = true, now, false, nil
		bytes += q.size
		batch = append(batch, q)
	}
	a.flight = append(a.flight, batch...)
	a.queue = behind(a.queue, n)
	return batch
}

// behind is list without its first n elements, in the same memory.
func behind(list []*request, n int) []*request {
	rest := copy(list, list[n:])
	clear(list[rest:])
	return list[:rest]
}

// written hands over outcomes that came while the socket was still reading.
func (a *appends) written(batch []*request) {
	var due []delivery
	a.mu.Lock()
	for _, q := range batch {
		q.writing = false
		if d := a.retire(q); d.done != nil {
			due = append(due, d)
		}
	}
	a.mu.Unlock()
	for _, d := range due {
		d.make()
	}
}

// read receives answers.
func (a *appends) read(c *conn) error {
	c.guard.limit = smallReply
	p := newReplies(c.guard)
	for {
		r, err := p.next()
		if err != nil {
			return err
		}
		d, err := a.answer(&r)
		if err != nil {
			return err
		}
		d.make()
	}
}

// answer takes one reply: of the oldest request's SET, or of its script.
func (a *appends) answer(r *reply) (delivery, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.flight) == 0 {
		return delivery{}, errors.New("an answer to nothing that was asked")
	}
	q := a.flight[0]
	if q.size > 0 && !q.stored {
		q.stored, q.setErr = true, r.refusal()
		return delivery{}, nil
	}
	a.flight = behind(a.flight, 1)
	q.listed = false
	if q.over {
		return a.retire(q), nil
	}
	if a.asHoped(q, r) {
		return a.settle(q, stor.Meta{Position: q.Position, Epoch: q.Epoch, Digest: q.Digest, Index: q.Index}, nil), nil
	}
	if noScript(r.refusal()) && !q.eval {
		q.eval, q.listed = true, true
		a.queue = append(a.queue, q)
		a.poke()
		return delivery{}, nil
	}
	m, err := a.s.outcome(q.AppendRequest, q.setErr, r.value(), r.refusal())
	return a.settle(q, m, err), nil
}

// asHoped reports whether r says that q is stored as it was asked to be.
func (a *appends) asHoped(q *request, r *reply) bool {
	a.want = append(a.want[:0], "OK "...)
	a.want = append(appendNumber(a.want, q.Epoch), ' ')
	a.want = append(hex.AppendEncode(a.want, q.Digest[:]), ' ')
	a.want = appendIndex(a.want, q.Index)
	return (r.kind == '$' || r.kind == '+') && bytes.Equal(r.text, a.want)
}

// outcome judges the answer to an append.
func (s *Server) outcome(r *stor.AppendRequest, setErr error, reply any, said error) (stor.Meta, error) {
	word, rest, err := s.verdict("append", reply, said)
	if word == "NODATA" && setErr != nil {
		return stor.Meta{}, s.judge("append", setErr)
	}
	if err != nil {
		return stor.Meta{}, err
	}
	m, err := parseMeta(rest, r.Position)
	if err != nil {
		return m, s.refusal(stor.ServerError, "append: %w", err)
	}
	if m.Epoch != r.Epoch || m.Digest != r.Digest || (m.Index == r.Index) != (word == "OK") {
		return m, s.refusal(stor.ServerError, "append: %s for epoch %d, digest %v, index %d, which was not asked", word, m.Epoch, m.Digest, m.Index)
	}
	if word == "INDEX" {
		held := s.refusal(stor.HasIndex, "append: position %d holds index %d of the digest, not %d", r.Position, m.Index, r.Index)
		held.Index = m.Index
		return m, held
	}
	return m, nil
}

// watch ends the connection when the oldest answer is overdue. It looks four
// times in the time that an answer may take.
func (a *appends) watch(ctx context.Context) error {
	tick := time.NewTicker(a.s.opt.Timeout / 4)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			a.mu.Lock()
			overdue := len(a.flight) > 0 && now.Sub(a.flight[0].sent) >= a.s.opt.Timeout
			a.mu.Unlock()
			if overdue {
				return fmt.Errorf("no answer within %v", a.s.opt.Timeout)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// readmit ends the connection when the server is no longer fit.
func (a *appends) readmit(ctx context.Context) error {
	tick := time.NewTicker(a.s.opt.Readmit)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := a.s.readmit(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
