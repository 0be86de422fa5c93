package collect

import (
	"time"

	"tlog"
)

// item is one element of the shell's queue.
type item struct {
	records, bytes int
	control        bool
	at             time.Duration // when it came
}

// stage of a position in flight.
type stage uint8

const (
	sealing stage = iota
	sealed
	published
	durable
)

// Machine is the state; New makes one.
type Machine struct {
	cfg Config

	items          []item
	forced         int // so many of items are sealed without waiting
	records, bytes int // sums over items

	flight    []stage       // positions first, first+1, …
	first     tlog.Position // lowest that is not committed
	published int           // so many of flight were given to Publish

	armed   bool // Aged is due some time
	closing bool
	ended   bool // Fail or Finish was given
	failed  bool

	actions []Action
}

// New returns the machine of a log that ends at cfg.Last.
func New(cfg Config) *Machine { return &Machine{cfg: cfg, first: cfg.Last + 1} }

// Step takes an event and returns what to do, in order. The slice is valid
// until the next Step.
func (m *Machine) Step(e Event) []Action {
	m.actions = m.actions[:0]
	switch e := e.(type) {
	case Appended:
		m.add(item{records: e.Records, bytes: e.Bytes, at: e.Now})
	case Control:
		m.add(item{control: true, at: e.Now})
	case Force:
		m.forced = len(m.items)
	case Aged:
		m.aged(e.Now)
	case Sealed:
		m.sealed(e.Position)
	case Durable:
		m.durable(e.Position)
	case Failed:
		m.fail(e.Err)
	case Close:
		m.closing = true
		m.forced = len(m.items)
	}
	if !m.ended {
		m.settle()
	}
	return m.actions
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *Machine) add(i item) {
	switch {
	case m.failed:
		m.do(Action{Kind: Refuse, Reason: Dead})
	case m.closing:
		m.do(Action{Kind: Refuse, Reason: Closed})
	case i.bytes > m.cfg.MaxPayload:
		m.do(Action{Kind: Refuse, Reason: TooLarge})
	default:
		m.items = append(m.items, i)
		m.records += i.records
		m.bytes += i.bytes
		if i.control {
			m.forced = len(m.items)
		}
	}
}

func (m *Machine) aged(now time.Duration) {
	m.armed = false
	if len(m.items) > 0 && m.items[0].at+m.cfg.MaxAge <= now {
		m.forced = len(m.items)
	}
}

// settle seals what is due, as far as the flight has room, and sees to it that
// something will wake the machine when more is.
func (m *Machine) settle() {
	for len(m.flight) < m.cfg.InFlight && m.due() {
		m.cut()
	}
	if len(m.items) > 0 && m.forced == 0 && !m.armed {
		m.armed = true
		m.do(Action{Kind: Arm, At: m.items[0].at + m.cfg.MaxAge})
	}
	if m.closing && len(m.items) == 0 && len(m.flight) == 0 {
		m.ended = true
		m.do(Action{Kind: Finish})
	}
}

func (m *Machine) due() bool {
	return m.forced > 0 || m.records >= m.cfg.MaxRecords || m.bytes >= m.cfg.MaxBytes
}

// cut makes the next position of as many items as one aggregation takes. When
// the flight was full these may be more than were due: the stores are slower
// than the records come, and fewer, larger aggregations cost them less.
func (m *Machine) cut() {
	most := max(m.cfg.MaxRecords, m.cfg.Grown)
	s := Action{Kind: Seal, Position: m.first + tlog.Position(len(m.flight))}
	records, bytes := 0, 0
	for _, i := range m.items {
		if s.Items > 0 && (i.control || bytes+i.bytes > m.cfg.MaxPayload) {
			break
		}
		s.Items++
		records += i.records
		bytes += i.bytes
		s.Control = i.control
		if i.control || records >= most || bytes >= m.cfg.MaxBytes {
			break
		}
	}
	m.items = append(m.items[:0], m.items[s.Items:]...)
	m.records -= records
	m.bytes -= bytes
	m.forced = max(0, m.forced-s.Items)
	m.flight = append(m.flight, sealing)
	m.do(s)
}

// at is the stage of a position in flight, else nil.
func (m *Machine) at(p tlog.Position) *stage {
	if p < m.first || p-m.first >= tlog.Position(len(m.flight)) {
		return nil
	}
	return &m.flight[p-m.first]
}

func (m *Machine) sealed(p tlog.Position) {
	s := m.at(p)
	if s == nil || *s != sealing {
		return
	}
	*s = sealed
	if m.failed {
		m.do(Action{Kind: Discard, Position: p})
		return
	}
	for m.published < len(m.flight) && m.flight[m.published] == sealed {
		m.flight[m.published] = published
		m.do(Action{Kind: Publish, Position: m.first + tlog.Position(m.published)})
		m.published++
	}
}

func (m *Machine) durable(p tlog.Position) {
	s := m.at(p)
	if s == nil || *s != published || m.failed {
		return
	}
	*s = durable
	n := 0
	for n < len(m.flight) && m.flight[n] == durable {
		m.do(Action{Kind: Commit, Position: m.first + tlog.Position(n)})
		n++
	}
	m.flight = append(m.flight[:0], m.flight[n:]...)
	m.first += tlog.Position(n)
	m.published -= n
}

func (m *Machine) fail(err error) {
	if m.ended {
		return
	}
	m.ended, m.failed = true, true
	m.items, m.forced, m.records, m.bytes = nil, 0, 0, 0
	m.do(Action{Kind: Fail, Err: err})
}
