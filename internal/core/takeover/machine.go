package takeover

import (
	"fmt"

	"tlog"
)

type phase uint8

const (
	beginning phase = iota
	control
	fencing
	backingOff
	metas
	shards
	verifying
	filling // the window is full, or everything is found: commits are awaited
	ended
)

// Machine is one takeover or survey of one vdisk's log.
type Machine struct {
	cfg     Config
	phase   phase
	round   round
	attempt int
	out     []Action

	epoch        tlog.Epoch // highest seen; once fencing, ours
	behind       bool       // a server refused our epoch
	voters       []bool
	head, commit tlog.Position // highest hints of the voters

	page     [][]Meta      // by server
	pageEnd  tlog.Position // last position of the page
	at       tlog.Position // the one being decided
	prev     tlog.Hash     // digest of at − 1
	from     []*candidate  // of at, best first
	chosen   *candidate
	appended int // adopted, not yet committed
	complete bool
}

// New makes a machine that waits for Start.
func New(cfg Config) *Machine {
	if cfg.K < 1 || cfg.N < cfg.K || cfg.P < cfg.N || cfg.R < 1 || cfg.R > cfg.P {
		panic(fmt.Sprintf("takeover: internal error: %+v", cfg))
	}
	if cfg.Page == 0 {
		cfg.Page = 1024
	}
	if cfg.Window == 0 {
		cfg.Window = 8
	}
	return &Machine{cfg: cfg}
}

// Step takes an event and returns what to do, in this order. Answers to rounds
// that are over are ignored. The slice is the caller's.
func (m *Machine) Step(e Event) []Action {
	m.out = nil
	if m.phase != ended {
		m.step(e)
	}
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) step(e Event) {
	switch e := e.(type) {
	case Start:
		m.readControl()
	case BackedOff:
		if m.phase == backingOff {
			m.readControl()
		}
	case ControlRead:
		if m.phase == control && m.round.answer(e.Round, e.Server, true) {
			m.see(e.Server, e.Epoch, e.Head, e.Commit)
		}
	case Fenced:
		if m.phase == fencing && m.round.answer(e.Round, e.Server, true) {
			m.see(e.Server, 0, e.Head, e.Commit)
		}
	case Refused:
		if m.phase == fencing && m.round.answer(e.Round, e.Server, false) {
			m.behind = true
			m.epoch = max(m.epoch, e.Epoch)
		}
	case MetasRead:
		if m.phase == metas && m.round.answer(e.Round, e.Server, !e.Partial) {
			m.take(e)
		}
	case ShardRead:
		if m.phase == shards && m.round.answer(e.Round, e.Server, true) {
			m.shardRead(e)
		}
	case Failed:
		m.round.answer(e.Round, e.Server, false)
	case GraceOver:
		m.round.graceOver(e.Round)
	case Verified:
		m.verified(e)
	case Committed:
		m.appended--
	}
	m.settle()
}

// settle moves on when the round, or what else the phase waits for, is over.
func (m *Machine) settle() {
	switch m.phase {
	case control:
		if m.settled(m.needed()) {
			m.controlled()
		}
	case fencing:
		if m.settled(m.cfg.R) {
			m.fenced()
		}
	case metas:
		if m.settled(m.cfg.R) {
			m.paged()
		}
	case shards:
		m.decide()
	case filling:
		m.fill()
	}
}

func (m *Machine) emit(a Action) { m.out = append(m.out, a) }

func (m *Machine) end(a Action) {
	m.phase = ended
	m.emit(a)
}

// settled reports whether the round is over: everybody answered, or enough did
// and the grace time has passed.
func (m *Machine) settled(enough int) bool {
	r := &m.round
	if r.open == 0 {
		return true
	}
	if r.good < enough || enough > 0 && m.votes() < m.cfg.R {
		return false
	}
	if !r.started {
		r.started = true
		m.emit(StartGrace{r.id})
	}
	return r.grace
}

// votes is how many servers that can tell absence answered well.
func (m *Machine) votes() int {
	n := 0
	for s, voted := range m.round.voted {
		if voted && !m.joining(s) {
			n++
		}
	}
	return n
}

func (m *Machine) joining(s int) bool { return m.cfg.Joining != nil && m.cfg.Joining[s] }

// needed is how many servers must be there before anything is done: a server
// that cannot reach W of them does not fence, or it would eject, again and
// again, an owner that can.
func (m *Machine) needed() int {
	if m.cfg.Fence {
		return max(m.cfg.W, m.cfg.R)
	}
	return m.cfg.R
}

func (m *Machine) all() []bool {
	all := make([]bool, m.cfg.P)
	for s := range all {
		all[s] = true
	}
	return all
}

func (m *Machine) readControl() {
	m.phase = control
	m.voters = make([]bool, m.cfg.P)
	m.head, m.commit = 0, 0
	m.round.begin(m.all())
	for s := range m.cfg.P {
		m.emit(ReadControl{s, m.round.id})
	}
}

// see counts a server as a voter and takes its hints.
func (m *Machine) see(s int, epoch tlog.Epoch, head, commit tlog.Position) {
	m.voters[s] = true
	m.epoch = max(m.epoch, epoch)
	m.head, m.commit = max(m.head, head, commit), max(m.commit, commit)
}

func (m *Machine) controlled() {
	switch {
	case m.round.good < m.needed():
		m.end(Halt{Reason: ReasonTooFew, Have: m.round.good, Need: m.needed()})
	case m.votes() < m.cfg.R:
		m.end(Halt{Reason: ReasonTooFew, Have: m.votes(), Need: m.cfg.R})
	case !m.cfg.Fence:
		m.firstPage()
	case m.epoch+1 == 0:
		m.end(Halt{Reason: ReasonEpochs})
	default:
		m.fence()
	}
}

// fence asks all servers, also those that did not answer before; the hints
// and votes that count are those given together with the promise.
func (m *Machine) fence() {
	m.phase = fencing
	m.epoch++
	m.behind = false
	m.voters = make([]bool, m.cfg.P)
	m.head, m.commit = 0, 0
	m.round.begin(m.all())
	for s := range m.cfg.P {
		m.emit(Fence{s, m.round.id, m.epoch})
	}
}

// fenced goes higher if anyone holds a higher epoch, or ours for another
// owner, even when R servers accepted ours.
func (m *Machine) fenced() {
	switch {
	case m.behind:
		m.attempt++
		m.phase = backingOff
		m.emit(BackOff{m.attempt})
	case m.votes() < m.cfg.R:
		m.end(Halt{Reason: ReasonTooFew, Have: m.votes(), Need: m.cfg.R})
	default:
		m.firstPage()
	}
}

// firstPage starts at the highest committed position anyone knows of: it
// anchors the chain.
func (m *Machine) firstPage() {
	m.at = max(m.commit, 1)
	m.readPage()
}

func (m *Machine) readPage() {
	if m.at > m.head {
		m.finish()
		return
	}
	m.phase = metas
	m.page = make([][]Meta, m.cfg.P)
	m.pageEnd = m.head
	if m.head-m.at >= tlog.Position(m.cfg.Page) {
		m.pageEnd = m.at + tlog.Position(m.cfg.Page) - 1
	}
	m.round.begin(m.voters)
	for s, votes := range m.voters {
		if votes {
			m.emit(ReadMetas{s, m.round.id, m.at, m.pageEnd})
		}
	}
}

// take keeps the claims of a page. They must ascend and be in range: a server
// that answers anything else is not believed to have answered all.
func (m *Machine) take(e MetasRead) {
	last := m.at - 1
	for _, x := range e.Metas {
		if x.Position <= last || x.Position > m.pageEnd || x.Index < 0 || x.Index >= m.cfg.N {
			m.voters[e.Server], m.round.voted[e.Server] = false, false
			m.round.good--
			return
		}
		last = x.Position
	}
	m.page[e.Server] = append([]Meta(nil), e.Metas...)
	if e.Partial { // its claims are true, but what it lacks says nothing
		m.voters[e.Server] = false
	}
}

func (m *Machine) paged() {
	for s := range m.voters {
		m.voters[s] = m.voters[s] && m.round.voted[s]
	}
	have := 0
	for s, votes := range m.voters {
		if votes && !m.joining(s) {
			have++
		}
	}
	if have < m.cfg.R {
		m.end(Halt{Reason: ReasonTooFew, Have: have, Need: m.cfg.R})
		return
	}
	m.examine()
}

func (m *Machine) verified(e Verified) {
	if m.phase != verifying {
		return
	}
	if !e.OK {
		m.end(Halt{Reason: ReasonRefused, Position: m.at})
		return
	}
	m.appended++
	m.emit(Append{m.at, m.chosen.Digest, m.holdings()})
	m.advance()
}

// advance goes on behind the position that was decided.
func (m *Machine) advance() {
	m.prev = m.chosen.Digest
	m.at++
	m.phase = filling
}

// fill waits until the window has room, or, at the end, is empty.
func (m *Machine) fill() {
	switch {
	case m.complete:
		if m.appended == 0 {
			m.end(Done{Epoch: m.epoch, Base: m.commit, Head: m.at - 1, Voters: m.voters})
		}
	case m.appended >= m.cfg.Window:
	case m.at > m.pageEnd:
		m.readPage()
	default:
		m.examine()
	}
}

// finish: the log ends before at.
func (m *Machine) finish() {
	m.complete = true
	m.phase = filling
	m.fill()
}
