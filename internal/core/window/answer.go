package window

import "tlog"

// onAnswer handles a response. What a right server would not say ends the
// connection; the next handshake shows whether the histories still agree.
func (w *Window) onAnswer(e *Event, acts []Action) []Action {
	if e.Attempt != w.attempt || w.phase != phaseAttached {
		return acts
	}
	m := &e.Response
	if m.CreditRecords != 0 {
		w.creditRecs = uint64(m.CreditRecords)
	}
	if m.CreditBytes != 0 {
		w.creditByte = m.CreditBytes
	}
	switch m.Status {
	case tlog.StatusRecvOK:
		return w.onRecvOK(m, acts)
	case tlog.StatusFlushOK:
		return w.onFlushOK(m, acts)
	case tlog.StatusForceFlushReceived:
		return w.onForceFlushReceived(m, acts)
	case tlog.StatusWaitSlaveSyncReceived:
		return w.onSynced(acts)
	case tlog.StatusByeOK:
		return w.onByeOK(acts)
	case tlog.StatusRecvFailed:
		return w.onRecvFailed(m, acts)
	case tlog.StatusFlushFailed:
		return w.disconnect(tlog.Transientf("window: server: flush failed: %s", m.Message), true, acts)
	}
	return w.violation(acts, "unknown status %d", int8(m.Status))
}

// violation ends the connection for an answer that no right server gives.
func (w *Window) violation(acts []Action, format string, args ...any) []Action {
	return w.disconnect(tlog.Protocolf("window: answer: "+format, args...), true, acts)
}

func (w *Window) onRecvOK(m *Response, acts []Action) []Action {
	if m.Epoch != 0 && w.outdated(m.Epoch) {
		return w.violation(acts, "RecvOK of epoch %d after %d: a server that has lost the vdisk", m.Epoch, w.newest())
	}
	if m.UpTo.Sequence > w.sent {
		return w.violation(acts, "RecvOK up to %d, sent up to %d", m.UpTo.Sequence, w.sent)
	}
	w.confirm(m.Epoch)
	w.received = max(w.received, m.UpTo.Sequence)
	return w.wake(acts)
}

// newest is the highest epoch that counts on this connection: that of its
// handshake, or one that was confirmed.
func (w *Window) newest() tlog.Epoch { return max(w.epoch, w.welcome.Epoch) }

func (w *Window) outdated(e tlog.Epoch) bool { return e < w.newest() }

// confirm remembers an epoch that a handshake and an answer agree on. What only
// one message says may be a flipped bit, and would have every right server
// refused from then on.
func (w *Window) confirm(e tlog.Epoch) {
	if e == w.welcome.Epoch {
		w.epoch = max(w.epoch, e)
	}
}

func (w *Window) onFlushOK(m *Response, acts []Action) []Action {
	p := m.UpTo
	switch {
	case w.outdated(m.Epoch):
		return w.violation(acts, "FlushOK of epoch %d after %d: a server that has lost the vdisk", m.Epoch, w.newest())
	case p.Sequence > w.sent:
		return w.violation(acts, "FlushOK up to %d, sent up to %d", p.Sequence, w.sent)
	case p.Sequence <= w.flushed.Sequence:
		return w.wake(acts)
	case p.Chain != w.chainAt(p.Sequence):
		return w.violation(acts, "FlushOK up to %d with another chain value", p.Sequence)
	}
	w.confirm(m.Epoch)
	w.received = max(w.received, p.Sequence)
	return w.wake(w.advance(p, acts))
}

func (w *Window) onForceFlushReceived(m *Response, acts []Action) []Action {
	if m.UpTo.Sequence > w.forced {
		return w.violation(acts, "ForceFlushReceived at %d, asked for %d", m.UpTo.Sequence, w.forced)
	}
	w.forcedOK = max(w.forcedOK, m.UpTo.Sequence)
	return w.wake(acts)
}

func (w *Window) onSynced(acts []Action) []Action {
	if w.syncsSent == 0 {
		return w.violation(acts, "WaitSlaveSyncReceived that nobody asked for")
	}
	acts = append(acts, Action{Kind: Resolve, Ticket: w.syncs[0]})
	w.syncs = w.syncs[1:]
	w.syncsSent--
	return w.wake(acts)
}

// onByeOK ends the window, provided that FlushOK came for everything before.
func (w *Window) onByeOK(acts []Action) []Action {
	if !w.byeSent {
		return w.violation(acts, "ByeOK before the bye")
	}
	if w.flushed.Sequence != w.head.Sequence {
		return w.violation(acts, "ByeOK with FlushOK up to %d of %d", w.flushed.Sequence, w.head.Sequence)
	}
	return w.done(acts)
}

// onRecvFailed sends the refused records again on a new connection, a few times.
func (w *Window) onRecvFailed(m *Response, acts []Action) []Action {
	w.refusals++
	if w.refusals >= maxRefusals {
		err := tlog.Protocolf("vdisk %s, expected sequence %d: %s: refused %d times: see the server's log: %w",
			w.cfg.Vdisk, m.Expected, m.Message, w.refusals, ErrRefused)
		return w.fail(err, acts)
	}
	return w.disconnect(tlog.Protocolf("window: server: records refused, expected sequence %d: %s", m.Expected, m.Message), true, acts)
}
