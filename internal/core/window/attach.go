package window

import (
	"fmt"
	"slices"
	"time"

	"tlog"
)

func (w *Window) onStart(acts []Action) []Action {
	if w.phase != phaseNew {
		return acts
	}
	return w.dial(acts)
}

// dial begins the next attempt. Every server is tried once without a delay.
func (w *Window) dial(acts []Action) []Action {
	var delay time.Duration
	if n := w.failures - w.cfg.Servers; n > 0 {
		delay = w.cfg.MaxBackoff
		if n <= 16 {
			delay = min(delay, firstBackoff<<(n-1))
		}
	}
	w.attempt++
	w.phase = phaseDialing
	return append(acts, Action{Kind: Dial, Attempt: w.attempt, Server: w.server, Delay: delay})
}

// Hello is what the present attempt says in its handshake.
func (w *Window) Hello() Hello {
	h := Hello{
		Vdisk: w.cfg.Vdisk, DiskSize: w.cfg.DiskSize, BlockSize: w.cfg.BlockSize,
		Client: w.cfg.ID, Generation: w.cfg.Generation,
		LastFlushed: w.flushed, Hashes: w.cfg.Hashes,
	}
	if w.started {
		// The records in the window are hashed already, and a client that lost its
		// connection does not take the vdisk back from the one that took it.
		h.Hashes = []tlog.HashAlgorithm{w.welcome.Hash}
		return h
	}
	h.Takeover, h.Adopt = w.cfg.Takeover, w.cfg.Adopt
	return h
}

func (w *Window) onWelcome(e *Event, acts []Action) []Action {
	if e.Attempt != w.attempt || w.phase != phaseDialing {
		return acts
	}
	m := &e.Welcome
	if m.Status != tlog.HandshakeOK {
		return w.onDenial(m, acts)
	}
	if err := w.checkSession(m); err != nil {
		return w.disconnect(err, true, acts)
	}
	if err := w.checkHistory(m); err != nil {
		return w.fail(err, acts)
	}
	if !w.started {
		w.started = true
		w.restart(m.LastFlushed)
	}
	w.lastTS = max(w.lastTS, m.LastTimestamp)
	acts = w.advance(m.LastFlushed, acts)
	w.attach(m)
	return append(acts, Action{Kind: Attached, Attempt: w.attempt})
}

// attach starts the new connection's bookkeeping: everything behind the durable
// prefix is to be sent on it.
func (w *Window) attach(m *Welcome) {
	w.phase, w.welcome = phaseAttached, *m
	w.cfg.Generation = m.Generation
	w.sent, w.received, w.cumSent = w.flushed.Sequence, w.flushed.Sequence, w.cumOK
	w.creditRecs, w.creditByte = uint64(m.CreditRecords), m.CreditBytes
	w.forced, w.forcedOK, w.syncsSent = 0, 0, 0
	w.stalls, w.probing = 0, false
	w.byeSent, w.busy = false, false
	w.idle = false // a Pull follows Attached in any case
	if w.cfg.DiskSize == 0 {
		w.cfg.DiskSize = m.DiskSize
	}
}

// checkSession finds what a right server would not say; another one may be right.
func (w *Window) checkSession(m *Welcome) error {
	switch {
	case m.Generation <= w.cfg.Generation:
		return tlog.Protocolf("window: welcome: generation %d does not follow %d", m.Generation, w.cfg.Generation)
	case m.Epoch < w.epoch:
		return tlog.Protocolf("window: welcome: epoch %d is older than %d: a server that has lost the vdisk", m.Epoch, w.epoch)
	case !slices.Contains(w.Hello().Hashes, m.Hash):
		return tlog.Protocolf("window: welcome: record hash %d was not offered", m.Hash)
	}
	return nil
}

// checkHistory compares the server's history with the window's.
func (w *Window) checkHistory(m *Welcome) error {
	p := m.LastFlushed
	switch {
	case w.cfg.DiskSize != 0 && m.DiskSize != 0 && w.cfg.DiskSize != m.DiskSize:
		return tlog.Protocolf("vdisk %s has %d bytes, not %d: give that size: %w", w.cfg.Vdisk, m.DiskSize, w.cfg.DiskSize, ErrRefused)
	case p.Sequence < w.flushed.Sequence:
		return w.behind(fmt.Sprintf("the server's log ends at %d", p.Sequence))
	case p.Sequence == 0 && p.Chain != tlog.ChainStart(w.cfg.Vdisk):
		return w.diverged("its chain does not start as that of this vdisk")
	case !w.started && p.Sequence > w.flushed.Sequence && !w.cfg.Adopt:
		return w.diverged(fmt.Sprintf("it goes on to sequence %d", p.Sequence))
	case !w.started && p.Sequence > w.flushed.Sequence:
		return nil // the caller checks it while catching up
	case p.Sequence > w.maxSent:
		return w.diverged(fmt.Sprintf("it goes on to sequence %d, and this client sent %d", p.Sequence, w.maxSent))
	case p.Chain != w.chainAt(p.Sequence):
		return w.diverged(fmt.Sprintf("its chain value at sequence %d differs", p.Sequence))
	}
	return nil
}

func (w *Window) behind(what string) error {
	return tlog.Corruptf("vdisk %s: %w: flushed up to sequence %d, and %s; nothing was changed: bring back the shard servers that hold the rest (tlogctl stores check names who is missing), and keep the base image until then",
		w.cfg.Vdisk, ErrLogBehind, w.flushed.Sequence, what)
}

func (w *Window) diverged(what string) error {
	return tlog.Corruptf("vdisk %s: %w: at sequence %d, %s; nothing was changed: this is another copy of the disk, or another pool; find out which copy is the right one, and to go on with what the log holds move this base image away, and the marker beside it",
		w.cfg.Vdisk, ErrDiverged, w.flushed.Sequence, what)
}

// onDenial handles a handshake that was answered with another status than OK.
func (w *Window) onDenial(m *Welcome, acts []Action) []Action {
	said := m.Status.String()
	if m.Message != "" {
		said += ": " + m.Message
	}
	if !m.Status.Permanent() || m.Status >= 0 {
		return w.disconnect(tlog.Unavailablef("window: server: %s", said), true, acts)
	}
	var err error
	switch m.Status {
	case tlog.HandshakeFenced:
		err = tlog.Fatalf("vdisk %s: %w (%s); nothing is written here any more: stop this client, or start it with --takeover if it, and not the other one, is to go on", w.cfg.Vdisk, ErrFenced, said)
	case tlog.HandshakeLogBehind:
		err = w.behind(said)
	case tlog.HandshakeDiverged:
		err = w.diverged(said)
	case tlog.HandshakeDenied:
		err = tlog.Fatalf("vdisk %s: %w (%s)", w.cfg.Vdisk, ErrDenied, said)
	default:
		err = tlog.Protocolf("vdisk %s: %w: %s: correct the settings", w.cfg.Vdisk, ErrRefused, said)
	}
	return w.fail(err, acts)
}

// onLost ends an attempt and begins the next. A server that was attached, and
// did nothing wrong, is tried again before the others: it still owns the log.
func (w *Window) onLost(e *Event, acts []Action) []Action {
	if e.Attempt != w.attempt {
		return acts
	}
	switch w.phase {
	case phaseDialing:
		w.cause, w.server = e.Err, (w.server+1)%w.cfg.Servers
	case phaseAttached:
		w.cause = e.Err
	case phaseBroken:
	default:
		return acts
	}
	w.failures++
	w.busy, w.writing, w.byeSent = false, 0, false
	acts = w.free(acts)
	if w.closing && w.flushed.Sequence == w.head.Sequence {
		return w.done(acts)
	}
	return w.dial(acts)
}

// onOverdue leaves a server that is silent: it, or the way to it, is dead, and
// it would not answer a handshake either.
func (w *Window) onOverdue(e *Event, acts []Action) []Action {
	if e.Attempt != w.attempt || w.phase != phaseAttached || !w.Expecting() && !w.busy {
		return acts
	}
	return w.disconnect(tlog.Unavailablef("window: the server does not answer any more"), true, acts)
}

// onStalled leaves a server that makes nothing durable, when there are others
// and it was waited for long enough. Else it asks again, which a server that is
// alive answers at once.
func (w *Window) onStalled(e *Event, acts []Action) []Action {
	if e.Attempt != w.attempt || !w.Flushing() {
		return acts
	}
	w.stalls++
	if w.stalls >= w.patience && w.cfg.Servers > 1 {
		w.patience = min(2*w.patience, maxPatience)
		return w.disconnect(tlog.Unavailablef("window: nothing becomes durable at the server, looking for another"), true, acts)
	}
	if w.forcedOK == w.forced {
		w.forcedOK, w.probing = w.forced-1, true
	}
	return w.wake(acts)
}

// disconnect ends the present attempt for a reason of the window's own.
func (w *Window) disconnect(err error, next bool, acts []Action) []Action {
	w.phase, w.cause = phaseBroken, err
	if next {
		w.server = (w.server + 1) % w.cfg.Servers
	}
	return append(acts, Action{Kind: Disconnect, Attempt: w.attempt, Err: err})
}

// fail ends the window with everything that is not resolved.
func (w *Window) fail(err error, acts []Action) []Action {
	if w.phase == phaseFailed || w.phase == phaseDone {
		return acts
	}
	w.phase, w.err = phaseFailed, err
	w.waiters, w.syncs, w.syncsSent = nil, nil, 0
	return append(acts, Action{Kind: Fail, Attempt: w.attempt, Err: err})
}

// onClose lets everything become durable, then says bye.
func (w *Window) onClose(acts []Action) []Action {
	if w.closing || w.phase == phaseFailed || w.phase == phaseDone {
		return acts
	}
	w.closing = true
	if w.flushed.Sequence == w.head.Sequence && w.phase != phaseAttached {
		return w.done(acts)
	}
	return w.wake(acts)
}

// done ends the window with everything resolved but slave syncs, which fail.
func (w *Window) done(acts []Action) []Action {
	w.phase = phaseDone
	w.syncs, w.syncsSent = nil, 0
	return append(acts, Action{Kind: Done, Attempt: w.attempt})
}
