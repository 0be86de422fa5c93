package modelcheck

import (
	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
)

// arrive carries a request out at a server that is there, and tells the
// sender unless it has given up.
func (t *turn) arrive(m message) {
	sv := &t.s.servers[m.to]
	switch m.kind {
	case kindFence, kindLateFence:
		t.fence(sv, m)
	case kindMetas:
		t.tellFind(int(m.from), t.metas(sv, m))
	case kindShard:
		t.tellFind(int(m.from), t.shard(sv, m, &t.s.owners[m.from].chain))
	case kindAppend:
		answer := m
		answer.kind = kindAppended
		answer.outcome, answer.index, answer.epoch = t.store(sv, &m)
		t.logf("  server %d: %s.%d of %c: %s", m.to, t.describe(m.digest), m.index, 'A'+m.from, outcomes[answer.outcome])
		switch {
		case m.stray:
		case t.cfg.Split:
			t.s.net = append(t.s.net, answer)
		default:
			t.replied(answer)
		}
	}
}

var outcomes = [...]string{"unknown", "stored", "has another index", "fenced", "no data", "conflict", "busy", "full", "unusable"}

func (t *turn) replied(m message) {
	t.tellLog(int(m.from), appending.Replied{
		Server: int(m.to), Position: tlog.Position(m.position), Outcome: m.outcome, Index: int(m.index), Epoch: tlog.Epoch(m.epoch),
	})
}

func (t *turn) fence(sv *server, m message) {
	ok := m.epoch > sv.epoch || m.epoch == sv.epoch && m.from+1 == sv.owner
	if ok {
		sv.epoch, sv.owner = m.epoch, m.from+1
	}
	t.logf("  server %d: epoch %d of %c accepted: %v", m.to, m.epoch, 'A'+m.from, ok)
	switch {
	case m.stray:
	case m.kind == kindLateFence && ok:
		t.tellLog(int(m.from), appending.FenceReplied{Server: int(m.to), Outcome: appending.Stored})
	case m.kind == kindLateFence:
		t.tellLog(int(m.from), appending.FenceReplied{Server: int(m.to), Outcome: appending.Fenced, Epoch: tlog.Epoch(sv.epoch)})
	case ok:
		t.tellFind(int(m.from), t.fenced(sv, m))
	default:
		t.tellFind(int(m.from), takeover.Refused{Server: int(m.to), Round: int(m.round), Epoch: tlog.Epoch(sv.epoch)})
	}
}

func (t *turn) fenced(sv *server, m message) takeover.Event {
	return takeover.Fenced{Server: int(m.to), Round: int(m.round), Head: tlog.Position(sv.head), Commit: tlog.Position(sv.commit)}
}

func (t *turn) metas(sv *server, m message) takeover.Event {
	e := takeover.MetasRead{Server: int(m.to), Round: int(m.round)}
	for pos := m.position; pos <= m.index && pos <= maxPosition; pos++ {
		x := &sv.slots[pos]
		if x.digest == 0 || x.rotten && t.cfg.Broken == NotAbsent {
			continue
		}
		epoch := x.epoch
		if t.cfg.Broken == HighestEpoch {
			epoch = ^epoch
		}
		e.Metas = append(e.Metas, takeover.Meta{Position: tlog.Position(pos), Epoch: tlog.Epoch(epoch), Digest: x.digest.hash(), Index: int(x.index)})
	}
	return e
}

// shard answers what is stored of a position to one who found chain so far.
func (t *turn) shard(sv *server, m message, chain *byPosition) takeover.Event {
	e := takeover.ShardRead{Server: int(m.to), Round: int(m.round)}
	if x := &sv.slots[m.position]; x.digest != 0 && !x.rotten {
		prev := t.digests[x.digest].prev
		if t.cfg.Broken == Chain {
			prev = chain[m.position-1]
		}
		e.Good, e.Digest, e.Prev, e.Index = true, x.digest.hash(), prev.hash(), int(x.index)
	}
	return e
}

// store is APPEND.
func (t *turn) store(sv *server, m *message) (o appending.Outcome, index, epoch uint8) {
	if t.cfg.Broken != ExactOwner && (sv.epoch != m.epoch || sv.owner != m.from+1) {
		return appending.Fenced, m.index, sv.epoch
	}
	old := &sv.slots[m.position]
	o, index = appending.Stored, m.index
	switch {
	case old.digest != 0 && old.digest != m.digest && old.epoch >= m.epoch:
		return appending.Conflict, m.index, sv.epoch
	case old.digest == m.digest && !m.replace:
		old.epoch = m.epoch
		if index = old.index; index == m.index {
			break
		}
		if t.cfg.Broken == KeepIndex && m.data {
			old.index, index = m.index, m.index
			break
		}
		o = appending.HasIndex
	case !m.data:
		return appending.NoData, m.index, sv.epoch
	default:
		*old = slot{epoch: m.epoch, digest: m.digest, index: m.index}
	}
	sv.head, sv.commit = max(sv.head, m.position), max(sv.commit, m.commit)
	return o, index, sv.epoch
}

// unanswered tells the sender of a request that there is no answer; unusable:
// that the server is not the one it was.
func (t *turn) unanswered(m message, unusable bool) {
	outcome := appending.Unknown
	if unusable {
		outcome = appending.Unusable
	}
	switch m.kind {
	case kindAppend, kindAppended:
		m.outcome = outcome
		t.replied(m)
	case kindLateFence:
		t.tellLog(int(m.from), appending.FenceReplied{Server: int(m.to), Outcome: outcome})
	case kindFence:
		if t.cfg.Broken == Fencing && !unusable {
			t.logf("  %c takes silence for a yes", 'A'+m.from)
			t.tellFind(int(m.from), t.fenced(&t.s.servers[m.to], m))
			return
		}
		fallthrough
	default:
		t.tellFind(int(m.from), takeover.Failed{Server: int(m.to), Round: int(m.round)})
	}
}
