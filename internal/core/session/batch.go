package session

import (
	"fmt"

	"tlog"
)

// batch takes a version-2 batch: known records are compared, new ones must
// follow without a gap, and the chain value must be ours.
func (m *Machine) batch(e Batch) {
	if !m.from(e.Conn) || m.attached.Version1 || m.stopping || m.bye || len(e.Records) == 0 {
		m.do(Drop{e.Payload})
		return
	}
	first, last := e.Records[0].Sequence, e.Records[len(e.Records)-1].Sequence
	if first > m.head.Last+1 {
		m.refuseBatch(e, fmt.Sprintf("gap: record %d came, %d is expected", first, m.head.Last+1))
		return
	}
	fresh, msg := m.known(e.Records, e.Chain)
	if msg == "" && len(fresh) > 0 {
		msg = m.check(fresh, e.Now)
	}
	if msg != "" {
		m.refuseBatch(e, msg)
		return
	}
	if len(fresh) == 0 {
		m.do(Drop{e.Payload})
		m.again(last)
		return
	}
	chain := m.chain(fresh)
	if chain != e.Chain {
		m.past.drop(len(fresh))
		m.refuseBatch(e, fmt.Sprintf("the chain value after record %d is not what its records give", last))
		return
	}
	m.accept(Append{Records: fresh, Chain: chain, Whole: len(fresh) == len(e.Records), Payload: e.Payload})
	m.do(Reply{Conn: e.Conn, Status: tlog.StatusRecvOK, UpTo: last})
	m.throttle()
}

// known compares the records that were received before and returns the rest.
// What is durable and forgotten was proved by the handshake's chain value, or
// acknowledged to this very client.
func (m *Machine) known(rs []tlog.Record, chain tlog.Hash) (fresh []tlog.Record, problem string) {
	for i := range rs {
		r := &rs[i]
		if r.Sequence > m.head.Last {
			return rs[i:], ""
		}
		k := m.past.at(r.Sequence)
		if k != nil && tlog.ChainNext(m.past.chainAt(r.Sequence-1), r) != k.chain {
			return nil, fmt.Sprintf("record %d differs from the one received before: the histories differ", r.Sequence)
		}
	}
	if end := rs[len(rs)-1].Sequence; end >= m.past.start && chain != m.past.chainAt(end) {
		return nil, fmt.Sprintf("the chain value at record %d differs from the one received before", end)
	}
	return nil, ""
}

// check looks at what decides alone whether new records may enter the log.
func (m *Machine) check(rs []tlog.Record, now uint64) string {
	before := m.head.Timestamp
	for i := range rs {
		r := &rs[i]
		switch {
		case r.Timestamp < before:
			return fmt.Sprintf("record %d: its time is before that of the record before it", r.Sequence)
		case r.Timestamp > now && r.Timestamp-now > m.limits.Ahead:
			return fmt.Sprintf("record %d: its time is too far ahead of the server's clock; set the client's clock", r.Sequence)
		case r.End() > m.size():
			return fmt.Sprintf("record %d: it ends at byte %d of a disk of %d", r.Sequence, r.End(), m.size())
		}
		before = r.Timestamp
	}
	return ""
}

// size is the first byte behind the disk.
func (m *Machine) size() uint64 {
	for _, s := range []uint64{m.disk.Size, m.attached.DiskSize} {
		if s != 0 {
			return s
		}
	}
	return 1<<63 - 1
}

// chain remembers records and gives the chain value after them.
func (m *Machine) chain(rs []tlog.Record) tlog.Hash {
	c := m.head.Chain
	for i := range rs {
		c = tlog.ChainNext(c, &rs[i])
		m.past.add(markOf(&rs[i], c))
	}
	return c
}

// accept hands records to the log.
func (m *Machine) accept(a Append) {
	last := &a.Records[len(a.Records)-1]
	m.head.Last, m.head.Chain, m.head.Timestamp = last.Sequence, a.Chain, last.Timestamp
	m.do(a)
	if m.want > m.forced && m.want <= m.head.Last {
		m.force()
	}
}

// again acknowledges records that were received before.
func (m *Machine) again(last tlog.Sequence) {
	m.do(Reply{Conn: m.attached.Conn, Status: tlog.StatusRecvOK, UpTo: m.head.Last})
	if last <= m.done {
		m.flushOK()
	}
}

func (m *Machine) refuseBatch(e Batch, msg string) {
	m.do(Drop{e.Payload})
	m.fail(msg)
}

// fail tells a version-2 client which record is expected and closes.
func (m *Machine) fail(msg string) {
	m.do(Reply{Conn: m.attached.Conn, Status: tlog.StatusRecvFailed, Expected: m.head.Last + 1, Message: msg})
	m.drop(msg)
}

// throttle stops reading while too much is received and not durable, so that
// what is remembered stays bounded whatever the client does.
func (m *Machine) throttle() {
	if m.paused || int(m.head.Last-m.done) < m.limits.Unflushed {
		return
	}
	m.paused = true
	m.force()
	m.do(Pause{m.attached.Conn})
}
