package server

import (
	"sync"

	"tlog"
	"tlog/internal/core/session"
	"tlog/internal/failpoint"
	"tlog/schema"
)

// answer waits to be written: a welcome or a reply.
type answer struct {
	welcome *schema.Welcome
	reply   session.Reply
}

// outbox holds the answers of one connection that are not written yet.
//
// It is bounded though putting never blocks: answers about records merge, since
// they are prefixes (version 2) or runs (version 1), and the connection's
// messages, the cause of all others, are not read while it is full.
type outbox struct {
	version schema.Version

	mu          sync.Mutex
	more        sync.Cond // something to write, or the end
	turn        sync.Cond // reading may go on, or the end
	queue       []answer
	recv, flush int // where the queue's RecvOK and FlushOK of version 2 are; −1: none
	paused      bool
	ended       bool // no more is put; what is queued is written
	aborted     bool // nothing more is written
}

func newOutbox() *outbox {
	o := &outbox{recv: -1, flush: -1}
	o.more.L, o.turn.L = &o.mu, &o.mu
	return o
}

func (o *outbox) put(a answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.aborted {
		return
	}
	if a.welcome == nil && o.merge(&a.reply) {
		return
	}
	if a.welcome == nil && !a.reply.Listed {
		switch a.reply.Status {
		case tlog.StatusRecvOK:
			o.recv = len(o.queue)
		case tlog.StatusFlushOK:
			o.flush = len(o.queue)
		}
	}
	o.queue = append(o.queue, a)
	o.more.Signal()
}

// merge adds r to one that is queued.
func (o *outbox) merge(r *session.Reply) bool {
	if r.Listed {
		return o.mergeRun(r)
	}
	at := -1
	switch r.Status {
	case tlog.StatusRecvOK:
		at = o.recv
	case tlog.StatusFlushOK:
		at = o.flush
	}
	if at < 0 {
		return false
	}
	o.queue[at].reply = *r
	return true
}

// mergeRun lengthens the last answer if r goes on where it ends. Only the last,
// so that the order of version-1 answers is that in which they were given.
func (o *outbox) mergeRun(r *session.Reply) bool {
	if len(o.queue) == 0 {
		return false
	}
	last := &o.queue[len(o.queue)-1]
	if last.welcome != nil || !last.reply.Listed || last.reply.Status != r.Status || last.reply.To+1 != r.From || last.reply.Then > last.reply.To {
		return false
	}
	last.reply.To, last.reply.Then = r.To, r.Then
	return true
}

// take waits for answers and hands them over, in exchange for the slice of
// those taken before. done: these were the last.
func (o *outbox) take(spent []answer) (queue []answer, done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) == 0 && !o.ended && !o.aborted {
		o.more.Wait()
	}
	if o.aborted {
		return nil, true
	}
	clear(spent)
	if cap(spent) > 64 {
		spent = nil // an idle connection costs little
	}
	queue, o.queue = o.queue, spent[:0]
	o.recv, o.flush = -1, -1
	o.turn.Signal()
	return queue, o.ended
}

// pause stops and resumes await.
func (o *outbox) pause(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paused = on
	o.turn.Signal()
}

// await returns when the next message may be read; false when there is no point.
func (o *outbox) await() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.paused || len(o.queue) >= outboxLimit) && !o.ended && !o.aborted {
		o.turn.Wait()
	}
	return !o.ended && !o.aborted
}

// over reports that no more is put.
func (o *outbox) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended || o.aborted
}

// end lets what is queued be the last.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.more.Signal()
	o.turn.Signal()
}

// abort drops what is queued.
func (o *outbox) abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.aborted = true
	o.queue = nil
	o.more.Signal()
	o.turn.Signal()
}

// Pieces in which version-1 answers are made, so that a long run of them is
// not one buffer.
const (
	listLength   = 4096     // sequences of one response; readers may have lower limits than 65,536
	writePortion = 64 << 10 // bytes
)

// encode appends a's messages to dst; flush is called whenever dst is long, and
// returns it empty.
func (a *answer) encode(dst []byte, v schema.Version, epoch tlog.Epoch, flush func([]byte) ([]byte, error)) ([]byte, error) {
	r := &a.reply
	switch {
	case a.welcome != nil:
		return schema.AppendWelcome(dst, a.welcome), nil
	case !r.Listed && v >= schema.Version2:
		return schema.AppendResponse(dst, v, &schema.Response{
			Status: r.Status, UpTo: r.UpTo, Chain: r.Chain, Epoch: epoch, Expected: r.Expected, Message: r.Message,
		}), nil
	case !r.Listed:
		return schema.AppendResponse(dst, v, &schema.Response{Status: r.Status}), nil
	}
	most := uint64(listLength)
	if r.Status != tlog.StatusFlushOK {
		most = 1 // the first sequence is all that such a client reads
	}
	var err error
	for from := r.From; ; from += most {
		n := min(most, r.To-from+1)
		list := make([]uint64, 0, n+1)
		for i := range n {
			list = append(list, from+i)
		}
		last := r.To-from < most
		if last && r.Then > r.To {
			list = append(list, r.Then)
		}
		dst = schema.AppendResponse(dst, v, &schema.Response{Status: r.Status, Sequences: list})
		if len(dst) >= writePortion {
			if dst, err = flush(dst); err != nil {
				return dst, err
			}
		}
		if last {
			return dst, nil
		}
	}
}

// passed passes the failpoints of answers that were written.
func passed(queue []answer) {
	for i := range queue {
		r := &queue[i].reply
		failpoint.If(queue[i].welcome != nil && queue[i].welcome.Status == tlog.HandshakeOK, "answer.welcome")
		failpoint.If(r.Status == tlog.StatusRecvOK, "answer.recv")
		failpoint.If(r.Status == tlog.StatusFlushOK, "answer.flush")
	}
}
