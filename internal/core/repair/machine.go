package repair

import (
	"cmp"
	"fmt"
	"slices"

	"tlog"
)

// job is a position from Look to Finished.
type job struct {
	number  tlog.Position
	looking bool
	writes  []Write // not answered
	written int
	short   int
}

// todo is a position of the page that waits to be looked at.
type todo struct {
	number tlog.Position
	have   int // distinct indices claimed
}

// Machine is one pass over one vdisk's log.
type Machine struct {
	cfg     Config
	next    tlog.Position // first position that was not listed
	listing bool
	page    []todo
	jobs    []*job
	reason  Reason
	ended   bool
	out     []Action
}

// New makes a machine that waits for Start.
func New(cfg Config) *Machine {
	if cfg.K < 1 || cfg.N < cfg.K || cfg.P < cfg.N || cfg.First < 0 {
		panic(fmt.Sprintf("repair: internal error: %+v", cfg))
	}
	if cfg.Page == 0 {
		cfg.Page = 1024
	}
	if cfg.Window == 0 {
		cfg.Window = 2
	}
	return &Machine{cfg: cfg, next: 1}
}

// Step takes an event and returns what to do, in this order. The slice is the caller's.
func (m *Machine) Step(e Event) []Action {
	m.out = nil
	switch e := e.(type) {
	case Start:
	case Listed:
		m.listed(e)
	case Looked:
		m.looked(e)
	case Stored:
		m.stored(e)
	}
	m.proceed()
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) emit(a Action) { m.out = append(m.out, a) }

// proceed starts what may be started: looks while the window has room, the
// next page when this one is dealt with, the end when there is none.
func (m *Machine) proceed() {
	if m.reason != 0 {
		m.page = nil
	}
	for len(m.page) > 0 && len(m.jobs) < m.cfg.Window {
		j := &job{number: m.page[0].number, looking: true}
		m.page = m.page[1:]
		m.jobs = append(m.jobs, j)
		m.emit(Look{j.number})
	}
	if m.ended || m.listing || len(m.page) > 0 || len(m.jobs) > 0 {
		return
	}
	if m.reason != 0 || m.next > m.cfg.Head {
		m.ended = true
		m.emit(End{m.reason})
		return
	}
	to := m.cfg.Head
	if to-m.next >= tlog.Position(m.cfg.Page) {
		to = m.next + tlog.Position(m.cfg.Page) - 1
	}
	m.listing = true
	m.emit(List{m.next, to})
}

// listed sorts out the positions of a page that must be looked at.
func (m *Machine) listed(e Listed) {
	m.listing = false
	if e.Failed || e.From != m.next {
		m.reason = ReasonUnlisted
		return
	}
	for i, p := range e.Places {
		at := e.From + tlog.Position(i)
		have, unsure := m.claimed(p)
		bad := slices.Contains(p.Index, Bad)
		switch {
		case !p.Known:
			m.emit(Finished{Position: at, Short: m.cfg.N, Lost: unsure == 0 && !bad})
		case m.cfg.Deep || bad || have+unsure < m.cfg.N:
			m.page = append(m.page, todo{at, have})
		default:
			m.emit(Finished{Position: at, Short: m.cfg.N - have})
		}
	}
	m.next += tlog.Position(len(e.Places))
	slices.SortStableFunc(m.page, func(a, b todo) int { return cmp.Compare(a.have, b.have) })
}

// claimed counts the distinct indices claimed, and the servers that did not say.
func (m *Machine) claimed(p Place) (have, unsure int) {
	seen := make([]bool, m.cfg.N)
	for _, i := range p.Index {
		switch {
		case i == Unsure:
			unsure++
		case i >= 0 && i < m.cfg.N && !seen[i]:
			seen[i] = true
			have++
		}
	}
	return have, unsure
}

func (m *Machine) job(at tlog.Position) *job {
	for _, j := range m.jobs {
		if j.number == at {
			return j
		}
	}
	panic(fmt.Sprintf("repair: internal error: position %d is not being repaired", at))
}

func (m *Machine) looked(e Looked) {
	j := m.job(e.Position)
	if !j.looking {
		panic(fmt.Sprintf("repair: internal error: position %d was looked at already", e.Position))
	}
	j.looking = false
	p := m.plan(e.Shards)
	j.short = p.short
	switch {
	case m.reason != 0: // stopped meanwhile: nothing is sent any more
		j.short = p.short + p.needed()
		m.finish(j, false)
	case p.good < m.cfg.K:
		m.finish(j, p.silent == 0)
	default:
		for _, w := range p.writes {
			w.Position = e.Position
			j.writes = append(j.writes, w)
			m.emit(w)
		}
		m.finish(j, false)
	}
}

// finish ends a position that nothing is awaited for.
func (m *Machine) finish(j *job, lost bool) {
	if len(j.writes) > 0 {
		return
	}
	m.emit(Finished{Position: j.number, Looked: true, Written: j.written, Short: j.short, Lost: lost})
	m.jobs = slices.DeleteFunc(m.jobs, func(o *job) bool { return o == j })
}

// stored takes the answer to a write. What was not done is left to the next pass.
func (m *Machine) stored(e Stored) {
	j := m.job(e.Position)
	i := slices.IndexFunc(j.writes, func(w Write) bool { return w.Server == e.Server })
	if i < 0 {
		panic(fmt.Sprintf("repair: internal error: answer to nothing: %+v", e))
	}
	switch e.Outcome {
	case Done:
		j.written++
	case Behind:
		if !j.writes[i].Fence && m.reason == 0 {
			j.writes[i].Fence = true
			m.emit(j.writes[i])
			return
		}
	case Outbid:
		m.stop(ReasonOutbid)
	case Conflict:
		m.stop(ReasonConflict)
	}
	if e.Outcome != Done && !j.writes[i].Surplus {
		j.short++
	}
	j.writes = slices.Delete(j.writes, i, i+1)
	m.finish(j, false)
}

func (m *Machine) stop(r Reason) {
	if m.reason == 0 {
		m.reason = r
	}
}
