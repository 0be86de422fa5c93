package stor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"tlog"
	"tlog/internal/reuse"
)

// Pool is the shard servers of one tlog installation.
type Pool struct {
	cfg      Config
	manifest Manifest // its shape never changes; who the servers are now, rules say
	rules    atomic.Pointer[Manifest]
	codec    *codec
	jitter   *jitter
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	calls    reuse.Objects[appendCall]
	flights  reuse.Objects[flight]

	mu     sync.Mutex
	agents []*agent // in the order they were listed; see listed
	slots  []*agent // by slot; nil: its server has not shown up
	logs   map[*Log]struct{}
	closed bool

	reloading sync.Mutex // held while the manifest is loaded again
}

func newPool(cfg Config, m *Manifest, servers []Server) (*Pool, error) {
	p := &Pool{cfg: cfg, manifest: *m, slots: make([]*agent, m.P()), logs: map[*Log]struct{}{}}
	p.rules.Store(m)
	p.calls.New, p.flights.New = newCall, newFlight
	var err error
	if p.codec, err = newCodec(m.K, m.M); err != nil {
		return nil, err
	}
	if p.jitter, err = newJitter(cfg.Random); err != nil {
		return nil, err
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, s := range servers {
		a := newAgent(s)
		p.agents = append(p.agents, a)
		p.wg.Go(a.run)
	}
	return p, nil
}

// spawn runs f on a goroutine of the pool's, unless it is closed. p.mu is held.
func (p *Pool) spawn(f func()) bool {
	if p.closed {
		return false
	}
	p.wg.Go(f)
	return true
}

// start is spawn for callers that do not hold p.mu.
func (p *Pool) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spawn(f)
}

// Manifest is the pool's.
func (p *Pool) Manifest() Manifest {
	return *p.rules.Load().clone()
}

// Encode computes the m parity shards of shards (k data shards filled, all of one length).
func (p *Pool) Encode(shards [][]byte) error { return p.codec.encode(shards) }

// ServerStatus is the state of one slot: Err nil means it votes.
type ServerStatus struct {
	Slot    int // −1: the server belongs to no slot
	Name    string
	Err     error
	Joining bool // it took another's place, and does not vote until the pool is repaired
	Space   Space
}

// Status asks every server. It has one entry a slot, in order, and then those
// that are listed and belong to none.
func (p *Pool) Status(ctx context.Context) []ServerStatus {
	agents := p.listed()
	all := make([]ServerStatus, len(agents))
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() { all[i] = p.statusOf(ctx, a) })
	}
	wg.Wait()
	list := make([]ServerStatus, p.manifest.P())
	for slot := range list {
		i := slices.IndexFunc(all, func(s ServerStatus) bool { return s.Slot == slot })
		if i >= 0 {
			list[slot] = all[i]
			continue
		}
		list[slot] = p.vacant(slot, agents, all)
	}
	for _, s := range all {
		if s.Slot < 0 {
			list = append(list, s)
		}
	}
	return list
}

// vacant is the status of a slot without a server: that of the one which is
// meant, taken out of all, which is by agents.
func (p *Pool) vacant(slot int, agents []*agent, all []ServerStatus) ServerStatus {
	p.mu.Lock()
	i := slices.Index(agents, p.meant(slot))
	p.mu.Unlock()
	if i < 0 || all[i].Slot >= 0 {
		return ServerStatus{Slot: slot, Name: fmt.Sprintf("slot %d", slot), Err: errors.New("stor: no server that answers belongs here")}
	}
	all[i].Slot = slot
	return all[i]
}

func (p *Pool) statusOf(ctx context.Context, a *agent) ServerStatus {
	s := ServerStatus{Name: a.server.Name(), Err: p.identify(ctx, a)}
	if s.Err == nil {
		ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
		defer cancel()
		s.Space, s.Err = a.server.Space(ctx)
	}
	p.mu.Lock()
	s.Slot = a.slot
	p.mu.Unlock()
	s.Joining = slices.Contains(p.rules.Load().Joining, s.Slot)
	return s
}

// Vdisks lists, in order, the vdisks that at least one of R servers knows; a
// vdisk may be known without having a log yet.
func (p *Pool) Vdisks(ctx context.Context) ([]tlog.UUID, error) {
	lists := make([][]tlog.UUID, p.manifest.P())
	errs := make([]error, p.manifest.P())
	var wg sync.WaitGroup
	for slot := range lists {
		wg.Go(func() {
			a, err := p.probe(ctx, slot)
			if err == nil {
				ctx, cancel := context.WithTimeout(ctx, requestTimeout)
				defer cancel()
				lists[slot], err = a.server.Vdisks(ctx)
			}
			errs[slot] = err
		})
	}
	wg.Wait()
	votes := 0
	rules := p.rules.Load()
	var known []tlog.UUID
	for slot, list := range lists {
		if errs[slot] == nil && !slices.Contains(rules.Joining, slot) {
			votes++
		}
		known = append(known, list...)
	}
	if votes < p.manifest.R() {
		return nil, tlog.Unavailablef("stor: vdisks: %d of %d shard servers answer, %d are needed: %w", votes, p.manifest.P(), p.manifest.R(), because(errs))
	}
	slices.SortFunc(known, func(a, b tlog.UUID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(known), nil
}

// Close ends the agents and closes the servers. Logs are closed before.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	agents := p.agents
	p.mu.Unlock()
	p.cancel() // ends what Identify, Fence and Append still wait for
	for _, a := range agents {
		a.close()
	}
	var errs []error
	for _, a := range agents {
		if err := a.server.Close(); err != nil {
			errs = append(errs, fmt.Errorf("stor: close %s: %w", a.server.Name(), err))
		}
	}
	p.wg.Wait()
	return errors.Join(errs...)
}
