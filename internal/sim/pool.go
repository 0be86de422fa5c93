package sim

import (
	"errors"
	"reflect"
	"slices"

	"tlog"
	"tlog/internal/sim/store"
	"tlog/stor"
)

var errChanged = errors.New("the pool's manifest changed meanwhile")

// pool is stor.Pool of one process: by which manifest it goes, and the logs it owns.
type pool struct {
	p       *process
	rules   *stor.Manifest
	scope   *scope // of requests that are nobody's
	bound   []bool // by slot: its server was there when it was looked for
	logs    []*ownedLog
	loading bool
	loaded  []func() // wait for the manifest
	settles bool
}

func newPool(p *process, rules *stor.Manifest) *pool {
	q := &pool{p: p, rules: rules}
	q.crash()
	return q
}

// crash forgets what lives in memory. The next life goes by the same manifest:
// that of a process that learned nothing new when it started.
func (q *pool) crash() {
	q.scope, q.logs, q.loading, q.loaded, q.settles = &scope{p: q.p}, nil, false, nil, false
	q.bound = slices.Repeat([]bool{true}, q.rules.P())
}

// initPool is `stores init`.
func (w *world) initPool() {
	g := w.swarm.pool
	w.first = &stor.Manifest{Pool: tlog.UUID{2}, ConfigVersion: 1, K: g.k, M: g.m, W: g.w, Durability: stor.DurabilityAlways}
	for range w.stores {
		w.first.Cookies = append(w.first.Cookies, w.uuid())
	}
	for i, s := range w.stores {
		s.store = store.New(s.name, tlog.UUID{}, 0)
		if err := s.store.Init(w.first.Cookies[i], w.first); err != nil {
			panic(err)
		}
		s.store.Sync(1)
	}
}

func identity(m *stor.Manifest, slot int) stor.Identity {
	return stor.Identity{Cookie: m.Cookies[slot], ConfigVersion: m.ConfigVersion}
}

// joining is Joining by slot; nil: none.
func joining(m *stor.Manifest) []bool {
	if len(m.Joining) == 0 {
		return nil
	}
	list := make([]bool, m.P())
	for _, slot := range m.Joining {
		list[slot] = true
	}
	return list
}

// newest is the highest manifest that any of the stores holds: the one that
// rules, or will when the change is finished.
func newest(m *stor.Manifest, stores []*store.Store) *stor.Manifest {
	for _, s := range stores {
		if s != nil && s.Manifest() != nil && s.Manifest().ConfigVersion > m.ConfigVersion {
			m = s.Manifest()
		}
	}
	return m
}

// rules is newest of what is there now.
func (w *world) rules() *stor.Manifest {
	var all []*store.Store
	for _, s := range w.stores {
		all = append(all, s.store)
	}
	return newest(w.first, all)
}

func (q *pool) add(l *ownedLog) {
	q.logs = append(q.logs, l)
	if !slices.Equal(q.rules.Cookies, l.rules.Cookies) {
		q.p.at(0, l.abandon)
	}
}

func (q *pool) forget(l *ownedLog) {
	q.logs = slices.DeleteFunc(q.logs, func(o *ownedLog) bool { return o == l })
}

// probe asks the server of a slot who it is, and for owner and hints.
func (q *pool) probe(sc *scope, slot int, done func(reply)) {
	asked := q.rules
	sc.ask(slot, doProbe(identity(asked, slot)), func(r reply) {
		if m := r.manifest; m != nil && m.ConfigVersion > q.rules.ConfigVersion {
			q.reload(func() { done(q.bind(slot, asked, r)) })
			return
		}
		done(q.bind(slot, asked, r))
	})
}

// bind books who a server is.
func (q *pool) bind(slot int, asked *stor.Manifest, r reply) reply {
	var refusal *stor.Refusal
	if r.err != nil && !errors.As(r.err, &refusal) {
		return r
	}
	rules := q.rules
	q.bound[slot] = r.cookie == rules.Cookies[slot]
	switch {
	case !q.bound[slot] || r.manifest.ConfigVersion > rules.ConfigVersion:
		if r.err == nil {
			r.err = errChanged
		}
	case refusal != nil && refusal.Code == stor.OldConfig && rules != asked:
		r.err = nil // it is as new as we are by now
	}
	if q.bound[slot] && r.manifest.ConfigVersion < rules.ConfigVersion {
		q.init(slot, rules.Cookies[slot], rules, func(reply) {})
	}
	return r
}

// said is what one server said of itself; manifest is nil if it said nothing,
// or is empty.
type said struct {
	ok       bool
	cookie   tlog.UUID
	manifest *stor.Manifest
}

func (q *pool) askAll(done func([]said)) {
	answers, open := make([]said, q.rules.P()), q.rules.P()
	for slot := range answers {
		q.scope.ask(slot, doIdentify(), func(r reply) {
			answers[slot] = said{r.err == nil, r.cookie, r.manifest}
			if open--; open == 0 {
				done(answers)
			}
		})
	}
}

func doIdentify() request {
	return request{name: "identify", do: func(s *shardServer) reply {
		if s.mode != 0 && s.mode != stor.Full {
			return reply{err: errLost}
		}
		return reply{cookie: s.store.Cookie(), manifest: s.store.Manifest()}
	}}
}

// init writes a manifest to the server of a slot. What was sent before the server
// was wiped does not reach the one after, and what comes when its sender has
// ended, or given up, is not carried out: its connection is gone.
func (q *pool) init(slot int, cookie tlog.UUID, m *stor.Manifest, done func(reply)) {
	p, life, over := q.p, q.p.life, false
	wipes := p.w.stores[slot].wipes
	do := func(s *shardServer) reply {
		if s.wipes != wipes || over || !p.alive || p.life != life {
			return reply{err: errLost}
		}
		return reply{err: s.store.Init(cookie, m)}
	}
	q.scope.ask(slot, request{name: "init", write: true, script: "init", do: do}, func(r reply) {
		over = true
		done(r)
	})
}

// holders counts the servers of m that hold it, without those that join.
func holders(answers []said, m *stor.Manifest) int {
	n := 0
	for i, a := range answers {
		if a.manifest != nil && reflect.DeepEqual(a.manifest, m) && a.cookie == m.Cookies[i] && !slices.Contains(m.Joining, i) {
			n++
		}
	}
	return n
}

func ruledBy(m *stor.Manifest) int {
	if m.ConfigVersion == 1 {
		return m.R()
	}
	return m.Q()
}

// elect is the one of stor: the newest manifest that enough servers hold, or
// else the one that most do.
func elect(answers []said) (best *stor.Manifest, votes int) {
	for _, a := range answers {
		m := a.manifest
		if m == nil {
			continue
		}
		n := holders(answers, m)
		switch rules, ruled := n >= ruledBy(m), best != nil && votes >= ruledBy(best); {
		case best == nil, rules && !ruled,
			rules && m.ConfigVersion > best.ConfigVersion,
			!rules && !ruled && (n > votes || n == votes && m.ConfigVersion > best.ConfigVersion):
			best, votes = m, n
		}
	}
	return best, votes
}

// reload asks all servers, and goes by the newest manifest that Q of them hold.
// A change that was cut short is finished first.
func (q *pool) reload(done func()) {
	q.loaded = append(q.loaded, done)
	if q.loading {
		return
	}
	q.loading = true
	end := func(answers []said) {
		q.loading = false
		if m, votes := elect(answers); m != nil && m.ConfigVersion > q.rules.ConfigVersion && votes >= m.Q() {
			q.adopt(m, answers)
		}
		waiting := q.loaded
		q.loaded = nil
		for _, f := range waiting {
			f()
		}
	}
	q.askAll(func(answers []said) {
		next, err := unfinished(answers)
		if err != nil || next == nil || next.ConfigVersion <= q.rules.ConfigVersion || !writable(answers, next) {
			end(answers)
			return
		}
		q.p.w.logf("%s finishes the change to version %d of the manifest", q.p.name, next.ConfigVersion)
		q.writeAll(next, func(error) { q.askAll(end) })
	})
}

// unfinished is the manifest of a change that reached some voters and not
// enough to rule; nil if there is none.
func unfinished(answers []said) (*stor.Manifest, error) {
	old, votes := elect(answers)
	if old == nil {
		return nil, nil
	}
	if votes < ruledBy(old) {
		for _, a := range answers {
			if a.manifest != nil && a.manifest.ConfigVersion < old.ConfigVersion {
				old = a.manifest
			}
		}
	}
	next, err := begun(answers, old)
	if next == nil || holders(answers, next) == 0 {
		return nil, err
	}
	return next, err
}

// begun is the newest manifest after rules that a server knows; nil if there is none.
func begun(answers []said, rules *stor.Manifest) (*stor.Manifest, error) {
	var next *stor.Manifest
	for _, a := range answers {
		m := a.manifest
		switch {
		case m == nil || m.ConfigVersion <= rules.ConfigVersion:
		case next == nil || m.ConfigVersion > next.ConfigVersion:
			next = m
		case m.ConfigVersion == next.ConfigVersion && !reflect.DeepEqual(m, next):
			return nil, errors.New("two changes were made at once")
		}
	}
	return next, nil
}

// writable reports whether m can come to rule.
func writable(answers []said, m *stor.Manifest) bool {
	n := 0
	for i, a := range answers {
		if a.manifest != nil && a.cookie == m.Cookies[i] && !slices.Contains(m.Joining, i) {
			n++
		}
	}
	return n >= m.Q()
}

func (q *pool) reloadSoon() {
	if !q.loading {
		q.reload(func() {})
	}
}

// adopt goes by m from now on; logs that count on a server that was replaced end.
func (q *pool) adopt(m *stor.Manifest, answers []said) {
	moved := !slices.Equal(q.rules.Cookies, m.Cookies)
	q.p.w.logf("%s goes by version %d of the manifest, joining %v", q.p.name, m.ConfigVersion, m.Joining)
	q.rules = m
	for i, a := range answers {
		q.bound[i] = a.ok && a.cookie == m.Cookies[i]
	}
	for _, l := range slices.Clone(q.logs) {
		if moved {
			l.abandon()
		} else {
			l.rules = m
		}
	}
}

// writeAll writes m to every server that is part of it; Q must take it.
func (q *pool) writeAll(m *stor.Manifest, done func(error)) {
	q.askAll(func(answers []said) {
		open, n := 1, 0
		settle := func() {
			if open--; open > 0 {
				return
			}
			if n < m.Q() {
				done(errors.New("too few servers hold the new manifest"))
				return
			}
			done(nil)
		}
		for slot, a := range answers {
			if a.manifest == nil || a.cookie != m.Cookies[slot] {
				continue
			}
			open++
			q.init(slot, a.cookie, m, func(r reply) {
				if r.err == nil && !slices.Contains(m.Joining, slot) {
					n++
				}
				settle()
			})
		}
		settle()
	})
}
