package modelcheck

import (
	"math/bits"

	"tlog"
	"tlog/internal/core/takeover"
)

// committed is booked, and compared with every other Committed and with what
// every later owner has found.
func (t *turn) committed(i int, o *owner, pos uint8) {
	t.Commits++
	d := o.chain[pos]
	t.logf("  %c has %s committed", 'A'+i, t.describe(d))
	s := t.s
	for p, x := pos, d; p > 0; p, x = p-1, t.digests[x].prev {
		if y := s.acked[p]; y != 0 && y != x {
			t.violated("position %d: %s was acknowledged, and now %s", p, t.describe(y), t.describe(x))
			return
		}
	}
	s.acked[pos] = d
	if s.ackedBy[pos] == 0 || s.ackedBy[pos] > o.epoch {
		s.ackedBy[pos] = o.epoch
	}
	for j, later := range s.owners {
		if later.done && later.epoch > o.epoch && later.chain[pos] != d {
			t.violated("%c has %s acknowledged in epoch %d, and %c, which took over in epoch %d, has %s there",
				'A'+i, t.describe(d), o.epoch, 'A'+j, later.epoch, t.describe(later.chain[pos]))
		}
	}
	switch {
	case !o.done:
		t.tellFind(i, takeover.Committed{Position: tlog.Position(pos)})
	case pos == o.head+1:
		o.told = true
	}
}

// checkFound compares what a takeover found with what was acknowledged in lower
// epochs, and with what their owners said is not there.
func (t *turn) checkFound(i int, o *owner) {
	if why := t.complete(&o.chain, o.base, o.head); why != "" {
		t.violated("%c: %s", 'A'+i, why)
		return
	}
	for pos, d := range t.s.acked {
		if d != 0 && t.s.ackedBy[pos] < o.epoch && o.chain[pos] != d {
			t.violated("%s was acknowledged; %c finds %s there, and the end at %d", t.describe(d), 'A'+i, t.describe(o.chain[pos]), o.head)
		}
		if x := o.chain[pos]; t.resurrected(pos, x) && o.epoch > t.s.ended[pos] {
			t.violated("a client was told in epoch %d that the log ends at %d; %c finds the older %s", t.s.ended[pos], pos-1, 'A'+i, t.describe(x))
		}
	}
}

// resurrected reports whether x is older than what a client was told of pos.
func (t *turn) resurrected(pos int, x digestID) bool {
	return x != 0 && t.digests[x].epoch < t.s.ended[pos]
}

// complete checks that what was found from base on is a chain, and adds what
// comes before.
func (t *turn) complete(chain *byPosition, base, head uint8) string {
	for p := head; p > 1; p-- {
		prev := t.digests[chain[p]].prev
		if p > max(base, 1) && chain[p-1] != prev {
			return "finds " + t.describe(chain[p]) + " after " + t.describe(chain[p-1]) + ", not after " + t.describe(prev)
		}
		chain[p-1] = prev
	}
	return ""
}

// survey lets readers look at what is stored: all servers answer, or any R.
func (t *turn) survey() {
	c := &t.cfg
	var there uint8
	for i := range c.P {
		if !t.s.servers[i].wiped {
			there |= 1 << i
		}
	}
	r := c.R()
	joining := t.s.joining(c.P)
	for some := range uint8(1) << c.P {
		if some&^there == 0 && (some == there || bits.OnesCount8(some&^joining) == r) {
			t.read(some, r)
		}
	}
}

// read is one reader, to whom only some answer.
func (t *turn) read(some uint8, r int) {
	t.Surveys++
	m := takeover.New(takeover.Config{
		P: t.cfg.P, K: t.cfg.K, N: t.cfg.N, W: t.cfg.W, R: r, Page: t.cfg.Page, Joining: listOf(t.s.joining(t.cfg.P), t.cfg.P),
	})
	var chain byPosition
	todo := []takeover.Event{takeover.Start{}}
	for len(todo) > 0 {
		e := todo[0]
		todo = todo[1:]
		for _, a := range m.Step(e) {
			switch a := a.(type) {
			case takeover.ReadControl, takeover.ReadMetas, takeover.ReadShard:
				todo = append(todo, t.answer(some, a, &chain))
			case takeover.Found:
				chain[a.Position] = digestOf(a.Digest)
			case takeover.Done:
				t.checkRead(some, &chain, a)
			case takeover.Halt:
				t.checkHalt(some, a)
			}
		}
	}
}

func (t *turn) answer(some uint8, a takeover.Action, chain *byPosition) takeover.Event {
	switch a := a.(type) {
	case takeover.ReadControl:
		if sv := &t.s.servers[a.Server]; some>>a.Server&1 == 1 {
			return takeover.ControlRead{
				Server: a.Server, Round: a.Round, Epoch: tlog.Epoch(sv.epoch), Head: tlog.Position(sv.head), Commit: tlog.Position(sv.commit),
			}
		}
		return takeover.Failed(a)
	case takeover.ReadMetas:
		return t.metas(&t.s.servers[a.Server], message{to: uint8(a.Server), round: uint8(a.Round), position: uint8(a.From), index: uint8(a.To)})
	case takeover.ReadShard:
		return t.shard(&t.s.servers[a.Server], message{to: uint8(a.Server), round: uint8(a.Round), position: uint8(a.Position)}, chain)
	}
	panic("modelcheck: internal error: not a question")
}

func (t *turn) checkRead(some uint8, chain *byPosition, a takeover.Done) {
	if why := t.complete(chain, uint8(a.Base), uint8(a.Head)); why != "" {
		t.violated("a reader of servers %s %s", listed(some), why)
		return
	}
	for pos, d := range t.s.acked {
		if d != 0 && chain[pos] != d {
			t.violated("%s was acknowledged; a reader of servers %s finds %s there, and the end at %d", t.describe(d), listed(some), t.describe(chain[pos]), a.Head)
		}
		if x := chain[pos]; t.resurrected(pos, x) {
			t.violated("a client was told in epoch %d that the log ends at %d; a reader of servers %s finds the older %s",
				t.s.ended[pos], pos-1, listed(some), t.describe(x))
		}
	}
}

// checkHalt: a reader may halt at what nobody was told, and when more servers
// are lost or silent than a quorum allows for.
func (t *turn) checkHalt(some uint8, h takeover.Halt) {
	if bits.OnesCount8(some&^t.s.lost) < t.cfg.R() {
		return
	}
	for pos, d := range t.s.acked {
		if d != 0 && (h.Reason == takeover.ReasonTooFew || pos >= int(h.Position)) {
			t.violated("%s was acknowledged; a reader of servers %s halts at %d, reason %d", t.describe(d), listed(some), h.Position, h.Reason)
			return
		}
	}
}

func listed(some uint8) string {
	text := ""
	for i := range 8 {
		if some>>i&1 == 1 {
			text += string(rune('0' + i))
		}
	}
	return text
}
