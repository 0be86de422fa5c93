package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tlog"
	"tlog/stor"
)

// A batch is what one system call writes.
const (
	batchRequests = 64
	batchBytes    = 4 << 20
)

// request is an append on its way. Its fields below the line are guarded by
// appends.mu.
type request struct {
	*stor.AppendRequest
	done func(stor.Meta, error)
	stop func() bool // of the watch over its context

	// ---
	sent    time.Time
	eval    bool // with the script's text
	stored  bool // the SET was answered
	setErr  error
	writing bool // the socket reads Head and Body: done must wait
	over    bool // the outcome is known
	meta    stor.Meta
	err     error
}

func (q *request) size() int { return len(q.Head) + len(q.Body) }

func (q *request) deliver() {
	q.stop()
	q.done(q.meta, q.err)
}

// appends is the pipelined connection. One goroutine runs it; the others that
// it starts live as long as the connection.
type appends struct {
	s    *Server
	wake chan struct{} // there is something in the queue

	mu     sync.Mutex
	closed bool
	queue  []*request // not sent
	flight []*request // sent, in the order of their answers
}

func (a *appends) init(s *Server) { a.s, a.wake = s, make(chan struct{}, 1) }

// Append sends one shard, and its script behind it.
func (s *Server) Append(ctx context.Context, r *stor.AppendRequest, done func(stor.Meta, error)) {
	q := &request{AppendRequest: r, done: done, stop: func() bool { return true }}
	var err error
	switch {
	case s.opt.ReadOnly:
		err = s.refusal(stor.Denied, "append: opened for reading only")
	case r.Position == 0 || r.Index < 0 || r.Index > maxIndex || q.size() > maxData:
		err = s.refusal(stor.ServerError, "append: position %d, index %d, %d bytes: out of range", r.Position, r.Index, q.size())
	case ctx.Err() != nil:
		err = fmt.Errorf("stor/redis: %s: append: %w", s.name, context.Cause(ctx))
	default:
		err = s.appends.add(ctx, q) // if nil, q is no longer ours
	}
	if err != nil {
		q.err = err
		go q.deliver() // never from within Append: the caller may hold its locks
	}
}

// add queues q; an error means that it did not.
func (a *appends) add(ctx context.Context, q *request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return a.s.errClosed()
	}
	if ctx.Done() != nil {
		q.stop = context.AfterFunc(ctx, func() {
			a.settle(q, stor.Meta{}, fmt.Errorf("stor/redis: %s: append: %w", a.s.name, context.Cause(ctx)))
		})
	}
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

// settle gives q its outcome, if it has none yet.
func (a *appends) settle(q *request, m stor.Meta, err error) {
	a.mu.Lock()
	if q.over {
		a.mu.Unlock()
		return
	}
	q.over, q.meta, q.err = true, m, err
	writing := q.writing
	a.mu.Unlock()
	if !writing {
		q.deliver()
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
	a.mu.Lock()
	all := append(a.flight, a.queue...)
	a.flight, a.queue = nil, nil
	a.mu.Unlock()
	for _, q := range all {
		a.settle(q, stor.Meta{}, err)
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
			continue
		}
		q.writing, q.sent, q.stored, q.setErr = true, now, false, nil
		bytes += q.size()
		batch = append(batch, q)
	}
	a.flight = append(a.flight, batch...)
	rest := copy(a.queue, a.queue[n:])
	clear(a.queue[rest:])
	a.queue = a.queue[:rest]
	return batch
}

// written hands over outcomes that came while the socket was still reading.
func (a *appends) written(batch []*request) {
	a.mu.Lock()
	var over []*request
	for _, q := range batch {
		q.writing = false
		if q.over {
			over = append(over, q)
		}
	}
	a.mu.Unlock()
	for _, q := range over {
		q.deliver()
	}
}

// read receives answers.
func (a *appends) read(c *conn) error {
	c.guard.limit = smallReply
	for {
		reply, err := c.Receive()
		if err != nil && !answered(err) {
			return err
		}
		if err := a.answer(reply, err); err != nil {
			return err
		}
	}
}

// answer takes one reply: of the oldest request's SET, or of its script.
func (a *appends) answer(reply any, said error) error {
	a.mu.Lock()
	if len(a.flight) == 0 {
		a.mu.Unlock()
		return errors.New("an answer to nothing that was asked")
	}
	q := a.flight[0]
	if q.size() > 0 && !q.stored {
		q.stored, q.setErr = true, said
		a.mu.Unlock()
		return nil
	}
	a.flight[0] = nil
	a.flight = a.flight[1:]
	if noScript(said) && !q.eval {
		q.eval = true
		a.queue = append(a.queue, q)
		a.poke()
		a.mu.Unlock()
		return nil
	}
	setErr := q.setErr
	a.mu.Unlock()
	m, err := a.s.outcome(q.AppendRequest, setErr, reply, said)
	a.settle(q, m, err)
	return nil
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
