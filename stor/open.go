package stor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"tlog"
)

// ErrNotEmpty says that Init found servers that hold something already.
var ErrNotEmpty = fmt.Errorf("%w: not empty", ErrConfig)

// answer is what one server said of itself.
type answer struct {
	cookie   tlog.UUID
	manifest *Manifest
	err      error
}

func (a *answer) empty() bool { return errors.Is(a.err, ErrEmpty) }

// Init mints a manifest and cookies and writes them to servers, which must all
// answer and be empty. An Init that was interrupted is finished: as long as no
// server knows a vdisk, the empty ones get the cookies that are left.
func Init(ctx context.Context, cfg Config, servers []Server) (*Manifest, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	answers := askAll(ctx, servers)
	for i := range answers {
		if a := &answers[i]; a.err != nil && !a.empty() {
			return nil, tlog.Unavailablef("stor: init: %s: every server must answer: %w", servers[i].Name(), a.err)
		}
	}
	m, err := interrupted(ctx, servers, answers)
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		m, err = newManifest(&cfg, len(servers))
	default:
		err = m.agrees(&cfg)
	}
	if err != nil {
		return nil, err
	}
	return m, writeManifest(ctx, m, servers, answers)
}

// interrupted returns the manifest of an Init that did not reach every server;
// nil if none has begun. Every server has answered, or is empty.
func interrupted(ctx context.Context, servers []Server, answers []answer) (*Manifest, error) {
	var m *Manifest
	empty := 0
	for i := range answers {
		a := &answers[i]
		if a.empty() {
			empty++
			continue
		}
		vdisks, err := servers[i].Vdisks(ctx)
		switch {
		case err != nil:
			return nil, tlog.Unavailablef("stor: init: %s: %w", servers[i].Name(), err)
		case len(vdisks) > 0:
			return nil, fmt.Errorf("stor: init: %s: %w: it holds %d vdisks of pool %v", servers[i].Name(), ErrNotEmpty, len(vdisks), a.manifest.Pool)
		case m != nil && !m.equal(a.manifest), a.manifest.P() != len(servers), a.manifest.ConfigVersion != 1:
			return nil, fmt.Errorf("stor: init: %s: %w: it belongs to pool %v", servers[i].Name(), ErrNotEmpty, a.manifest.Pool)
		}
		m = a.manifest
	}
	if m != nil && empty == 0 {
		return nil, fmt.Errorf("stor: init: %w: pool %v is initialised", ErrNotEmpty, m.Pool)
	}
	return m, nil
}

// writeManifest gives every empty server a cookie that none has.
func writeManifest(ctx context.Context, m *Manifest, servers []Server, answers []answer) error {
	taken := map[tlog.UUID]bool{}
	for _, a := range answers {
		taken[a.cookie] = a.err == nil
	}
	next := 0
	for i, s := range servers {
		if !answers[i].empty() {
			continue
		}
		for taken[m.Cookies[next]] {
			next++
		}
		if err := s.Init(ctx, m.Cookies[next], m); err != nil {
			return tlog.Unavailablef("stor: init: %s: %w; run it again to finish", s.Name(), err)
		}
		next++
	}
	return nil
}

func askAll(ctx context.Context, servers []Server) []answer {
	answers := make([]answer, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
			defer cancel()
			a := &answers[i]
			a.cookie, a.manifest, a.err = s.Identify(ctx)
			if a.err == nil && a.manifest == nil {
				a.err = fmt.Errorf("stor: %s: a cookie without a manifest", s.Name())
			}
			if a.err == nil {
				a.err = a.manifest.Check()
			}
		})
	}
	wg.Wait()
	return answers
}

// Open identifies the servers, finds the manifest that R of them hold, checks
// cfg against it, and puts each server in its slot; the order of servers does
// not matter. Servers that do not answer, or are empty (amnesia) or unfit, are
// listed in Pool.Status and are not voters until they are there and are who they
// should be; fewer than R voters is an error of class tlog.Unavailable.
// All servers empty, or an Init was interrupted: ErrEmpty. A change of the
// manifest that was cut short is finished first, unless cfg.ReadOnly. The pool
// closes the servers, also when Open fails.
func Open(ctx context.Context, cfg Config, servers []Server) (*Pool, error) {
	p, err := open(ctx, cfg, servers)
	if err != nil {
		for _, s := range servers {
			s.Close() //nolint:errcheck // the first error is the one that matters
		}
		return nil, err
	}
	return p, nil
}

func open(ctx context.Context, cfg Config, servers []Server) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	answers := askAll(ctx, servers)
	if !cfg.ReadOnly {
		answers = finish(ctx, &cfg, servers, answers)
	}
	m, err := ruling(ctx, servers, answers)
	if err != nil {
		return nil, err
	}
	if err := m.agrees(&cfg); err != nil {
		return nil, err
	}
	if len(servers) > m.P() {
		return nil, fmt.Errorf("stor: pool %v: %w: it has %d servers, %d are listed", m.Pool, ErrConfig, m.P(), len(servers))
	}
	p, err := newPool(cfg, m, servers)
	if err != nil {
		return nil, err
	}
	if err := p.bindAll(answers); err != nil {
		p.Close() //nolint:errcheck // see Open
		return nil, err
	}
	return p, nil
}

// ruling finds the manifest that R servers hold.
func ruling(ctx context.Context, servers []Server, answers []answer) (*Manifest, error) {
	empty, silent := 0, 0
	for i := range answers {
		switch a := &answers[i]; {
		case a.empty():
			empty++
		case a.err != nil:
			silent++
		}
	}
	best, votes := elect(answers)
	switch {
	case best == nil && silent == 0:
		return nil, fmt.Errorf("stor: pool: %w", ErrEmpty)
	case best == nil:
		return nil, tlog.Unavailablef("stor: pool: no initialised shard server answers: %w", joinErrors(servers, answers))
	case empty > 0 && silent == 0 && votes+empty == best.P() && len(servers) == best.P():
		if m, err := interrupted(ctx, servers, answers); err == nil && m != nil {
			return nil, fmt.Errorf("stor: pool %v: its initialisation was interrupted: %w", best.Pool, ErrEmpty)
		}
	}
	if votes < best.ruledBy() {
		if _, err := unfinished(answers); err != nil {
			return nil, err
		}
		if older := slices.ContainsFunc(answers, func(a answer) bool { return a.err == nil && a.manifest.ConfigVersion != best.ConfigVersion }); older {
			return nil, tlog.Unavailablef("stor: pool %v: a change of its manifest was begun and not finished: %d of %d servers hold version %d, %d are needed; a server that starts, or tlogctl stores replace, finishes it: %w", best.Pool, votes, best.P(), best.ConfigVersion, best.ruledBy(), joinErrors(servers, answers))
		}
		return nil, tlog.Unavailablef("stor: pool %v: %d of %d shard servers hold its manifest, %d are needed: %w", best.Pool, votes, best.P(), best.ruledBy(), joinErrors(servers, answers))
	}
	return best, nil
}

// elect finds the newest manifest that enough servers hold, or else the one
// that most do; nil if there is none. With it comes how many hold it.
func elect(answers []answer) (best *Manifest, votes int) {
	for i := range answers {
		m := answers[i].manifest
		if answers[i].err != nil {
			continue
		}
		n := holders(answers, m)
		switch rules, ruled := n >= m.ruledBy(), best != nil && votes >= best.ruledBy(); {
		case best == nil, rules && !ruled,
			rules && m.ConfigVersion > best.ConfigVersion,
			!rules && !ruled && (n > votes || n == votes && m.ConfigVersion > best.ConfigVersion):
			best, votes = m, n
		}
	}
	return best, votes
}

// holders counts the servers of m that hold it, without those that join.
func holders(answers []answer, m *Manifest) int {
	n := 0
	for i := range answers {
		a := &answers[i]
		if a.err != nil || !a.manifest.equal(m) {
			continue
		}
		if slot := slices.Index(m.Cookies, a.cookie); slot >= 0 && !slices.Contains(m.Joining, slot) {
			n++
		}
	}
	return n
}

func joinErrors(servers []Server, answers []answer) error {
	var errs []error
	for i := range answers {
		if err := answers[i].err; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", servers[i].Name(), err))
		}
	}
	return because(errs)
}

// bindAll puts the servers that answered in their slots. A store that is
// listed twice is a mistake that would count it twice: nothing starts.
func (p *Pool) bindAll(answers []answer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	bound := 0
	for i, a := range p.agents {
		a.err = answers[i].err
		if a.err != nil {
			continue
		}
		for j := range i {
			if answers[j].err == nil && answers[j].cookie == answers[i].cookie {
				return p.bind(a, answers[i].cookie, answers[i].manifest)
			}
		}
		if a.err = p.bind(a, answers[i].cookie, answers[i].manifest); a.err == nil && !slices.Contains(p.rules.Load().Joining, a.slot) {
			bound++
		}
	}
	if bound < p.manifest.R() {
		var errs []error
		for _, a := range p.agents {
			errs = append(errs, a.err)
		}
		return tlog.Unavailablef("stor: pool %v: %d of %d shard servers vote, %d are needed: %w", p.manifest.Pool, bound, p.manifest.P(), p.manifest.R(), because(errs))
	}
	for _, a := range p.agents {
		if a.err != nil {
			p.cfg.Logger.Warn("shard server does not vote", "server", a.server.Name(), "error", a.err)
		}
	}
	return nil
}
