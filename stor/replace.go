package stor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"tlog"
	"tlog/internal/failpoint"
)

var (
	errReplaced = errors.New("a shard server of the pool was replaced; take over again")
	errChanged  = tlog.Unavailablef("stor: the pool's manifest changed meanwhile; try again")
)

// abandon ends a log whose servers are not the pool's any more.
func (l *Log) abandon() {
	l.mu.Lock()
	l.outdated = true
	l.mu.Unlock()
	l.Close()
}

// forget lets go of a log that is dead.
func (p *Pool) forget(l *Log) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.logs, l)
}

// outdated reports whether a server knows a newer manifest of this pool.
func (p *Pool) outdated(m *Manifest) bool {
	rules := p.rules.Load()
	return rules.sameShape(m) && m.ConfigVersion > rules.ConfigVersion
}

// reload asks all servers for their manifests and goes by the newest one that
// rules. That one server knows a newer one is not enough: until Q do, somebody
// may still go by the old one. A change that was cut short is finished first.
func (p *Pool) reload(ctx context.Context) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	servers := p.servers()
	answers := askAll(ctx, servers)
	if !p.cfg.ReadOnly {
		answers = finish(ctx, &p.cfg, servers, answers)
	}
	m, votes := elect(answers)
	if m == nil || !p.outdated(m) || votes < m.Q() || m.Check() != nil {
		return
	}
	p.adopt(m.clone(), answers)
}

// reloadSoon is reload beside the caller, unless one runs already.
func (p *Pool) reloadSoon() {
	if !p.reloading.TryLock() {
		return
	}
	p.reloading.Unlock()
	p.start(func() {
		ctx, cancel := context.WithTimeout(p.ctx, 4*identifyTimeout)
		defer cancel()
		p.reload(ctx)
	})
}

// adopt goes by m from now on: every server is put in its slot anew, and logs
// that count on a server that was replaced end. p.reloading is held.
func (p *Pool) adopt(m *Manifest, answers []answer) {
	failpoint.Here("pool.reload")
	p.mu.Lock()
	moved := !slices.Equal(p.rules.Load().Cookies, m.Cookies)
	p.rules.Store(m)
	for _, a := range p.agents {
		p.unbind(a)
	}
	for i, a := range p.agents {
		if a.err = answers[i].err; a.err == nil {
			a.err = p.bind(a, answers[i].cookie, answers[i].manifest)
		}
	}
	var ended []*Log
	for l := range p.logs {
		if moved {
			ended = append(ended, l)
		} else {
			l.rules.Store(m)
		}
	}
	p.mu.Unlock()
	p.cfg.Logger.Info("the pool's manifest changed", "version", m.ConfigVersion, "joining", m.Joining)
	for _, l := range ended {
		l.abandon()
	}
}

// inform gives a server that was away the manifest that rules.
func (p *Pool) inform(a *agent, m *Manifest) {
	ctx, cancel := context.WithTimeout(p.ctx, identifyTimeout)
	defer cancel()
	p.mu.Lock()
	slot := a.slot
	p.mu.Unlock()
	if slot >= 0 && !p.cfg.ReadOnly {
		a.server.Init(ctx, m.Cookies[slot], m) //nolint:errcheck // the next look at it tries again
	}
}

// Replace gives a slot to fresh, an empty server, for good: it gets a cookie
// of its own, and the manifest of the next version is written to all servers of
// the pool. Whoever writes learns of it from their refusals. fresh may be one
// of the pool's servers, if it was wiped; else it stays the caller's.
//
// The new manifest rules when Q servers hold it; the new server does not vote
// until everything was repaired and Settle has said so. Interrupted, or with
// too few servers, the error is of class tlog.Unavailable: do it again. Once
// another server than the new one was told, whoever writes to the pool finishes
// it too. The pool itself goes on by the manifest that it had until it meets the new one.
func (p *Pool) Replace(ctx context.Context, slot int, fresh Server) (*Manifest, error) {
	if err := p.completeChange(ctx); err != nil {
		return nil, err
	}
	rules := p.rules.Load()
	if slot < 0 || slot >= rules.P() {
		return nil, fmt.Errorf("stor: replace: %w: slots are 0 to %d", ErrConfig, rules.P()-1)
	}
	cookie, held, err := fresh.Identify(ctx)
	switch {
	case err == nil && slices.Index(rules.Cookies, cookie) == slot && slices.Contains(rules.Joining, slot):
		return rules.clone(), nil // it was done before
	case err == nil:
		return nil, fmt.Errorf("stor: replace: %s: %w: it belongs to pool %v; a new server is empty", fresh.Name(), ErrNotEmpty, held.Pool)
	case !errors.Is(err, ErrEmpty):
		return nil, tlog.Unavailablef("stor: replace: %s: %w", fresh.Name(), err)
	}
	next := rules.clone()
	next.ConfigVersion++
	if next.Cookies[slot], err = newUUID(p.cfg.Random); err != nil {
		return nil, err
	}
	if !slices.Contains(next.Joining, slot) {
		next.Joining = append(next.Joining, slot)
		slices.Sort(next.Joining)
	}
	if err := next.Check(); err != nil {
		return nil, fmt.Errorf("stor: replace: too many servers at once: %w", err)
	}
	servers := p.servers()
	if err := writable(servers, askAll(ctx, servers), next); err != nil {
		return nil, err
	}
	if err := fresh.Init(ctx, next.Cookies[slot], next); err != nil {
		return nil, tlog.Unavailablef("stor: replace: %s: %w", fresh.Name(), err)
	}
	failpoint.Here("pool.fresh")
	return next, writeAll(ctx, p.servers(), next)
}

// completeChange finishes a change of the manifest that did not reach enough
// servers, so that the next one is built on it.
func (p *Pool) completeChange(ctx context.Context) error {
	p.reload(ctx)
	servers := p.servers()
	next, err := begun(askAll(ctx, servers), p.rules.Load())
	if err != nil {
		return err
	}
	if next == nil {
		return nil
	}
	if err := writeAll(ctx, servers, next); err != nil {
		return err
	}
	p.reload(ctx)
	return nil
}

// begun is the newest manifest after rules that a server knows; nil if there is none.
func begun(answers []answer, rules *Manifest) (*Manifest, error) {
	var next *Manifest
	for i := range answers {
		m := answers[i].manifest
		if answers[i].err != nil || !rules.sameShape(m) || m.ConfigVersion <= rules.ConfigVersion {
			continue
		}
		switch {
		case next == nil || m.ConfigVersion > next.ConfigVersion:
			next = m
		case m.ConfigVersion == next.ConfigVersion && !m.equal(next):
			return nil, tlog.Unavailablef("stor: two changes of the manifest to version %d were made at once, and neither reached %d servers; wipe the new server of one of them and run this again with the other", m.ConfigVersion, m.Q())
		}
	}
	return next, nil
}

// unfinished is the manifest of a change that reached some voters and not
// enough to rule; nil if there is none. They take nothing any more from who
// goes by the old one, so that it may have too few servers to write to, or
// not rule either. The change can only be finished: who holds the new one takes
// no older one. That of two changes at once the other may still come to rule, Q
// prevents.
func unfinished(answers []answer) (*Manifest, error) {
	old, votes := elect(answers)
	if old == nil {
		return nil, nil
	}
	if votes < old.ruledBy() {
		for i := range answers { // the oldest: elect names the one that most hold
			if m := answers[i].manifest; answers[i].err == nil && m.sameShape(old) && m.ConfigVersion < old.ConfigVersion {
				old = m
			}
		}
	}
	next, err := begun(answers, old)
	if next == nil || holders(answers, next) == 0 {
		return nil, err
	}
	return next, err
}

// finish writes the manifest of an unfinished change to the servers that do
// not hold it yet, and asks them all again. If Q of them do not answer it changes
// nothing, and logs that. Whoever does the same meanwhile is not in the way.
func finish(ctx context.Context, cfg *Config, servers []Server, answers []answer) []answer {
	next, err := unfinished(answers)
	if next == nil && err == nil {
		return answers
	}
	if err == nil {
		err = writable(servers, answers, next)
	}
	if err == nil {
		err = writeAll(ctx, servers, next)
	}
	if err != nil {
		cfg.Logger.Warn("a change of the pool's manifest was begun, and cannot be finished yet", "error", err)
		return answers
	}
	cfg.Logger.Info("finished a change of the pool's manifest", "version", next.ConfigVersion, "joining", next.Joining)
	return askAll(ctx, servers)
}

func (p *Pool) servers() []Server {
	var list []Server
	for _, a := range p.listed() {
		list = append(list, a.server)
	}
	return list
}

// Listed is the server that was listed under a name, or nil; it stays the pool's.
func (p *Pool) Listed(name string) Server {
	for _, a := range p.listed() {
		if a.server.Name() == name {
			return a.server
		}
	}
	return nil
}

// writable makes sure, before anything is written, that m can come to rule.
func writable(servers []Server, answers []answer, m *Manifest) error {
	n := 0
	for i := range answers {
		if slot := slices.Index(m.Cookies, answers[i].cookie); answers[i].err == nil && slot >= 0 && !slices.Contains(m.Joining, slot) {
			n++
		}
	}
	if n < m.Q() {
		return tlog.Unavailablef("stor: pool %v: %d of its other servers answer, %d are needed to change the manifest: %w", m.Pool, n, m.Q(), joinErrors(servers, answers))
	}
	return nil
}

// writeAll writes m to every server that is part of it; Q must take it.
func writeAll(ctx context.Context, servers []Server, m *Manifest) error {
	answers := askAll(ctx, servers)
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		if answers[i].err != nil || slices.Index(m.Cookies, answers[i].cookie) < 0 {
			errs[i] = answers[i].err
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			errs[i] = s.Init(ctx, answers[i].cookie, m)
			failpoint.Here("pool.told")
		})
	}
	wg.Wait()
	n := 0
	for i := range servers {
		slot := slices.Index(m.Cookies, answers[i].cookie)
		if errs[i] == nil && answers[i].err == nil && slot >= 0 && !slices.Contains(m.Joining, slot) {
			n++
		}
	}
	if n < m.Q() {
		return tlog.Unavailablef("stor: pool %v: %d servers hold version %d of the manifest, %d are needed; run this again: %w", m.Pool, n, m.ConfigVersion, m.Q(), because(errs))
	}
	return nil
}

// Joining reports whether some server of the pool does not vote yet because it
// took another's place.
func (p *Pool) Joining() bool { return len(p.rules.Load().Joining) > 0 }

// Settle makes servers that joined full voters, if every position of every
// vdisk has W distinct shards on the servers as they are now. It needs all
// servers of the pool: one that is silent may hold a position that nobody else
// claims often enough. nil, and Joining still true: a log is not repaired yet,
// and the UUID is its vdisk's.
func (p *Pool) Settle(ctx context.Context) (tlog.UUID, error) {
	rules := p.rules.Load()
	if len(rules.Joining) == 0 {
		return tlog.UUID{}, nil
	}
	for slot := range rules.P() {
		if _, err := p.probe(ctx, slot); err != nil {
			return tlog.UUID{}, tlog.Unavailablef("stor: settle: every server must answer: %w", err)
		}
	}
	vdisks, err := p.Vdisks(ctx)
	if err != nil {
		return tlog.UUID{}, err
	}
	for _, id := range vdisks {
		whole, err := p.whole(ctx, id)
		if err != nil {
			return id, err
		}
		if !whole {
			return id, nil
		}
	}
	if p.rules.Load() != rules {
		return tlog.UUID{}, errChanged
	}
	next := rules.clone()
	next.ConfigVersion++
	next.Joining = nil
	if err := writeAll(ctx, p.servers(), next); err != nil {
		return tlog.UUID{}, err
	}
	p.reload(ctx)
	return tlog.UUID{}, nil
}

// whole reports whether every position of a log is claimed by W indices, every
// server having answered.
func (p *Pool) whole(ctx context.Context, vdisk tlog.UUID) (bool, error) {
	v, err := p.Survey(ctx, vdisk)
	if err != nil {
		return false, err
	}
	for first := tlog.Position(1); first <= v.head; first += pageSize {
		pg, err := v.page(ctx, uint64(first-1)/pageSize)
		if err != nil {
			return false, err
		}
		if pg.asked < p.manifest.P() {
			return false, tlog.Unavailablef("stor: settle: every server must answer: %w", pg.why)
		}
		for i := range pg.places {
			if pg.places[i].distinct() < p.manifest.W {
				return false, nil
			}
		}
	}
	return true, nil
}

// distinct is how many indices are claimed.
func (pl *place) distinct() int {
	n := 0
	for slot, i := range pl.index {
		if i >= 0 && !slices.Contains(pl.index[:slot], i) {
			n++
		}
	}
	return n
}
