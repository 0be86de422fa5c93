package sim

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"tlog"
	"tlog/stor"
)

// operator is a person with `tlogctl stores replace`, who may be interrupted.
type operator struct{ process }

func newOperator(w *world) *operator {
	o := &operator{process{w: w, name: "operator", cut: make([]bool, w.swarm.pool.p)}}
	o.pool = newPool(&o.process, w.first)
	return o
}

// members counts the servers that the newest manifest names.
func (w *world) members() int {
	n, m := 0, w.rules()
	for i, s := range w.stores {
		if s.store.Cookie() == m.Cookies[i] {
			n++
		}
	}
	return n
}

// missing counts those that do not vote: wiped, or joining. No more than P − Q
// of them can be replaced.
func (w *world) missing() int {
	n := 0
	for _, s := range w.stores {
		if !w.votes(s) {
			n++
		}
	}
	return n
}

func (w *world) votes(s *shardServer) bool {
	m := w.rules()
	return s.store.Cookie() == m.Cookies[s.slot] && !slices.Contains(m.Joining, s.slot)
}

// room reports whether one more server may be wiped, and all of them replaced.
func (w *world) room() bool {
	m := w.rules()
	return w.missing() < m.P()-m.Q()
}

func (w *world) replaceable() bool {
	m := w.rules()
	return w.extra.replace > 0 && w.missing() <= m.P()-m.Q()
}

// unfinished is a slot whose server is to be replaced, or of which a
// replacement was begun; −1: none.
func (w *world) unfinished() int {
	m, n := w.rules(), 0
	for i, s := range w.stores {
		if s.store.Cookie() != m.Cookies[i] {
			return i
		}
		if reflect.DeepEqual(s.store.Manifest(), m) && !slices.Contains(m.Joining, i) {
			n++
		}
	}
	if n < ruledBy(m) && len(m.Joining) > 0 {
		return m.Joining[0]
	}
	return -1
}

// split reports that two changes were made to the newest version at once, and
// each reached some servers: a person must decide (docs/simulation.md), and
// until then nothing need go on.
func (w *world) split() bool {
	m := w.rules()
	for _, s := range w.stores {
		if o := s.store.Manifest(); o != nil && o.ConfigVersion == m.ConfigVersion && !reflect.DeepEqual(o, m) {
			w.logf("two manifests of version %d", m.ConfigVersion)
			return true
		}
	}
	return false
}

// operate runs the command when there is something to replace.
func (w *world) operate() {
	slot := w.unfinished()
	if w.operator.alive || slot < 0 {
		return
	}
	o := w.operator
	o.alive, o.paused = true, false
	for i := range o.cut {
		o.cut[i] = w.faulty && w.chance(w.extra.cutOperator)
	}
	w.logf("operator replaces the server of slot %d", slot)
	o.replace(slot, func(err error) {
		w.logf("operator is done with slot %d: %v", slot, err)
		if err == nil {
			w.replaced++
		}
		o.kill()
	})
	if w.faulty && w.chance(w.extra.killOperator) {
		life := o.life
		w.at(w.between(0, 10*time.Millisecond), func() {
			if o.life == life {
				w.logf("operator is killed")
				o.kill()
			}
		})
	}
}

// operateUntil runs the command again and again, until the end of the phase.
func (w *world) operateUntil(done func() bool) {
	if w.extra.replace == 0 || done() {
		return
	}
	w.operate()
	w.at(2*time.Second, func() { w.operateUntil(done) })
}

// replace is stor's Open and Replace.
func (o *operator) replace(slot int, done func(error)) {
	q := o.pool
	q.askAll(func(answers []said) {
		m, votes := elect(answers)
		if m == nil {
			done(errors.New("open: no manifest"))
			return
		}
		if votes < ruledBy(m) { // Open finishes it: the oldest is built upon
			for _, a := range answers {
				if a.manifest != nil && a.manifest.ConfigVersion < m.ConfigVersion {
					m = a.manifest
				}
			}
		}
		q.rules = m
		o.complete(func(err error) {
			if err != nil {
				done(err)
				return
			}
			q.scope.ask(slot, doIdentify(), func(r reply) { o.begin(slot, r, done) })
		})
	})
}

// complete finishes a change of the manifest that did not reach enough servers.
func (o *operator) complete(done func(error)) {
	q := o.pool
	q.reload(func() {
		q.askAll(func(answers []said) {
			next, err := begun(answers, q.rules)
			if err != nil {
				done(err)
				return
			}
			if next == nil {
				done(nil)
				return
			}
			q.writeAll(next, func(err error) {
				if err != nil {
					done(err)
					return
				}
				q.reload(func() { done(nil) })
			})
		})
	})
}

// wipeStray is what a person does when told that a new server is not empty: of
// two changes of the manifest at once one may leave a server with a cookie that
// no manifest which rules will ever name.
func (w *world) wipeStray(slot int) {
	if s := w.stores[slot]; !slices.Contains(w.rules().Cookies, s.store.Cookie()) {
		s.wipe()
		s.restart()
	}
}

// begin makes the next manifest, if the server of the slot is empty.
func (o *operator) begin(slot int, r reply, done func(error)) {
	q := o.pool
	rules := q.rules
	switch {
	case r.err != nil:
		done(r.err)
		return
	case r.manifest != nil && r.cookie == rules.Cookies[slot] && slices.Contains(rules.Joining, slot):
		done(nil) // it was done before
		return
	case r.manifest != nil:
		o.w.wipeStray(slot)
		done(errors.New("not empty"))
		return
	}
	next := *rules
	next.Cookies, next.Joining = slices.Clone(rules.Cookies), slices.Clone(rules.Joining)
	next.ConfigVersion++
	next.Cookies[slot] = o.w.uuid()
	if !slices.Contains(next.Joining, slot) {
		next.Joining = append(next.Joining, slot)
		slices.Sort(next.Joining)
	}
	if err := next.Check(); err != nil {
		done(err)
		return
	}
	o.write(slot, &next, done)
}

func (o *operator) write(slot int, next *stor.Manifest, done func(error)) {
	q := o.pool
	q.askAll(func(answers []said) {
		if !writable(answers, next) {
			done(errors.New("too few servers answer"))
			return
		}
		q.init(slot, next.Cookies[slot], next, func(r reply) {
			if r.err != nil {
				done(r.err)
				return
			}
			q.writeAll(next, done)
		})
	})
}

// settle makes servers that joined voters, if every position is claimed by W
// indices and every server answers.
func (q *pool) settle() {
	rules := q.rules
	if len(rules.Joining) == 0 || q.settles {
		return
	}
	q.settles = true
	end := func() { q.settles = false }
	open, bad := rules.P(), false
	for slot := range rules.P() {
		q.probe(q.scope, slot, func(r reply) {
			bad = bad || r.err != nil
			if open--; open > 0 {
				return
			}
			if bad || q.rules != rules {
				end()
				return
			}
			survey(q.scope, func(v *view, err error) {
				if err != nil || v.head == 0 {
					end()
					return
				}
				v.claims(q.scope, 1, v.head, func(places []place, asked int, ok bool) {
					q.settled(rules, places, ok && asked == rules.P(), end)
				})
			})
		})
	}
}

func (q *pool) settled(rules *stor.Manifest, places []place, all bool, end func()) {
	for i := range places {
		all = all && places[i].distinct() >= rules.W
	}
	if !all || q.rules != rules {
		end()
		return
	}
	next := *rules
	next.ConfigVersion++
	next.Joining = nil
	q.p.w.logf("%s ends the joining of %v", q.p.name, rules.Joining)
	q.writeAll(&next, func(err error) { q.reload(end) })
}

// place is what the servers claim of a position.
type place struct {
	digest tlog.Hash
	index  []int // by server: claimed, repair.None, or repair.Unsure
}

func (pl *place) distinct() int {
	n := 0
	for slot, i := range pl.index {
		if i >= 0 && !slices.Contains(pl.index[:slot], i) {
			n++
		}
	}
	return n
}
