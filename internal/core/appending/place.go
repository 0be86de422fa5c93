package appending

// place sends every index of p that nothing speaks for to a server, as far as
// there are servers. The passes are ordered so that no index takes the server
// of another one while a better choice is left:
//
//  1. the server that holds, or may hold, that index already;
//  2. the server the index prefers;
//  3. any server that is free for this position, spares first;
//  4. servers that are late elsewhere, while W cannot be reached without them;
//  5. a server whose index another server has acknowledged too: replaced.
//
// An index that is only late is hedged by passes 1 to 3.
func (m *Machine) place(p *position) {
	if p.committed || m.dead {
		return
	}
	m.placeKnown(p)
	m.placeHome(p)
	m.placeFree(p, false)
	if p.reached() < m.cfg.W {
		m.placeFree(p, true)
		m.placeDuplicate(p)
	}
}

// usable reports whether p may be sent to s now.
func (m *Machine) usable(p *position, s int) bool {
	return m.servers[s].state == up && p.shares[s].phase == idle
}

func (m *Machine) prompt(s int) bool { return m.servers[s].late == 0 }

func (m *Machine) placeKnown(p *position) {
	for s := range p.shares {
		sh := &p.shares[s]
		if sh.index < 0 || !m.usable(p, s) {
			continue
		}
		if sh.pinned || !p.covered(sh.index) && m.prompt(s) {
			m.send(p, s, sh.index)
		}
	}
}

func (m *Machine) placeHome(p *position) {
	for i := range m.cfg.N {
		s := m.home(i)
		if !p.covered(i) && m.usable(p, s) && m.prompt(s) && p.shares[s].index < 0 {
			m.send(p, s, i)
		}
	}
}

// placeFree prefers servers that are nobody's home, then those not known to
// hold something of p.
func (m *Machine) placeFree(p *position, evenLate bool) {
	for i := range m.cfg.N {
		if p.covered(i) || evenLate && (!p.lost(i) || p.reached() >= m.cfg.W) {
			continue
		}
		if s := m.free(p, i, evenLate); s >= 0 {
			m.send(p, s, i)
		}
	}
}

func (m *Machine) free(p *position, index int, evenLate bool) int {
	best, score := -1, 0
	for j := range m.cfg.P {
		s := m.home(m.cfg.N + j) // spares first, then the homes in order
		if !m.usable(p, s) || p.shares[s].pinned || !evenLate && !m.prompt(s) {
			continue
		}
		points := 1
		if p.shares[s].index < 0 {
			points++
		}
		if p.shares[s].index == index {
			points += 2
		}
		if points > score {
			best, score = s, points
		}
	}
	return best
}

func (m *Machine) placeDuplicate(p *position) {
	for i := range m.cfg.N {
		if !p.lost(i) || p.reached() >= m.cfg.W {
			continue
		}
		for s := range p.shares {
			sh := &p.shares[s]
			if m.servers[s].state == up && sh.phase == held && !sh.pinned && p.holders[sh.index] > 1 {
				p.drop(sh)
				sh.pinned = true
				m.send(p, s, i)
				break
			}
		}
	}
}

// send books and emits one request. That a server holds good bytes is used
// once: whatever it answers, the next request carries them. Bad bytes are
// replaced, never renewed.
func (m *Machine) send(p *position, s, index int) {
	sh := &p.shares[s]
	sh.data = !(sh.valid && sh.index == index)
	sh.valid = false
	sh.pinned = sh.pinned || sh.damaged
	p.start(s, index)
	m.emit(Action{Kind: Send, Server: s, Position: p.number, Index: index, Data: sh.data, Replace: sh.pinned, Commit: m.committed})
	if !p.hedging {
		p.hedging = true
		m.emit(Action{Kind: StartHedge, Position: p.number})
	}
}
