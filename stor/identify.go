package stor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"tlog"
)

// identifying is one Identify that several wait for.
type identifying struct {
	done chan struct{}
	err  error
}

// identify asks a server who it is and books the answer: whether it may vote,
// and in which slot. Callers that come while it runs share the answer, unless
// it is a failure: that may be one of before they came.
func (p *Pool) identify(ctx context.Context, a *agent) error {
	joined, err := p.identifyOnce(ctx, a)
	if joined && err != nil && ctx.Err() == nil {
		_, err = p.identifyOnce(ctx, a)
	}
	return err
}

func (p *Pool) identifyOnce(ctx context.Context, a *agent) (joined bool, err error) {
	p.mu.Lock()
	f := a.flight
	if joined = f != nil; !joined {
		f = &identifying{done: make(chan struct{})}
		a.flight = f
		if !p.spawn(func() { p.identifyNow(a, f) }) {
			a.flight = nil
			p.mu.Unlock()
			return false, errClosed
		}
	}
	p.mu.Unlock()
	select {
	case <-f.done:
		return joined, f.err
	case <-ctx.Done():
		return joined, ctx.Err()
	}
}

func (p *Pool) identifyNow(a *agent, f *identifying) {
	ctx, cancel := context.WithTimeout(p.ctx, identifyTimeout)
	defer cancel()
	cookie, m, err := a.server.Identify(ctx)
	if err == nil && p.outdated(m) {
		p.reload(ctx)
	}
	p.mu.Lock()
	if a.gone {
		err = errClosed
	} else if err == nil {
		err = p.bind(a, cookie, m)
	} else if errors.Is(err, ErrEmpty) {
		p.unbind(a)
		err = fmt.Errorf("stor: %s: empty although its pool is initialised: it lost its data, or is another server; it does not vote until it is replaced: %w", a.server.Name(), err)
	}
	a.err = err
	a.flight, f.err = nil, err
	p.mu.Unlock()
	close(f.done)
}

// bind puts an initialised server in the slot that its cookie names. p.mu is held.
func (p *Pool) bind(a *agent, cookie tlog.UUID, m *Manifest) error {
	name := a.server.Name()
	rules := p.rules.Load()
	slot := slices.Index(rules.Cookies, cookie)
	switch {
	case m.Pool != p.manifest.Pool:
		p.unbind(a)
		return fmt.Errorf("stor: %s: %w: it belongs to pool %v, not to %v", name, ErrConfig, m.Pool, p.manifest.Pool)
	case m.ConfigVersion > rules.ConfigVersion:
		return fmt.Errorf("stor: %s: %w: it knows version %d of the pool's manifest, and %d of the servers do not hold that yet; a server that starts, or tlogctl stores replace, finishes the change", name, ErrConfig, m.ConfigVersion, rules.Q())
	case slot < 0:
		p.unbind(a)
		return fmt.Errorf("stor: %s: %w: it was initialised anew or removed: no slot of the pool has its cookie", name, ErrConfig)
	case m.ConfigVersion == rules.ConfigVersion && !m.equal(rules):
		return fmt.Errorf("stor: %s: %w: its manifest differs from the pool's of the same version", name, ErrConfig)
	case p.slots[slot] != nil && p.slots[slot] != a:
		return fmt.Errorf("stor: %s: %w: it is the same store as %s; each server is to be listed once", name, ErrConfig, p.slots[slot].server.Name())
	}
	p.unbind(a)
	a.slot = slot
	p.slots[slot] = a
	if m.ConfigVersion < rules.ConfigVersion {
		p.spawn(func() { p.inform(a, rules) })
	}
	return nil
}

// unbind takes a server out of its slot. p.mu is held.
func (p *Pool) unbind(a *agent) {
	if a.slot >= 0 {
		p.slots[a.slot] = nil
		a.slot = -1
	}
}

// probe looks for the server of a slot: at the one that was there last, or at
// all that belong nowhere yet.
func (p *Pool) probe(ctx context.Context, slot int) (*agent, error) {
	p.mu.Lock()
	var ask []*agent
	if a := p.slots[slot]; a != nil {
		ask = append(ask, a)
	} else {
		ask = p.unbound()
	}
	p.mu.Unlock()
	errs := make([]error, len(ask))
	var wg sync.WaitGroup
	for i, a := range ask {
		wg.Go(func() { errs[i] = p.identify(ctx, a) })
	}
	wg.Wait()
	a, err := p.at(slot)
	if a != nil && err == nil {
		return a, nil
	}
	if a == nil {
		return nil, p.absence(slot, ask, errs)
	}
	return nil, fmt.Errorf("stor: %s: %w", p.slotName(slot), err)
}

// absence is why nobody is in a slot: what the server that is meant said, or
// all that could be meant.
func (p *Pool) absence(slot int, asked []*agent, errs []error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(asked, p.meant(slot)); i >= 0 && errs[i] != nil {
		return errs[i]
	}
	return fmt.Errorf("stor: slot %d: %w", slot, errors.Join(errs...))
}

// unbound lists the servers that belong to no slot. p.mu is held.
func (p *Pool) unbound() []*agent {
	var list []*agent
	for _, a := range p.agents {
		if a.slot < 0 {
			list = append(list, a)
		}
	}
	return list
}

// at is the server of a slot and what is wrong with it; nil if none is known.
func (p *Pool) at(slot int) (*agent, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.slots[slot]
	if a == nil {
		return nil, nil
	}
	return a, a.err
}

// meant is the server that a slot without one is likely to be: the only one
// left, or the one at its place in the list, where Init put it. It serves
// messages, never a decision. p.mu is held; nil: it could be any.
func (p *Pool) meant(slot int) *agent {
	if list := p.unbound(); len(list) == 1 {
		return list[0]
	}
	if slot < len(p.agents) && p.agents[slot].slot < 0 {
		return p.agents[slot]
	}
	return nil
}

// slotName names a slot by its server, or by the one that is meant.
func (p *Pool) slotName(slot int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.slots[slot]; a != nil {
		return a.server.Name()
	}
	if a := p.meant(slot); a != nil {
		return a.server.Name()
	}
	return fmt.Sprintf("slot %d", slot)
}
