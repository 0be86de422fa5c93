package main

import (
	"bytes"
	"fmt"
	"sync"

	"tlog"
	"tlog/internal/check"
	"tlog/schema"
)

// ledger is what was seen of one vdisk, on the wire and by its clients. It
// stands between clients and servers, and believes neither.
type ledger struct {
	vdisk tlog.VdiskID
	size  int

	mu      sync.Mutex
	rec     *check.Recorder
	wire    map[sender]*tlog.Record // the last record that a client sent under a number
	records int                     // sent, resent ones counted again
	flushes int                     // FlushOK seen
	errs    []error
	acked   chan<- struct{} // told of each FlushOK, if somebody listens
}

type sender struct {
	client tlog.UUID
	seq    tlog.Sequence
}

func newLedger(vdisk tlog.VdiskID, size int, acked chan<- struct{}) *ledger {
	return &ledger{vdisk: vdisk, size: size, rec: check.New(vdisk, size), wire: map[sender]*tlog.Record{}, acked: acked}
}

func (l *ledger) fail(format string, a ...any) {
	l.errs = append(l.errs, fmt.Errorf("vdisk %s: "+format, append([]any{l.vdisk}, a...)...))
}

// violations are all that were found so far.
func (l *ledger) violations() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append([]error(nil), l.rec.Violations()...), l.errs...)
}

// session is one connection of a client, as the ledger follows it.
type session struct {
	l        *ledger
	client   tlog.UUID
	epoch    tlog.Epoch
	at       check.Point // the last record that was sent on it
	recv     tlog.Sequence
	attached bool
}

// welcome notes a handshake answer before its client gets it.
func (s *session) welcome(w *schema.Welcome) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	switch w.Status {
	case tlog.HandshakeOK:
		s.epoch, s.at = w.Epoch, check.Point{Sequence: w.LastFlushed, Chain: w.Chain}
		s.recv, s.attached = w.LastFlushed, true
		_ = s.l.rec.Answered(w.Epoch, s.at) // kept by the recorder
	case tlog.HandshakeLogBehind, tlog.HandshakeDiverged:
		s.l.fail("a client was told %v: %s", w.Status, w.Message)
	}
}

// batch notes records before a server gets them.
func (s *session) batch(b *schema.Batch) error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if !s.attached {
		return fmt.Errorf("records before the handshake's answer")
	}
	for i := range b.Records {
		r := &b.Records[i]
		if r.Sequence != s.at.Sequence+1 {
			s.l.fail("client %v sent record %d after %d", s.client, r.Sequence, s.at.Sequence)
			return errStopped
		}
		if err := s.l.rec.Sent(s.at.Chain, r); err != nil {
			return errStopped
		}
		s.at = check.Point{Sequence: r.Sequence, Chain: tlog.ChainNext(s.at.Chain, r)}
		kept := *r
		kept.Data = bytes.Clone(r.Data)
		s.l.wire[sender{s.client, r.Sequence}] = &kept
		s.l.records++
	}
	if b.Chain != s.at.Chain {
		s.l.fail("client %v: the chain value behind record %d is not that of what it sent", s.client, s.at.Sequence)
	}
	return nil
}

// response notes an acknowledgement before its client gets it.
func (s *session) response(r *schema.Response) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	switch r.Status {
	case tlog.StatusRecvOK:
		if r.UpTo > s.at.Sequence || r.UpTo < s.recv {
			s.l.fail("RecvOK of record %d after %d; the client sent up to %d", r.UpTo, s.recv, s.at.Sequence)
		}
		s.recv = r.UpTo
	case tlog.StatusFlushOK:
		if r.UpTo > s.at.Sequence {
			s.l.fail("FlushOK of record %d; the client sent up to %d", r.UpTo, s.at.Sequence)
		}
		_ = s.l.rec.Acknowledged(r.Epoch, check.Point{Sequence: r.UpTo, Chain: r.Chain})
		s.l.flushes++
		select {
		case s.l.acked <- struct{}{}:
		default:
		}
	}
}

// flushed notes that a client was told that everything up to p is durable.
func (l *ledger) flushed(incarnation int, epoch tlog.Epoch, p check.Point) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.rec.Believed(incarnation, epoch, p)
}

// carried compares what a client was asked to write with what it sent.
func (l *ledger) carried(client tlog.UUID, seq tlog.Sequence, want *tlog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.wire[sender{client, seq}]
	if got == nil || got.Operation != want.Operation || got.Offset != want.Offset || got.Size != want.Size || !bytes.Equal(got.Data, want.Data) {
		l.fail("client %v: record %d was flushed, and is not what its caller wrote", client, seq)
	}
}

// durable is the last acknowledgement.
func (l *ledger) durable() check.Point {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec.Durable()
}

func (l *ledger) counts() (records, flushes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records, l.flushes
}
