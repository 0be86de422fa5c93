package bench

import (
	"net"
	"sync"
	"time"

	"tlog"
	"tlog/schema"
)

// receipts is how long records wait for RecvOK, which a client does not tell.
type receipts struct {
	mu      sync.Mutex
	on      bool
	waiting []receipt // by sequence
	upTo    tlog.Sequence
	at      time.Time // of upTo
	took    Latencies
}

type receipt struct {
	seq  tlog.Sequence
	sent time.Time
}

// tally starts or ends counting, and gives what was counted.
func (r *receipts) tally(on bool) *Latencies {
	r.mu.Lock()
	defer r.mu.Unlock()
	took := r.took
	r.on, r.took = on, Latencies{}
	return &took
}

// sent is called when a record has its sequence; its answer may have come.
func (r *receipts) sent(seq tlog.Sequence, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		return
	}
	if seq <= r.upTo {
		r.took.Add(r.at.Sub(at))
		return
	}
	r.waiting = append(r.waiting, receipt{seq, at})
	for i := len(r.waiting) - 1; i > 0 && r.waiting[i-1].seq > seq; i-- {
		r.waiting[i-1], r.waiting[i] = r.waiting[i], r.waiting[i-1]
	}
}

func (r *receipts) received(upTo tlog.Sequence) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upTo, r.at = upTo, now
	n := 0
	for ; n < len(r.waiting) && r.waiting[n].seq <= upTo; n++ {
		r.took.Add(now.Sub(r.waiting[n].sent))
	}
	r.waiting = append(r.waiting[:0], r.waiting[n:]...)
}

// heard is a connection whose answers are also read here. It has the methods
// of a TCPConn, so that many buffers are still written with one system call.
type heard struct {
	*net.TCPConn
	to      *receipts
	rest    []byte // of a frame that is not whole
	welcome bool   // has been read
}

// Read reads for the client and listens.
func (h *heard) Read(b []byte) (int, error) {
	n, err := h.TCPConn.Read(b)
	h.rest = append(h.rest, b[:n]...)
	left := h.rest
	for {
		frame, rest, err := schema.SplitFrame(left)
		if err != nil {
			break
		}
		left = rest
		h.hear(frame)
	}
	h.rest = append(h.rest[:0], left...)
	return n, err
}

func (h *heard) hear(frame []byte) {
	if !h.welcome {
		h.welcome = true
		return
	}
	if a, err := schema.DecodeResponse(frame); err == nil && a.Status == tlog.StatusRecvOK {
		h.to.received(a.UpTo)
	}
}
