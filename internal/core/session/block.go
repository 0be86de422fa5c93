package session

import (
	"fmt"
	"math"
	"slices"

	"tlog"
)

// toLog is the log sequence of a version-1 sequence; false if the numbering
// has no such.
func (m *Machine) toLog(v uint64) (tlog.Sequence, bool) {
	if v < m.head.First {
		return 0, false
	}
	d := v - m.head.First
	if d > math.MaxUint64-uint64(m.head.Base) {
		return 0, false
	}
	return m.head.Base + tlog.Sequence(d), true
}

// toClient is the version-1 sequence of log sequence s ≥ Base.
func (m *Machine) toClient(s tlog.Sequence) uint64 { return m.head.First + uint64(s-m.head.Base) }

// block takes a version-1 block.
func (m *Machine) block(e Block) {
	if !m.from(e.Conn) || !m.attached.Version1 || m.stopping {
		m.do(Drop{e.Payload})
		return
	}
	s, ok := m.toLog(e.Sequence)
	if !ok || e.Sequence < m.attached.First {
		m.refuseBlock(e, "its sequence is before the first one of the session")
		return
	}
	r, msg := m.record(&e, s)
	switch {
	case msg != "":
		m.refuseBlock(e, msg)
	case s <= m.head.Last:
		m.blockAgain(e, &r)
	case s > m.head.Last+1:
		m.holdEarly(e, s)
	default:
		m.takeBlock(e, r)
		m.takeEarly()
		m.throttle()
	}
}

// Next reports whether a block of the attached version-1 client with that
// sequence is neither early nor known: its data is not kept by the machine.
func (m *Machine) Next(c Conn, sequence uint64) bool {
	s, ok := m.toLog(sequence)
	return ok && m.from(c) && s == m.head.Last+1
}

// record is the log's record of a block, without its final timestamp.
func (m *Machine) record(e *Block, s tlog.Sequence) (tlog.Record, string) {
	bs := uint64(m.disk.BlockSize)
	if e.Index < 0 || uint64(e.Index) > (math.MaxInt64-bs)/bs {
		return tlog.Record{}, fmt.Sprintf("index %d is not on a disk", e.Index)
	}
	r := tlog.Record{Sequence: s, Offset: uint64(e.Index) * bs, Operation: e.Operation, Hash: e.Hash}
	switch {
	case e.Operation == tlog.OpTrim:
		r.Size = uint32(bs)
		if m.size() > r.Offset && m.size()-r.Offset < bs { // the last block of a disk may be short
			r.Size = uint32(m.size() - r.Offset)
		}
	case e.Operation == tlog.OpWrite && uint64(len(e.Data)) <= bs:
		r.Size, r.Data = uint32(len(e.Data)), e.Data
	case e.Operation == tlog.OpWrite:
		return r, fmt.Sprintf("%d bytes of data in a block of %d", len(e.Data), bs)
	}
	if err := r.Check(); err != nil {
		return r, err.Error()
	}
	if r.End() > m.size() {
		return r, fmt.Sprintf("it ends at byte %d of a disk of %d", r.End(), m.size())
	}
	return r, ""
}

// blockAgain answers a block that was received before. One that is no longer
// remembered came in this session, from this client.
func (m *Machine) blockAgain(e Block, r *tlog.Record) {
	m.do(Drop{e.Payload})
	if k := m.past.at(r.Sequence); k != nil && !k.same(r) {
		m.drop(fmt.Sprintf("block %d differs from the one received before", e.Sequence))
		return
	}
	m.do(Reply{Conn: e.Conn, Status: tlog.StatusRecvOK, Listed: true, From: e.Sequence, To: e.Sequence})
	if r.Sequence <= m.done {
		m.listFlushed(r.Sequence, r.Sequence)
	}
}

// takeBlock accepts the block that is next.
func (m *Machine) takeBlock(e Block, r tlog.Record) {
	r.Timestamp = m.clamp(e.Timestamp, e.Now)
	rs := []tlog.Record{r}
	chain := m.chain(rs)
	m.accept(Append{Records: rs, Chain: chain, Clamped: r.Timestamp != e.Timestamp, Payload: e.Payload})
	m.do(Reply{Conn: e.Conn, Status: tlog.StatusRecvOK, Listed: true, From: e.Sequence, To: e.Sequence})
}

// clamp makes a version-1 timestamp one that may follow the log's last.
func (m *Machine) clamp(t, now uint64) uint64 {
	if t > now && t-now > m.limits.Ahead {
		t = now
	}
	return max(t, m.head.Timestamp)
}

// holdEarly keeps a block that came before its turn; the first of two with one
// sequence stays, and a different second one is a client that contradicts itself.
func (m *Machine) holdEarly(e Block, s tlog.Sequence) {
	i, held := slices.BinarySearchFunc(m.early, e.Sequence, func(b Block, v uint64) int {
		switch {
		case b.Sequence < v:
			return -1
		case b.Sequence > v:
			return 1
		}
		return 0
	})
	if held {
		m.do(Drop{e.Payload})
		if b := &m.early[i]; b.Hash != e.Hash || b.Index != e.Index || b.Operation != e.Operation {
			m.drop(fmt.Sprintf("block %d differs from the one received before", e.Sequence))
		}
		return
	}
	if uint64(s-m.head.Last-1) > uint64(m.limits.EarlyRecords) || m.earlyBytes+len(e.Data) > m.limits.EarlyBytes {
		m.refuseBlock(e, fmt.Sprintf("gap: block %d came, %d is expected", e.Sequence, m.toClient(m.head.Last+1)))
		return
	}
	if len(m.early) == 0 {
		m.do(Gap{e.Conn, true})
	}
	m.early = slices.Insert(m.early, i, e)
	m.earlyBytes += len(e.Data)
}

// takeEarly accepts held blocks whose turn has come.
func (m *Machine) takeEarly() {
	held := len(m.early)
	for len(m.early) > 0 {
		e := m.early[0]
		s, _ := m.toLog(e.Sequence)
		if s > m.head.Last+1 {
			break
		}
		m.early = m.early[1:]
		m.earlyBytes -= len(e.Data)
		r, _ := m.record(&e, s) // it was checked when it came
		m.takeBlock(e, r)
	}
	if held > 0 && len(m.early) == 0 {
		m.closeGap()
	}
}

// closeGap drops what is held early.
func (m *Machine) closeGap() {
	if m.early == nil {
		return
	}
	for i := range m.early {
		m.do(Drop{m.early[i].Payload})
	}
	m.early, m.earlyBytes = nil, 0
	m.do(Gap{m.attached.Conn, false})
}

func (m *Machine) gapTimeout(e GapTimeout) {
	if !m.from(e.Conn) || len(m.early) == 0 {
		return
	}
	next := m.toClient(m.head.Last + 1)
	m.bad(Bad{Conn: e.Conn, Known: true, Sequence: next, Message: fmt.Sprintf("gap: block %d did not come", next)})
}

func (m *Machine) refuseBlock(e Block, msg string) {
	m.do(Drop{e.Payload})
	m.bad(Bad{Conn: e.Conn, Known: true, Sequence: e.Sequence, Message: fmt.Sprintf("block %d: %s", e.Sequence, msg)})
}

// bad refuses what the attached client sent, in its version's words.
func (m *Machine) bad(e Bad) {
	switch {
	case !m.from(e.Conn):
	case !m.attached.Version1:
		m.fail(e.Message)
	default:
		m.do(Reply{Conn: e.Conn, Status: tlog.StatusRecvFailed, Listed: e.Known, From: e.Sequence, To: e.Sequence})
		m.drop(e.Message)
	}
}

// listFlushed tells a version-1 client that from … to, of its own numbering, are durable. It takes the
// last of the list as its last flushed, so the list ends with the prefix's end.
func (m *Machine) listFlushed(from, to tlog.Sequence) {
	m.do(Reply{
		Conn: m.attached.Conn, Status: tlog.StatusFlushOK, Listed: true,
		From: m.toClient(from), To: m.toClient(to), Then: m.toClient(m.done),
	})
}
