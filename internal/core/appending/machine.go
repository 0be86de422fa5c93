package appending

import (
	"fmt"

	"tlog"
)

// state is what this owner thinks of a server.
type state uint8

const (
	up      state = iota
	waiting       // failed; Due ends it
	probing       // Probed ends it
	fencing       // FenceReplied ends it
)

type server struct {
	state    state
	failures int  // in a row; an acknowledged append resets it and slow
	slow     bool // it needs a person
	late     int  // requests in flight here that are late
}

// Machine is the append path of one owner of one vdisk's log.
type Machine struct {
	cfg       Config
	servers   []server
	open      []*position // by number from first on; nil: released
	first     tlog.Position
	next      tlog.Position // to be published
	committed tlog.Position
	dead      bool
	out       []Action
}

// New makes a machine whose servers are all thought to be there.
func New(cfg Config) *Machine {
	if cfg.N < 1 || cfg.P < cfg.N || cfg.W < 1 || cfg.W > cfg.N || cfg.First < 0 {
		panic(fmt.Sprintf("appending: internal error: %+v", cfg))
	}
	return &Machine{
		cfg: cfg, servers: make([]server, cfg.P),
		first: cfg.Last + 1, next: cfg.Last + 1, committed: cfg.Last,
	}
}

// Committed is the highest position that is committed together with all below.
func (m *Machine) Committed() tlog.Position { return m.committed }

// Missing is how many indices of the oldest position that is not committed
// have neither an acknowledgement nor a timely request; 0 if all is well.
func (m *Machine) Missing() (tlog.Position, int) {
	p := m.find(m.committed + 1)
	if p == nil || m.dead {
		return 0, 0
	}
	n := m.cfg.W
	for i := range m.cfg.N {
		if p.covered(i) {
			n--
		}
	}
	return p.number, max(n, 0)
}

// Step takes an event and returns what to do, in this order. The slice is the caller's.
func (m *Machine) Step(e Event) []Action { return m.StepInto(nil, e) }

// StepInto is Step that appends to dst.
func (m *Machine) StepInto(dst []Action, e Event) []Action {
	m.out = dst
	switch e := e.(type) {
	case Publish:
		m.publish(e)
	case Replied:
		m.replied(e)
	case FenceReplied:
		m.fenceReplied(e)
	case Late:
		m.hedge(e)
	case Due:
		if m.servers[e.Server].state == waiting && !m.dead {
			m.servers[e.Server].state = probing
			m.emit(Action{Kind: Probe, Server: e.Server})
		}
	case Probed:
		m.probed(e)
	case Close:
		m.die(Action{Kind: Dead, Reason: ReasonClosed, Server: -1})
	}
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) emit(a Action) { m.out = append(m.out, a) }

// home is the server that index i prefers.
func (m *Machine) home(i int) int { return (m.cfg.First + i) % m.cfg.P }

func (m *Machine) find(n tlog.Position) *position {
	if n < m.first || n-m.first >= tlog.Position(len(m.open)) {
		return nil
	}
	return m.open[n-m.first]
}

func (m *Machine) publish(e Publish) {
	if m.dead {
		m.emit(Action{Kind: Failed, Position: e.Position, Reason: ReasonClosed})
		m.emit(Action{Kind: Release, Position: e.Position})
		return
	}
	if e.Position != m.next {
		panic(fmt.Sprintf("appending: internal error: position %d published, expected %d", e.Position, m.next))
	}
	m.next++
	p := newPosition(&m.cfg, e)
	m.open = append(m.open, p)
	m.place(p)
}

func (m *Machine) replied(e Replied) {
	p := m.find(e.Position)
	if p == nil || p.shares[e.Server].phase != sent {
		panic(fmt.Sprintf("appending: internal error: answer to nothing: %+v", e))
	}
	sh, sv := &p.shares[e.Server], &m.servers[e.Server]
	if sh.late {
		sv.late--
	}
	p.finish(sh)
	if !m.dead {
		m.judge(p, e)
	}
	if !m.dead {
		m.place(p)
		m.advance()
	}
	m.release(p)
}

// judge is the reply table.
func (m *Machine) judge(p *position, e Replied) {
	sh := &p.shares[e.Server]
	switch e.Outcome {
	case Stored, HasIndex:
		m.servers[e.Server].failures, m.servers[e.Server].slow = 0, false
		m.acknowledged(p, e)
	case Fenced:
		m.fenced(e.Server, e.Epoch)
	case Conflict:
		m.die(Action{Kind: Dead, Reason: ReasonConflict, Server: e.Server})
	case NoData:
		if sh.data { // the bytes went ahead of it and are gone: it is in trouble
			m.down(e.Server, false)
		}
		sh.valid = false
	case Full, Unusable:
		m.down(e.Server, true)
	default:
		m.down(e.Server, false)
	}
}

// acknowledged counts the index the server holds, which need not be the one
// that was sent: a server keeps the index it has for a digest.
func (m *Machine) acknowledged(p *position, e Replied) {
	sh := &p.shares[e.Server]
	if e.Index < 0 || e.Index >= m.cfg.N || sh.pinned && e.Index != sh.index {
		m.down(e.Server, true)
		return
	}
	p.hold(sh, e.Index)
	if p.distinct >= m.cfg.W {
		p.committed = true
	}
}

// fenced: a higher epoch, or another owner of ours, is the end. A lower one
// means that the server missed our takeover.
func (m *Machine) fenced(s int, held tlog.Epoch) {
	switch {
	case held >= m.cfg.Epoch:
		m.die(Action{Kind: Dead, Reason: ReasonFenced, Server: s, Epoch: held})
	case m.servers[s].state == up:
		m.servers[s].state = fencing
		m.emit(Action{Kind: Fence, Server: s})
	}
}

func (m *Machine) fenceReplied(e FenceReplied) {
	if m.dead || m.servers[e.Server].state != fencing {
		return
	}
	m.servers[e.Server].state = up
	switch e.Outcome {
	case Stored:
		m.recovered()
	case Fenced:
		if e.Epoch < m.cfg.Epoch { // it cannot refuse us with that
			m.down(e.Server, true)
			return
		}
		m.die(Action{Kind: Dead, Reason: ReasonFenced, Server: e.Server, Epoch: e.Epoch})
	case Full, Unusable:
		m.down(e.Server, true)
	default:
		m.down(e.Server, false)
	}
}

// down takes a server out of new placements until a probe succeeds.
func (m *Machine) down(s int, slow bool) {
	sv := &m.servers[s]
	if sv.state != up {
		return
	}
	sv.state = waiting
	sv.failures++
	sv.slow = sv.slow || slow
	m.emit(Action{Kind: Wait, Server: s, Failures: sv.failures, Slow: sv.slow})
}

func (m *Machine) probed(e Probed) {
	sv := &m.servers[e.Server]
	if m.dead || sv.state != probing {
		return
	}
	sv.state = up
	if !e.OK {
		m.down(e.Server, false)
		return
	}
	m.recovered()
}

// recovered sends, oldest first, what waited for a server.
func (m *Machine) recovered() {
	for n := m.committed + 1; n < m.next; n++ {
		if p := m.find(n); p != nil {
			m.place(p)
		}
	}
}

// hedge marks the requests of a position that have not been answered, and
// tries spares. A server that is late gets no new work that others can take:
// that, not a cancellation, is what bounds the shards a hung server holds on to.
func (m *Machine) hedge(e Late) {
	p := m.find(e.Position)
	if p == nil || m.dead {
		return
	}
	p.hedging = false
	for s := range p.shares {
		if sh := &p.shares[s]; sh.phase == sent && !sh.late {
			sh.late = true
			p.live[sh.index]--
			p.late[sh.index]++
			m.servers[s].late++
		}
	}
	m.place(p)
}

// advance acknowledges the committed prefix.
func (m *Machine) advance() {
	for {
		p := m.find(m.committed + 1)
		if p == nil || !p.committed {
			return
		}
		m.committed++
		p.answered = true
		m.emit(Action{Kind: Committed, Position: p.number})
		m.release(p)
	}
}

// release forgets a position that was answered and that no request uses.
func (m *Machine) release(p *position) {
	if !p.answered || p.inflight > 0 || m.find(p.number) == nil {
		return
	}
	m.emit(Action{Kind: Release, Position: p.number})
	m.open[p.number-m.first] = nil
	n := 0
	for n < len(m.open) && m.open[n] == nil {
		n++
	}
	if n > 0 {
		m.open = append(m.open[:0], m.open[n:]...)
		m.first += tlog.Position(n)
	}
}

func (m *Machine) die(d Action) {
	if m.dead {
		return
	}
	m.dead = true
	m.emit(d)
	for n := m.committed + 1; n < m.next; n++ {
		p := m.find(n)
		p.committed, p.answered = true, true
		m.emit(Action{Kind: Failed, Position: n, Reason: d.Reason})
		m.release(p)
	}
}
