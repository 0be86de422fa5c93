package stor

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Relist makes names the list of the pool's servers, while it is in use. New
// ones are made by dial, and are the pool's from then on; what they are is found out as of
// any other server: a name gives nobody a slot. A server that is not named any more
// is let go of, unless it is in a slot: then it stays, and the error says so,
// as a list that forgets a server is a mistake more often than a replacement.
// If dial fails, or more are named than the pool has, nothing is changed.
func (p *Pool) Relist(ctx context.Context, names []string, dial func(name string) (Server, error)) error {
	if len(names) > p.manifest.P() {
		return fmt.Errorf("stor: pool %v: %w: it has %d servers, %d are listed", p.manifest.Pool, ErrConfig, p.manifest.P(), len(names))
	}
	added, err := p.meet(names, dial)
	if err != nil {
		return err
	}
	for _, a := range added {
		if err := p.identify(ctx, a); err != nil {
			p.cfg.Logger.Warn("shard server does not vote", "server", a.server.Name(), "error", err)
		}
	}
	// Which server was replaced, the newest manifest says; an idle log has not
	// met it yet.
	p.reload(ctx)
	return p.part(names)
}

// meet adds the servers that were not listed before.
func (p *Pool) meet(names []string, dial func(name string) (Server, error)) ([]*agent, error) {
	p.reloading.Lock() // what is asked of all servers is asked of one list
	defer p.reloading.Unlock()
	var added []*agent
	for _, name := range names {
		if p.Listed(name) != nil {
			continue
		}
		s, err := dial(name)
		if err != nil {
			for _, a := range added {
				err = errors.Join(err, a.server.Close())
			}
			return nil, err
		}
		added = append(added, newAgent(s))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range added {
		if !p.spawn(a.run) {
			err := errClosed
			for _, a := range added[i:] {
				err = errors.Join(err, a.server.Close())
			}
			return nil, err
		}
		p.agents = append(slices.Clip(p.agents), a)
	}
	return added, nil
}

// part lets go of servers that are neither listed nor in a slot.
func (p *Pool) part(names []string) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	var keep, gone []*agent
	var errs []error
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed
	}
	for _, a := range p.agents {
		switch {
		case slices.Contains(names, a.server.Name()):
			keep = append(keep, a)
		case a.slot >= 0:
			keep = append(keep, a)
			errs = append(errs, fmt.Errorf("stor: %s: %w: it is not listed any more, and it is slot %d of the pool: it stays in use", a.server.Name(), ErrConfig, a.slot))
		default:
			a.gone = true
			gone = append(gone, a)
		}
	}
	// In the order of the list, which messages go by; who stayed comes last.
	slices.SortStableFunc(keep, func(a, b *agent) int { return rank(names, a) - rank(names, b) })
	p.agents = keep
	p.mu.Unlock()
	for _, a := range gone {
		a.close()
		errs = append(errs, a.server.Close())
		p.cfg.Logger.Info("shard server is not listed any more", "server", a.server.Name())
	}
	return errors.Join(errs...)
}

func rank(names []string, a *agent) int {
	if i := slices.Index(names, a.server.Name()); i >= 0 {
		return i
	}
	return len(names)
}

// listed is the list of servers as it is now. It is never changed, only replaced.
func (p *Pool) listed() []*agent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.agents
}
