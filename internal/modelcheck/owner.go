package modelcheck

import (
	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
)

// attempts is how many epochs an owner tries before it gives up.
const attempts = 2

// newOwner starts a takeover.
func (t *turn) newOwner() {
	i := len(t.s.owners)
	c := &t.cfg
	r := c.R()
	if c.Broken == Quorums {
		r--
	}
	joining := t.s.joining(c.P)
	o := &owner{joining: joining, find: takeover.New(takeover.Config{
		P: c.P, K: c.K, N: c.N, W: c.W, R: r, Fence: true, Page: c.Page, Joining: listOf(joining, c.P),
	})}
	t.touched[i] = true
	t.s.owners = append(t.s.owners, o)
	t.logf("owner %c starts", 'A'+i)
	t.tellFind(i, takeover.Start{})
}

// joining is the servers that have replaced one, as bits.
func (s *state) joining(p int) (bits uint8) {
	for i := range p {
		bits |= flag(s.servers[i].joining) << i
	}
	return bits
}

func listOf(bits uint8, p int) []bool {
	if bits == 0 {
		return nil
	}
	list := make([]bool, p)
	for i := range list {
		list[i] = bits>>i&1 == 1
	}
	return list
}

// searchAction does what a takeover asks for.
func (t *turn) searchAction(i int, o *owner, a takeover.Action) {
	switch a := a.(type) {
	case takeover.ReadControl:
		t.readControl(i, a)
	case takeover.Fence:
		o.epoch = uint8(a.Epoch)
		t.ask(i, o, message{kind: kindFence, to: uint8(a.Server), round: uint8(a.Round), epoch: uint8(a.Epoch)})
	case takeover.ReadMetas:
		t.ask(i, o, message{kind: kindMetas, to: uint8(a.Server), round: uint8(a.Round), position: uint8(a.From), index: uint8(a.To)})
	case takeover.ReadShard:
		t.ask(i, o, message{kind: kindShard, to: uint8(a.Server), round: uint8(a.Round), position: uint8(a.Position)})
	case takeover.StartGrace:
		o.grace = true
	case takeover.BackOff:
		if o.refused = true; a.Attempt >= attempts {
			t.logf("  %c gives up", 'A'+i)
			t.gone(i)
		}
	case takeover.Found:
		o.chain[a.Position] = digestOf(a.Digest)
		t.logf("  %c finds %s", 'A'+i, t.describe(o.chain[a.Position]))
	case takeover.Verify:
		t.tellFind(i, takeover.Verified{OK: true})
	case takeover.Append:
		t.adopt(i, o, a)
	case takeover.Done:
		t.found(i, o, a)
	case takeover.Halt:
		t.logf("  %c halts: reason %d, position %d, has %d, needs %d", 'A'+i, a.Reason, a.Position, a.Have, a.Need)
		t.gone(i)
	}
}

// readControl is answered at once, by all that are there.
func (t *turn) readControl(i int, a takeover.ReadControl) {
	sv := &t.s.servers[a.Server]
	if sv.down || sv.wiped || sv.joining && t.s.owners[i].joining>>a.Server&1 == 0 {
		t.tellFind(i, takeover.Failed(a))
		return
	}
	t.tellFind(i, takeover.ControlRead{
		Server: a.Server, Round: a.Round, Epoch: tlog.Epoch(sv.epoch), Head: tlog.Position(sv.head), Commit: tlog.Position(sv.commit),
	})
}

// ask sends a request of a takeover. A new round ends the one before.
func (t *turn) ask(i int, o *owner, m message) {
	if m.round != o.round {
		t.strayed(i, false)
		o.round, o.grace = m.round, false
	}
	m.from = uint8(i)
	sv := &t.s.servers[m.to]
	switch {
	case !t.cfg.AtOnce || m.kind == kindFence:
		t.s.net = append(t.s.net, m)
	case sv.down, sv.wiped, t.stranger(&m):
		t.unanswered(m, sv.wiped)
	default:
		t.arrive(m)
	}
}

func (t *turn) adopt(i int, o *owner, a takeover.Append) {
	t.open(o, uint8(a.Position)-1)
	e := appending.Publish{Position: a.Position, Held: make([]appending.Holding, len(a.Held))}
	for s, h := range a.Held {
		e.Held[s] = appending.Holding{Index: h.Index, Valid: h.Good}
	}
	t.tellLog(i, e)
}

func (t *turn) open(o *owner, last uint8) {
	if o.log == nil {
		o.next = last + 1
		o.log = appending.New(appending.Config{P: t.cfg.P, N: t.cfg.N, W: t.cfg.W, Epoch: tlog.Epoch(o.epoch), Last: tlog.Position(last)})
	}
}

// found ends a takeover: it is compared with what was promised, and the
// barrier is published.
func (t *turn) found(i int, o *owner, a takeover.Done) {
	t.Takeovers++
	o.done, o.base, o.head, o.next = true, uint8(a.Base), uint8(a.Head), uint8(a.Head)+1
	t.logf("  %c owns the log in epoch %d: committed %d, head %d", 'A'+i, o.epoch, o.base, o.head)
	o.find = nil
	t.strayed(i, false)
	t.checkFound(i, o)
	if t.cfg.Broken == Barrier {
		t.logf("  %c tells its client that the log ends at %d", 'A'+i, o.head)
		t.s.ended[o.next] = max(t.s.ended[o.next], o.epoch)
	}
	t.open(o, o.head)
	t.publish(i, o)
}

// publish appends a new position.
func (t *turn) publish(i int, o *owner) {
	pos := o.next
	o.next++
	o.chain[pos] = t.name(digest{owner: uint8(i), epoch: o.epoch, position: pos, prev: o.chain[pos-1]})
	t.logf("  %c publishes %s", 'A'+i, t.describe(o.chain[pos]))
	t.tellLog(i, appending.Publish{Position: tlog.Position(pos)})
}

// logAction does what an owner's log asks for.
func (t *turn) logAction(i int, o *owner, a appending.Action) {
	switch a.Kind {
	case appending.Send:
		t.send(i, o, a)
	case appending.Fence:
		t.s.net = append(t.s.net, message{kind: kindLateFence, from: uint8(i), to: uint8(a.Server), epoch: o.epoch})
	case appending.Probe:
		t.tellLog(i, appending.Probed{Server: a.Server, OK: true})
	case appending.Wait:
		o.waits |= 1 << a.Server
	case appending.StartHedge:
		o.hedging |= 1 << a.Position
	case appending.Release:
		o.hedging &^= 1 << a.Position
	case appending.Committed:
		t.committed(i, o, uint8(a.Position))
	case appending.Dead:
		t.logf("  %c is dead: reason %d, said by server %d", 'A'+i, a.Reason, a.Server)
		if a.Reason == appending.ReasonConflict && t.cfg.Broken == None {
			t.violated("server %d holds another digest of %c's own epoch", a.Server, 'A'+i)
		}
		t.gone(i)
	}
}

func (t *turn) send(i int, o *owner, a appending.Action) {
	if t.cfg.Broken == OneEpoch && !a.Data {
		t.logf("  %c counts %d.%d on server %d, as it has been there", 'A'+i, a.Position, a.Index, a.Server)
		t.tellLog(i, appending.Replied{Server: a.Server, Position: a.Position, Outcome: appending.Stored, Index: a.Index})
		return
	}
	t.s.net = append(t.s.net, message{
		kind: kindAppend, from: uint8(i), to: uint8(a.Server), epoch: o.epoch, position: uint8(a.Position), index: uint8(a.Index),
		digest: o.chain[a.Position], commit: uint8(a.Commit), data: a.Data, replace: a.Replace,
	})
}
