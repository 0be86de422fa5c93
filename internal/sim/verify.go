package sim

import (
	"fmt"

	"tlog"
	"tlog/internal/core/takeover"
	"tlog/internal/sim/store"
	"tlog/stor"
)

// commit is a position that was acknowledged, and the lowest epoch that did.
type commit struct {
	digest tlog.Hash
	epoch  tlog.Epoch
}

// committed notes that an owner acknowledged a position: two owners never
// acknowledge different ones, and none one that a higher epoch did not find.
func (w *world) committed(epoch tlog.Epoch, pos tlog.Position, a *aggregation) {
	for int(pos) > len(w.commits) {
		w.commits = append(w.commits, commit{})
	}
	c := &w.commits[pos-1]
	switch {
	case c.digest.IsZero():
		*c = commit{a.digest, epoch}
	case c.digest != a.digest:
		w.violatedf("position %d was committed in epochs %d and %d, with different digests", pos, c.epoch, epoch)
	}
	c.epoch = min(c.epoch, epoch)
	w.high = max(w.high, pos)
	for _, t := range w.takeovers {
		if t.epoch > epoch && pos > t.head {
			w.violatedf("position %d was committed in epoch %d, and epoch %d took over behind position %d", pos, epoch, t.epoch, t.head)
		}
	}
}

// taken is a takeover that was completed.
type taken struct {
	epoch tlog.Epoch
	head  tlog.Position
}

// tookOver: a takeover finds every position that a lower epoch committed.
func (w *world) tookOver(epoch tlog.Epoch, v *view) {
	w.takeovers = append(w.takeovers, taken{epoch, v.head})
	for i, c := range w.commits {
		pos := tlog.Position(i + 1)
		if c.digest.IsZero() || c.epoch >= epoch {
			continue
		}
		if d, decided := v.decided(pos); pos > v.head || decided && d != c.digest {
			w.violatedf("the takeover of epoch %d ends at position %d, and lacks position %d, which epoch %d committed", epoch, v.head, pos, c.epoch)
			return
		}
	}
}

// damage is rot in one committed shard of s.
func (w *world) damage(s *shardServer) {
	pos := tlog.Position(1 + w.rng.Uint64N(uint64(w.high)))
	at, gone := w.rng.Uint32(), w.chance(0.2)
	w.logf("%s: the shard of position %d rots, gone %v", s.name, pos, gone)
	w.harm++
	s.store.Damage(pos, func(x store.Shard) store.Shard {
		switch {
		case gone || len(x.Data) == 0:
			x.Data = nil
		default:
			x.Data = append([]byte(nil), x.Data...)
			x.Data[int(at)%len(x.Data)] ^= 1 << (at % 8)
		}
		return x
	})
}

// exchange swaps the values of two positions of s.
func (w *world) exchange(s *shardServer, a uint64) {
	w.logf("%s: the values of positions %d and %d change places", s.name, a, a+1)
	w.harm++
	p, q := tlog.Position(a), tlog.Position(a+1)
	one, _ := s.store.Shard(p)
	two, _ := s.store.Shard(q)
	put := func(b []byte) func(store.Shard) store.Shard {
		return func(x store.Shard) store.Shard { return store.Shard{Meta: x.Meta, Data: b} }
	}
	s.store.Damage(p, put(two))
	s.store.Damage(q, put(one))
}

// inspect restores the log as it would be if the power failed now and some
// shard servers never came back: as many as are covered.
func (w *world) inspect() {
	out := make([]bool, len(w.stores))
	left := w.swarm.pool.losses() - w.bad
	for _, i := range w.rng.Perm(len(w.stores)) {
		s := w.stores[i]
		switch {
		case s.bad && w.chance(0.5):
			out[i] = true
		case !s.bad && left > 0 && w.chance(0.6):
			out[i] = true
			left--
		}
	}
	records, err := w.restore(out)
	w.logf("restored %d records without %v: %v", len(records), out, err)
	switch {
	case err != nil:
		w.violatedf("restore without %v: %w", out, err)
	default:
		w.violated(w.rec.Restored(records))
	}
	if w.extra.on && w.broken == nil {
		w.anyFew()
	}
}

// anyFew restores without any of the servers, more than are covered too: that
// fails, or gives everything. A server that was rolled back swears to an old state,
// so with it there may be no more losses than are covered.
func (w *world) anyFew() {
	out := make([]bool, len(w.stores))
	lost, believed := 0, false
	for i, s := range w.stores {
		out[i] = w.dice.Float64() < 0.35
		if s.bad || out[i] {
			lost++
		}
		believed = believed || s.back && s.bad && !out[i]
	}
	if believed && lost > w.swarm.pool.losses() {
		return
	}
	if records, err := w.restore(out); err == nil {
		w.logf("restored %d records without %v", len(records), out)
		w.violated(w.rec.Restored(records))
	}
}

// tooMany: with more losses than are covered a restore says so; it does not
// give another disk.
func (w *world) tooMany() {
	out := make([]bool, len(w.stores))
	for _, i := range w.rng.Perm(len(out))[:w.swarm.pool.losses()+1] {
		out[i] = true
	}
	if _, err := w.restore(out); err == nil {
		w.violatedf("a restore without %v gives a log", out)
	}
	if w.high == 0 {
		return
	}
	pos := tlog.Position(1 + w.rng.Uint64N(uint64(w.high)))
	for _, s := range w.stores {
		s.store.Damage(pos, func(x store.Shard) store.Shard { return store.Shard{Meta: x.Meta, Data: []byte("rot")} })
	}
	if _, err := w.restore(make([]bool, len(out))); err == nil {
		w.violatedf("a restore gives a log although every shard of position %d is damaged", pos)
	}
}

// reader runs the takeover core as a survey over what the stores hold, all of
// it within one moment.
type reader struct {
	w      *world
	rules  *stor.Manifest
	stores []*store.Store // nil: out of reach
	view   view
	queue  []takeover.Event
	grace  *takeover.GraceOver
}

// restore gives the records of the log.
func (w *world) restore(out []bool) ([]tlog.Record, error) {
	r := &reader{w: w, stores: make([]*store.Store, len(w.stores))}
	for i, s := range w.stores {
		if !out[i] {
			r.stores[i] = s.store.AfterPowerLoss()
		}
	}
	r.rules = newest(w.first, r.stores)
	for i, s := range r.stores {
		if s != nil && s.Cookie() != r.rules.Cookies[i] {
			r.stores[i] = nil
		}
	}
	if err := r.find(); err != nil {
		return nil, err
	}
	return r.records()
}

func (r *reader) find() error {
	m := takeover.New(r.w.takeoverConfig(r.rules, false))
	r.queue = []takeover.Event{takeover.Start{}}
	for {
		if len(r.queue) == 0 {
			if r.grace == nil {
				return fmt.Errorf("the survey hangs")
			}
			r.queue, r.grace = append(r.queue, *r.grace), nil
		}
		e := r.queue[0]
		r.queue = r.queue[1:]
		for _, a := range m.Step(e) {
			switch a := a.(type) {
			case takeover.Done:
				r.view.head = a.Head
				return nil
			case takeover.Halt:
				return fmt.Errorf("halt: reason %d at position %d, have %d, need %d", a.Reason, a.Position, a.Have, a.Need)
			}
			r.do(a)
		}
	}
}

func (r *reader) do(a takeover.Action) {
	switch a := a.(type) {
	case takeover.ReadControl:
		r.ask(a.Server, a.Round, func(s *store.Store) takeover.Event {
			c := s.Control()
			return takeover.ControlRead{Server: a.Server, Round: a.Round, Epoch: c.Epoch, Head: c.Head, Commit: c.Commit}
		})
	case takeover.ReadMetas:
		r.ask(a.Server, a.Round, func(s *store.Store) takeover.Event {
			return takeover.MetasRead{Server: a.Server, Round: a.Round, Metas: coreMetas(s.Metas(a.From, a.To))}
		})
	case takeover.ReadShard:
		r.ask(a.Server, a.Round, func(s *store.Store) takeover.Event {
			e := takeover.ShardRead{Server: a.Server, Round: a.Round}
			b, _ := s.Shard(a.Position)
			if agg, i := r.w.checkShard(b, a.Position); agg != nil {
				e.Good, e.Digest, e.Prev, e.Index = true, agg.digest, agg.prev, i
			}
			return e
		})
	case takeover.StartGrace:
		r.grace = &takeover.GraceOver{Round: a.Round}
	case takeover.Found:
		if len(r.view.found) == 0 {
			r.view.base = a.Position
		}
		r.view.found = append(r.view.found, a.Digest)
	}
}

func (r *reader) ask(slot, round int, f func(*store.Store) takeover.Event) {
	if s := r.stores[slot]; s != nil {
		r.queue = append(r.queue, f(s))
		return
	}
	r.queue = append(r.queue, takeover.Failed{Server: slot, Round: round})
}

// records reads all positions as a player does: each from k good shards, and
// each of the digest that the one behind it names.
func (r *reader) records() ([]tlog.Record, error) {
	k := r.w.swarm.pool.k
	page := make([][]takeover.Meta, len(r.stores))
	for slot, s := range r.stores {
		if s != nil {
			page[slot] = coreMetas(s.Metas(1, r.view.head))
		}
	}
	var records []tlog.Record
	var before tlog.Hash
	for pos := tlog.Position(1); pos <= r.view.head; pos++ {
		c := r.view.pick(page, pos, k)
		if c == nil {
			return nil, fmt.Errorf("position %d: fewer than %d shards are known", pos, k)
		}
		good := map[int]bool{}
		for slot, i := range c.Index {
			if i < 0 {
				continue
			}
			b, _ := r.stores[slot].Shard(pos)
			if a, i := r.w.checkShard(b, pos); a != nil && a.digest == c.Digest {
				good[i] = true
			}
		}
		a := r.w.sealed[c.Digest]
		switch {
		case len(good) < k:
			return nil, fmt.Errorf("position %d: %d good shards", pos, len(good))
		case a.prev != before || !a.verify():
			return nil, fmt.Errorf("position %d does not follow the one before it", pos)
		}
		before = a.digest
		records = append(records, a.records...)
	}
	return records, nil
}
