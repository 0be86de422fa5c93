package session

import (
	"fmt"

	"tlog"
)

// Refusal is why a client may not attach.
type Refusal struct {
	Status  tlog.HandshakeStatus
	Message string
}

// Judge decides on an attach to a log that ends at head (the zero Head: there
// is none yet), before anything is created or written. other: another client
// is connected.
func Judge(disk Disk, head Head, a *Attach, other bool) *Refusal {
	if a.DiskSize != 0 && disk.Size != 0 && a.DiskSize != disk.Size {
		return refusal(tlog.HandshakeInvalidRequest,
			"the log is of a disk of %d bytes, the client's has %d; start it with the log's size", disk.Size, a.DiskSize)
	}
	if a.Version1 {
		if other {
			return refusal(tlog.HandshakeDenied, "a version-2 client is attached")
		}
		return nil
	}
	if r := judgeClient(head, a, other); r != nil {
		return r
	}
	switch {
	case a.LastFlushed > head.Last:
		return refusal(tlog.HandshakeLogBehind,
			"the log ends at record %d, the client saw %d acknowledged: records were lost, or this is another pool", head.Last, a.LastFlushed)
	case a.LastFlushed == head.Last && head.Last > 0 && a.Chain != head.Chain:
		return refusal(tlog.HandshakeDiverged, "record %d of the log is not the client's: they have different histories", head.Last)
	}
	return nil
}

func judgeClient(head Head, a *Attach, other bool) *Refusal {
	switch {
	case a.Generation > head.Generation:
		return refusal(tlog.HandshakeLogBehind,
			"the log's generation is %d, the client was given %d: the log was rolled back, or this is another pool", head.Generation, a.Generation)
	case a.Client == head.Client, a.Takeover:
		return nil
	case head.Client.IsZero() && a.Generation == 0 && !other:
		return nil
	case a.Generation > 0 && a.Generation < head.Generation:
		return refusal(tlog.HandshakeFenced, "another client has the vdisk since generation %d, this one had generation %d", head.Generation, a.Generation)
	}
	return refusal(tlog.HandshakeDenied, "the vdisk is another client's, in generation %d; stop that one first, or take the vdisk from it with --takeover", head.Generation)
}

func refusal(s tlog.HandshakeStatus, format string, a ...any) *Refusal {
	return &Refusal{s, fmt.Sprintf(format, a...)}
}

func (m *Machine) attach(a Attach) {
	switch {
	case m.dead:
		m.refuse(a.Conn, refusal(tlog.HandshakeUnavailable, "the log is being taken over again; try again"))
	case m.stopping:
		m.refuse(a.Conn, refusal(tlog.HandshakeUnavailable, "the server is shutting down"))
	case m.pending == nil:
		m.admit(a)
	case len(m.waiting) >= m.limits.Waiting:
		m.refuse(a.Conn, refusal(tlog.HandshakeUnavailable, "too many connections wait for this vdisk"))
	default:
		m.waiting = append(m.waiting, a)
	}
}

// admit judges and, if the client may, ends the present connection and asks
// for the barrier of the new generation.
func (m *Machine) admit(a Attach) {
	if r := Judge(m.disk, m.head, &a, m.anotherThan(&a)); r != nil {
		if !a.proved && r.Status.Permanent() && r.Status != tlog.HandshakeInvalidRequest {
			m.do(Recheck{a})
			return
		}
		m.refuse(a.Conn, r)
		return
	}
	m.supersede(&a)
	h := m.head
	h.Generation++
	h.Client, h.Hash, h.Version1 = a.Client, a.Hash, a.Version1
	h.Base, h.First = 0, 0
	if a.Version1 {
		h.Base, h.First = m.numbering(&a)
	}
	m.pending = &admission{Attach: a, head: h}
	m.do(Barrier{h})
}

// rechecked goes on with an attach that would be refused. A stored generation
// that this machine did not give is another owner's: every attach makes one.
func (m *Machine) rechecked(e Rechecked) {
	known := m.head.Generation
	if m.pending != nil {
		known = m.pending.head.Generation
	}
	switch {
	case e.Problem != "":
		m.refuse(e.Attach.Conn, refusal(tlog.HandshakeUnavailable, "%s", e.Problem))
	case e.Head.Generation > known && !m.dead:
		r := refusal(tlog.HandshakeMoved, "another server has taken the vdisk over; try again, another server first")
		m.refuse(e.Attach.Conn, r)
		m.failed(Failed{r.Status, r.Message})
	default:
		e.Attach.proved = true
		m.attach(e.Attach)
	}
}

// anotherThan reports whether the attached client is one that a may not
// simply replace: version 1 replaces version 1, a version-2 client itself.
func (m *Machine) anotherThan(a *Attach) bool {
	if m.attached.Conn == 0 {
		return false
	}
	if a.Version1 {
		return !m.attached.Version1
	}
	return m.attached.Version1 || m.attached.Client != a.Client
}

// supersede ends the attached connection in favour of a.
func (m *Machine) supersede(a *Attach) {
	c := m.attached.Conn
	if c == 0 {
		return
	}
	if !m.attached.Version1 && m.attached.Client != a.Client {
		// Not RecvFailed, which says that its records are bad: it gives up after two
		// of those, even if the one that takes the vdisk never gets it.
		m.do(Reply{Conn: c, Status: tlog.StatusFlushFailed, Message: "another client takes the vdisk"})
	}
	m.drop("another connection attached")
}

// numbering is the version-1 numbering of a's session: the present one if a
// continues it and everything it may send again can be compared, else a new
// one behind the log's end. Records that such a client repeats in a new
// numbering are logged twice, in their order, which ends in the same disk;
// acknowledging them unseen could lose those of a client that started over.
func (m *Machine) numbering(a *Attach) (tlog.Sequence, uint64) {
	if m.head.Version1 && !a.Reset && a.First >= m.head.First {
		s, ok := m.toLog(a.First)
		if ok && s <= m.head.Last+1 && s > m.past.start {
			return m.head.Base, m.head.First
		}
	}
	if m.head.Version1 && !a.Reset {
		m.do(Note{a.Conn, fmt.Sprintf("version-1 client starts at %d, where the log expected %d: a new numbering begins", a.First, m.toClient(m.head.Last+1))})
	}
	return m.head.Last + 1, a.First
}

func (m *Machine) refuse(c Conn, r *Refusal) {
	m.do(Welcome{Conn: c, Status: r.Status, Message: r.Message})
	m.do(Close{c, r.Message})
}

func (m *Machine) barrierDone() {
	if m.pending == nil {
		return
	}
	m.pending.durable = true
	m.settle()
}

// settle completes the pending attach when its barrier, and with it everything
// before, is durable; then it is the turn of the next one waiting.
func (m *Machine) settle() {
	for p := m.pending; p != nil && p.durable && m.done == m.head.Last; p = m.pending {
		m.pending = nil
		h := p.head
		h.Last, h.Chain, h.Timestamp = m.head.Last, m.head.Chain, m.head.Timestamp
		m.head = h
		if !h.Version1 {
			m.past.forget(m.done)
		}
		if !p.gone {
			m.welcome(p.Attach)
		}
		if len(m.waiting) > 0 {
			next := m.waiting[0]
			m.waiting = m.waiting[1:]
			m.admit(next)
		}
	}
}

func (m *Machine) welcome(a Attach) {
	m.attached = a
	m.want = m.done
	if a.Version1 {
		m.do(Note{a.Conn, "version-1 client: it is not checked that its history is the log's"})
	}
	m.do(Welcome{Conn: a.Conn, Status: tlog.HandshakeOK, Head: m.head, Disk: m.disk})
}

func (m *Machine) giveUp(e GiveUp) {
	if m.pending != nil && m.pending.Conn == e.Conn && !m.pending.gone {
		m.pending.gone = true
		m.refuse(e.Conn, &Refusal{tlog.HandshakeUnavailable, e.Message})
	} else if m.unqueue(e.Conn) {
		m.refuse(e.Conn, &Refusal{tlog.HandshakeUnavailable, e.Message})
	}
}

// unqueue takes c out of the waiting list.
func (m *Machine) unqueue(c Conn) bool {
	for i := range m.waiting {
		if m.waiting[i].Conn == c {
			m.waiting = append(m.waiting[:i], m.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (m *Machine) detached(c Conn) {
	switch {
	case m.from(c):
		m.forgetConn()
	case m.pending != nil && m.pending.Conn == c:
		m.pending.gone = true
	default:
		m.unqueue(c)
	}
}

// drop closes the attached connection.
func (m *Machine) drop(reason string) {
	c := m.attached.Conn
	m.forgetConn()
	m.do(Close{c, reason})
}

// forgetConn clears what belongs to the attached connection.
func (m *Machine) forgetConn() {
	m.closeGap()
	m.attached = Attach{}
	m.paused, m.bye = false, false
}
