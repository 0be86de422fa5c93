package modelcheck

import (
	"slices"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
)

// move is one thing that can happen in a state: what, and to which message,
// owner or server.
type move struct {
	what verb
	a, b uint8
}

type verb uint8

const (
	start    verb = iota
	deliver       // message a
	giveUp        // message a: its sender does; it may still arrive
	repeat        // message a arrives, and will again
	retry         // owner a waited
	grace         // owner a does not wait for the rest
	publish       // owner a
	late          // owner a, position b
	recover1      // owner a sees server b again
	crash         // owner a
	down          // server a
	up            // server a
	wipe          // server a
	rot           // server a, position b
	replace       // server a
)

// moves is everything that can happen in s, in a fixed order.
func (c *checker) moves(s *state, list []move) []move {
	list = c.netMoves(s, list)
	for i, o := range s.owners {
		if !o.over {
			list = c.ownerMoves(s, uint8(i), o, list)
		}
	}
	if len(s.owners) < c.cfg.Owners {
		list = append(list, move{what: start})
	}
	return c.serverMoves(s, list)
}

func (c *checker) netMoves(s *state, list []move) []move {
	reader := -1 // the owner whose read comes next has been seen
	for i := range s.net {
		m := &s.net[i]
		if i > 0 && *m == s.net[i-1] {
			continue
		}
		there := !s.servers[m.to].down
		if read := m.kind == kindMetas || m.kind == kindShard; read && c.cfg.Ordered {
			if int(m.from) == reader {
				continue
			}
			reader = int(m.from)
		}
		if there || !m.stray {
			list = append(list, move{what: deliver, a: uint8(i)})
		}
		if m.stray || !there && m.kind != kindAppended {
			continue // it needs no bad luck to fail
		}
		if s.left.timeouts > 0 {
			list = append(list, move{what: giveUp, a: uint8(i)})
		}
		if s.left.repeats > 0 && m.lasting() {
			list = append(list, move{what: repeat, a: uint8(i)})
		}
	}
	return list
}

func (c *checker) ownerMoves(s *state, i uint8, o *owner, list []move) []move {
	if o.refused {
		list = append(list, move{what: retry, a: i})
	}
	if o.grace {
		list = append(list, move{what: grace, a: i})
	}
	if o.told && tlog.Position(o.next) <= c.cfg.Last {
		list = append(list, move{what: publish, a: i})
	}
	for b := range uint8(8) {
		if o.hedging>>b&1 == 1 && s.left.hedges > 0 {
			list = append(list, move{what: late, a: i, b: b})
		}
		if o.waits>>b&1 == 1 && !s.servers[b].down && !s.servers[b].wiped {
			list = append(list, move{what: recover1, a: i, b: b})
		}
	}
	if s.left.crashes > 0 {
		list = append(list, move{what: crash, a: i})
	}
	return list
}

func (c *checker) serverMoves(s *state, list []move) []move {
	for i := range uint8(c.cfg.P) {
		sv := &s.servers[i]
		if sv.wiped {
			if s.left.replaced > 0 {
				list = append(list, move{what: replace, a: i})
			}
			continue
		}
		if sv.down {
			list = append(list, move{what: up, a: i})
		} else if s.left.downs > 0 {
			list = append(list, move{what: down, a: i})
		}
		if !c.mayLose(s, i) {
			continue
		}
		if s.left.wiped > 0 {
			list = append(list, move{what: wipe, a: i})
		}
		for pos := range sv.slots {
			if s.left.rotten > 0 && sv.slots[pos].digest != 0 && !sv.slots[pos].rotten {
				list = append(list, move{what: rot, a: i, b: uint8(pos)})
			}
		}
	}
	return list
}

// mayLose: no more servers lose something than an acknowledgement covers.
func (c *checker) mayLose(s *state, i uint8) bool {
	n := 0
	for j := range c.cfg.P {
		if s.lost>>j&1 == 1 || j == int(i) {
			n++
		}
	}
	return n <= c.cfg.W-c.cfg.K
}

// apply makes a move and gives the state after it, and the promise it broke.
func (c *checker) apply(from *state, m move) (*state, string) {
	t := &turn{checker: c, s: from.clone()}
	switch m.what {
	case deliver, giveUp, repeat:
		t.netMove(m)
	case start:
		t.newOwner()
	case retry, grace, publish, late, recover1, crash:
		t.ownerMove(m, int(m.a))
	default:
		t.serverMove(m)
	}
	t.run()
	s := t.end()
	t.examine()
	return s, t.broken
}

// examine lets readers at a state whose servers nobody has seen.
func (t *turn) examine() {
	t.buf = t.s.appendStored(t.cfg.P, t.buf[:0])
	h := sum(t.buf)
	if _, ok := t.surveyed[h]; ok && t.log == nil {
		return
	}
	t.surveyed[h] = struct{}{}
	t.survey()
}

func (t *turn) netMove(m move) {
	x := t.s.net[m.a]
	t.s.net = slices.Delete(t.s.net, int(m.a), int(m.a)+1)
	sv := &t.s.servers[x.to]
	stray := x
	stray.stray = true
	t.logf("%s: %s", m.what, t.text(&x))
	switch {
	case m.what == giveUp:
		t.s.left.timeouts--
		if x.lasting() {
			t.s.net = append(t.s.net, stray)
		}
		t.unanswered(x, false)
	case x.kind == kindAppended:
		t.replied(x)
	case sv.down, sv.wiped, t.stranger(&x):
		t.unanswered(x, sv.wiped)
	default:
		if m.what == repeat {
			t.s.left.repeats--
			t.s.net = append(t.s.net, stray)
		}
		t.arrive(x)
	}
}

// stranger reports whether a takeover that began before the server was
// replaced asks it: it knows only the one that is gone.
func (t *turn) stranger(m *message) bool {
	return t.s.servers[m.to].joining && m.kind <= kindShard && t.s.owners[m.from].joining>>m.to&1 == 0
}

func (t *turn) ownerMove(m move, i int) {
	o := t.owner(i)
	t.logf("%c: %s %d", 'A'+i, m.what, m.b)
	switch m.what {
	case retry:
		o.refused = false
		t.tellFind(i, takeover.BackedOff{})
	case grace:
		o.grace = false
		t.strayed(i, false)
		t.tellFind(i, takeover.GraceOver{Round: int(o.round)})
	case publish:
		t.publish(i, o)
	case late:
		t.s.left.hedges--
		o.hedging &^= 1 << m.b
		t.tellLog(i, appending.Late{Position: tlog.Position(m.b)})
	case recover1:
		o.waits &^= 1 << m.b
		t.tellLog(i, appending.Due{Server: int(m.b)})
	case crash:
		t.s.left.crashes--
		t.gone(i)
	}
}

func (t *turn) serverMove(m move) {
	t.logf("server %d: %s %d", m.a, m.what, m.b)
	sv := &t.s.servers[m.a]
	switch m.what {
	case down:
		t.s.left.downs--
		sv.down = true
	case up:
		sv.down = false
	case wipe:
		t.s.left.wiped--
		t.s.lost |= 1 << m.a
		*sv = server{wiped: t.cfg.Broken != Amnesia}
	case replace:
		t.s.left.replaced--
		*sv = server{joining: true}
	case rot:
		t.s.left.rotten--
		t.s.lost |= 1 << m.a
		sv.slots[m.b].rotten = true
	}
}
