package window

import "tlog"

// onPull gives the next batch and the commands that follow it; nothing, if
// there is nothing that may or should be sent now: a Wake comes when there is.
func (w *Window) onPull(e *Event, acts []Action) []Action {
	if e.Attempt != w.attempt || w.phase != phaseAttached || w.busy {
		return acts
	}
	had := len(acts)
	if w.worthSending() {
		acts = w.send(acts)
	}
	acts = w.commands(acts)
	w.busy = len(acts) > had
	w.idle = !w.busy
	return acts
}

// onWritten ends the write that the last Pull began.
func (w *Window) onWritten(e *Event, acts []Action) []Action {
	if e.Attempt != w.attempt {
		return acts
	}
	w.busy, w.writing = false, 0
	return w.free(acts)
}

// send takes the next batch: as many records as the credit and the batch's
// limits allow, at least one.
func (w *Window) send(acts []Action) []Action {
	first := w.sent + 1
	start := w.cumSent
	for w.sent < w.head.Sequence && w.sent-first+1 < tlog.Sequence(w.cfg.BatchRecords) && w.creditFor(w.sent+1) {
		cum := w.at(w.sent + 1).cum
		if w.sent >= first && cum-start > uint64(w.cfg.BatchBytes) {
			break
		}
		w.sent, w.cumSent = w.sent+1, cum
	}
	w.writing = first
	w.maxSent = max(w.maxSent, w.sent)
	return append(acts, Action{Kind: Send, First: first, Last: w.sent, Chain: w.at(w.sent).chain})
}

// commands takes what is to be written after the records.
func (w *Window) commands(acts []Action) []Action {
	if t := w.forceTarget(); t > w.forced || w.probing {
		w.forced, w.probing = max(t, w.forced), false
		acts = append(acts, Action{Kind: SendForceFlush, Last: w.forced})
	}
	for ; w.syncsSent < len(w.syncs); w.syncsSent++ {
		acts = append(acts, Action{Kind: SendSlaveSync})
	}
	if w.byeDue() {
		w.byeSent = true
		acts = append(acts, Action{Kind: SendBye})
	}
	return acts
}

// wake asks for a Pull if the last one gave nothing and the next one will.
func (w *Window) wake(acts []Action) []Action {
	if !w.idle || w.phase != phaseAttached {
		return acts
	}
	if w.worthSending() || w.forceTarget() > w.forced || w.probing || w.syncsSent < len(w.syncs) || w.byeDue() {
		w.idle = false
		acts = append(acts, Action{Kind: Wake})
	}
	return acts
}

// byeDue: after the bye nothing follows, so all records go ahead of it.
func (w *Window) byeDue() bool {
	return w.closing && !w.byeSent && w.sent == w.head.Sequence
}

// creditFor reports whether the server's credit covers s on top of what is in
// flight. One record always may be in flight, or a credit of zero, or one below
// the record's size, would stop the stream for ever.
func (w *Window) creditFor(s tlog.Sequence) bool {
	if w.sent == w.flushed.Sequence {
		return true
	}
	return uint64(s-w.flushed.Sequence) <= w.creditRecs && w.at(s).cum-w.cumOK <= w.creditByte
}

// worthSending is Nagle's rule (RFC 896) with RecvOK for the acknowledgement:
// a few small records wait while others are on their way, so that a stream costs
// a system call per Coalesce bytes and a single write is not delayed. Nothing is
// held back while anybody waits.
func (w *Window) worthSending() bool {
	if w.sent >= w.head.Sequence || !w.creditFor(w.sent+1) {
		return false
	}
	if w.received >= w.sent || w.closing {
		return true
	}
	if n := len(w.waiters); n > 0 && w.waiters[n-1].target > w.sent {
		return true
	}
	return w.lastCum-w.cumSent >= uint64(w.cfg.Coalesce) || int(w.head.Sequence-w.sent) >= w.cfg.BatchRecords/4
}

// forceTarget is the sequence the server should flush up to without waiting for
// its own limits: the highest that a caller waits for and that was sent. When
// room or credit runs short, it is also the older half of what is in flight: a
// server that seals in larger pieces than fit would otherwise let the stream
// stop until the pieces are old enough. A server that has sealed those records
// by itself has nothing to do for it.
func (w *Window) forceTarget() tlog.Sequence {
	var t tlog.Sequence
	if n := w.waitersUpTo(w.sent); n > 0 {
		t = w.waiters[n-1].target
	}
	if w.forced <= w.flushed.Sequence && w.short() {
		t = max(t, w.flushed.Sequence+(w.sent-w.flushed.Sequence+1)/2)
	}
	return t
}

// short reports whether half of what may be in flight is, or the next record
// has to wait for what is in flight.
func (w *Window) short() bool {
	records, bytes := uint64(w.sent-w.flushed.Sequence), w.cumSent-w.cumOK
	if records == 0 {
		return false
	}
	return w.starved || w.sent < w.head.Sequence && !w.creditFor(w.sent+1) ||
		2*records >= min(w.creditRecs, uint64(w.cfg.Records)) || 2*bytes >= min(w.creditByte, uint64(w.cfg.Bytes))
}
