package sim

import (
	"slices"
	"time"

	"tlog"
	"tlog/internal/core/repair"
	"tlog/internal/sim/store"
	"tlog/stor"
)

// distinct counts the good indices of a committed position on some servers, each
// claimed by who holds it.
func (w *world) distinct(pos tlog.Position, stores []*store.Store) int {
	good := map[int]bool{}
	for _, s := range stores {
		if index := w.holds(s, pos); index >= 0 {
			good[index] = true
		}
	}
	return len(good)
}

// voters are the stores that the newest manifest names; after: as they would be
// after a power loss.
func (w *world) voters(after bool) []*store.Store {
	var list []*store.Store
	m := w.rules()
	for i, s := range w.stores {
		switch {
		case s.store.Cookie() != m.Cookies[i]:
		case after:
			list = append(list, s.store.AfterPowerLoss())
		default:
			list = append(list, s.store)
		}
	}
	return list
}

// holds is the index of a committed position that a store holds well; −1: none.
func (w *world) holds(s *store.Store, pos tlog.Position) int {
	b, _ := s.Shard(pos)
	a, index := w.checkShard(b, pos)
	claims := s.Metas(pos, pos)
	if a == nil || len(claims) == 0 || a.digest != w.commits[pos-1].digest || claims[0].Digest != a.digest || claims[0].Index != index {
		return -1
	}
	return index
}

// repairs checks what an owner is about to write.
func (w *world) repairs(l *ownedLog, a repair.Write, k *look) {
	w.logf("%s epoch %d repairs position %d: index %d on server %d, replace %v", l.p.name, l.owner.Epoch, a.Position, a.Index, a.Server, a.Replace)
	if a.Position > w.high {
		w.violatedf("%s: epoch %d repairs position %d, which nobody committed", l.p.name, l.owner.Epoch, a.Position)
		return
	}
	if d := w.commits[a.Position-1].digest; d != k.digest {
		w.violatedf("%s: epoch %d repairs position %d as %v, and %v was committed", l.p.name, l.owner.Epoch, a.Position, k.digest, d)
	}
}

// doRepair is an append whose effect is watched: it is of the log's owner,
// leaves a position that can be read readable, and, if nothing else was lost since
// the pass began, no index fewer than there were.
func doRepair(r *stor.AppendRequest, harm int) request {
	q := doAppend(r)
	do := q.do
	q.do = func(s *shardServer) reply {
		w, held := s.w, s.store.Control().Owner
		had := w.distinct(r.Position, w.voters(false))
		answer := do(s)
		switch have := w.distinct(r.Position, w.voters(false)); {
		case answer.err == nil && held != r.Owner:
			w.violatedf("%s takes a repair of epoch %d, and belongs to epoch %d", s.name, r.Owner.Epoch, held.Epoch)
		case have < had && (have < w.swarm.pool.k || w.harm == harm):
			w.violatedf("a repair of position %d on %s leaves %d of %d good shards", r.Position, s.name, have, had)
		}
		return answer
	}
	return q
}

// passed: a deep pass that found, or made, everything whole makes good what was
// lost: other servers may be lost from now on.
func (w *world) passed(ps *pass) {
	if !ps.deep || w.broken != nil {
		return
	}
	w.lastPass = ps
	m := w.rules()
	if ps.view.head < ps.high || ps.short > 0 || ps.lost > 0 || w.harm != ps.harm || w.members() < m.P() || len(m.Joining) > 0 || !sameRules(ps.log.p.pool.rules, m) {
		return
	}
	voters := w.voters(true)
	for pos := tlog.Position(1); pos <= ps.view.head; pos++ {
		if n := w.distinct(pos, voters); n < m.N() {
			w.violatedf("a pass of epoch %d found everything whole, and position %d has %d good shards", ps.log.owner.Epoch, pos, n)
			return
		}
	}
	for _, s := range w.stores {
		if s.bad {
			s.bad = false
			w.regained++
		}
	}
	if w.bad > 0 {
		w.logf("everything is repaired: %d losses are made good", w.bad)
	}
	w.bad = 0
}

// sameRules: two may have made the same change of the manifest, each its own.
func sameRules(a, b *stor.Manifest) bool {
	return a.ConfigVersion == b.ConfigVersion && slices.Equal(a.Cookies, b.Cookies) && slices.Equal(a.Joining, b.Joining)
}

// mend: the faults have stopped, and all servers answer. Passes bring every
// committed position back to n good shards; servers that were wiped and cannot
// be replaced are waited for.
func (w *world) mend() {
	if !w.extra.repair || w.broken != nil || !w.writable() {
		return
	}
	began, full := w.now, w.replaceable()
	done := func() bool {
		ps := w.lastPass
		switch {
		case ps == nil || ps.began < began || ps.view.head < ps.high || ps.high < w.high || ps.harm != w.harm:
			return false
		case full:
			return ps.short == 0 && w.bad == 0
		}
		return true
	}
	w.operateUntil(func() bool { return w.broken != nil || w.faulty || done() || !full })
	w.attend(0, done)
	whole := w.run(mendTime, done)
	if !whole && w.broken == nil && !w.split() {
		w.violatedf("%v after everything was durable not everything is repaired", mendTime)
	}
	if w.broken != nil || !whole {
		return
	}
	voters := w.voters(true)
	lack := len(w.stores) - len(voters)
	for pos := tlog.Position(1); pos <= w.high; pos++ {
		if n := w.distinct(pos, voters); n < w.swarm.pool.n()-lack {
			w.violatedf("everything is repaired, %d servers are lost, and position %d has %d good shards", lack, pos, n)
			return
		}
	}
	w.inspect()
}

// attend sees to it that some client has the vdisk open, so that it is owned,
// also when the one that was left lost it to another as the log was taken over
// anew. Now and then it flushes: an owner that is not the last one, and has nothing
// to do, does not know.
func (w *world) attend(round int, done func() bool) {
	if w.broken != nil || w.faulty || done() {
		return
	}
	if w.idle() == nil {
		w.newestClient()
	}
	for _, c := range w.clients {
		if round%8 == 7 && c.alive && !c.done && c.everAttached() {
			c.flush()
		}
	}
	w.at(5*time.Second, func() { w.attend(round+1, done) })
}

const mendTime = 4 * time.Minute
