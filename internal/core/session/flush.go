package session

import "tlog"

func (m *Machine) force() {
	if m.forced < m.head.Last {
		m.forced = m.head.Last
		m.do(Force{})
	}
}

func (m *Machine) forceFlush(e ForceFlush) {
	if !m.from(e.Conn) {
		return
	}
	s, ok := tlog.Sequence(e.Sequence), true
	if m.attached.Version1 {
		s, ok = m.toLog(e.Sequence)
	}
	m.do(Reply{Conn: e.Conn, Status: tlog.StatusForceFlushReceived, UpTo: s})
	switch {
	case !ok: // before or far beyond this numbering: nothing to wait for
	case s <= m.done:
		m.flushOK()
	case s > m.head.Last:
		m.want = max(m.want, s)
	case s > m.forced:
		m.force()
	}
}

// flushOK tells the attached client the present durable prefix again.
func (m *Machine) flushOK() {
	if m.attached.Version1 {
		m.listFlushed(m.done, m.done)
		return
	}
	m.do(Reply{Conn: m.attached.Conn, Status: tlog.StatusFlushOK, UpTo: m.done, Chain: m.doneChain()})
}

// doneChain is the chain value of the durable prefix.
func (m *Machine) doneChain() tlog.Hash {
	if m.done == m.head.Last {
		return m.head.Chain
	}
	return m.past.chainAt(m.done)
}

func (m *Machine) waitSlaveSync(e WaitSlaveSync) {
	if !m.from(e.Conn) {
		return
	}
	m.do(Note{e.Conn, "wait for slave sync: there is no slave, answered at once"})
	m.do(Reply{Conn: e.Conn, Status: tlog.StatusWaitSlaveSyncReceived})
}

func (m *Machine) sayBye(e Bye) {
	if !m.from(e.Conn) || m.bye {
		return
	}
	m.bye = true
	m.force()
	m.farewell()
}

// farewell ends a session that was asked to end, once everything is durable.
func (m *Machine) farewell() {
	if m.attached.Conn == 0 || !m.bye && !m.stopping || m.done < m.head.Last {
		return
	}
	if !m.attached.Version1 {
		m.do(Reply{Conn: m.attached.Conn, Status: tlog.StatusByeOK, UpTo: m.done})
	}
	reason := "bye"
	if m.stopping {
		reason = "the server is shutting down"
	}
	m.drop(reason)
}

func (m *Machine) committed(e Committed) {
	if m.dead || e.Last <= m.done {
		return
	}
	if e.Last > m.head.Last || m.past.chainAt(e.Last) != e.Chain {
		m.failed(Failed{tlog.HandshakeInternal, "the log's records are not the ones it was given"})
		return
	}
	before := m.done
	m.done = e.Last
	m.forced = max(m.forced, e.Last)
	m.tell(before)
	m.trim()
	if m.paused && int(m.head.Last-m.done) < m.limits.Unflushed {
		m.paused = false
		m.do(Resume{m.attached.Conn})
	}
	m.farewell()
	m.settle()
}

// tell acknowledges what became durable after before.
func (m *Machine) tell(before tlog.Sequence) {
	switch {
	case m.attached.Conn == 0:
	case m.attached.Version1:
		m.listFlushed(before+1, m.done)
	default:
		m.flushOK()
	}
}

// trim forgets durable records; of a version-1 numbering a tail stays.
func (m *Machine) trim() {
	if !m.head.Version1 {
		m.past.forget(m.done)
	} else if m.done > keep {
		m.past.forget(m.done - keep)
	}
}

// failed: everyone is told, and the machine is of no further use.
func (m *Machine) failed(e Failed) {
	if m.dead {
		return
	}
	m.dead = true
	if m.attached.Conn != 0 {
		m.do(Reply{Conn: m.attached.Conn, Status: tlog.StatusFlushFailed, Message: e.Message})
		m.drop(e.Message)
	}
	r := &Refusal{e.Status, e.Message}
	if m.pending != nil && !m.pending.gone {
		m.refuse(m.pending.Conn, r)
	}
	for _, a := range m.waiting {
		m.refuse(a.Conn, r)
	}
	m.pending, m.waiting = nil, nil
	m.do(Die{e.Message})
}

// stop accepts nothing more; who is attached is told goodbye when everything
// it was told RecvOK for is durable.
func (m *Machine) stop() {
	if m.stopping || m.dead {
		return
	}
	m.stopping = true
	r := refusal(tlog.HandshakeUnavailable, "the server is shutting down")
	for _, a := range m.waiting {
		m.refuse(a.Conn, r)
	}
	m.waiting = nil
	if m.pending != nil && !m.pending.gone {
		m.pending.gone = true
		m.refuse(m.pending.Conn, r)
	}
	m.closeGap()
	m.force()
	m.farewell()
}
