package stor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tlog"
	"tlog/internal/core/takeover"
)

const (
	pageSize   = 1024 // positions
	pagesKept  = 64   // 80 KiB each
	indexNone  = -1
	indexMaybe = -2 // the server did not say
	indexBad   = -3 // what the server says is not a meta
)

// place is where the shards of one position are.
type place struct {
	digest tlog.Hash
	index  []int16 // by slot: index held, indexNone, indexMaybe or indexBad
}

// page is the places of pageSize positions, from number × pageSize + 1 on; one
// that is not kept, of any from first on.
type page struct {
	number uint64
	first  tlog.Position
	ready  chan struct{} // closed when the rest is set
	err    error
	last   tlog.Position
	places []place
	asked  int    // servers that answered
	unsure []bool // by slot: it is not one of them
	why    error  // why the others did not
}

// firstOf is the first position of a page.
func firstOf(number uint64) tlog.Position { return tlog.Position(number)*pageSize + 1 }

// pageCache keeps the pages that were used last.
type pageCache struct {
	mu    sync.Mutex
	pages []*page // last used first
}

// place finds out where the shards of pos are.
func (v *View) place(ctx context.Context, pos tlog.Position) (*page, *place, error) {
	if err := v.inRange(pos); err != nil {
		return nil, nil, err
	}
	pg, err := v.page(ctx, uint64(pos-1)/pageSize)
	if err != nil {
		return nil, nil, err
	}
	pl, err := v.placeIn(pg, pos)
	if err != nil {
		return nil, nil, err
	}
	return pg, pl, nil
}

// placeAlone is place for one who wants few positions, far apart: the page around
// each, of which that reader needs nothing more, is not read.
func (v *View) placeAlone(ctx context.Context, pos tlog.Position) (*place, error) {
	if err := v.inRange(pos); err != nil {
		return nil, err
	}
	pg := v.known(pos)
	if pg == nil {
		pg = &page{first: pos, last: pos}
		if err := v.load(ctx, pg); err != nil {
			return nil, err
		}
	}
	return v.placeIn(pg, pos)
}

// known is the page that has pos, if it is there.
func (v *View) known(pos tlog.Position) *page {
	c := &v.pages
	c.mu.Lock()
	pg := c.use(uint64(pos-1) / pageSize)
	c.mu.Unlock()
	if pg == nil || pg.last < pos {
		return nil
	}
	select {
	case <-pg.ready:
	default:
		return nil
	}
	if pg.err != nil {
		return nil
	}
	return pg
}

// placeIn is the place of one of a page's positions.
func (v *View) placeIn(pg *page, pos tlog.Position) (*place, error) {
	pl := &pg.places[pos-pg.first]
	if pl.digest.IsZero() {
		class, n := tlog.Unavailable, v.pool.manifest.P()
		if pg.asked == n {
			class = tlog.Corrupt
		}
		return nil, tlog.WithClass(class, fmt.Errorf("stor: vdisk %v: position %d: of %d shard servers %d answer, and fewer than %d shards are known: %w", v.vdisk, pos, n, pg.asked, v.pool.manifest.K, pg.why))
	}
	return pl, nil
}

// page returns a page, from the cache or from the servers. Callers that want
// the same one share it; a failed one is not kept.
func (v *View) page(ctx context.Context, number uint64) (*page, error) {
	c := &v.pages
	last := min(v.head, tlog.Position(number+1)*pageSize)
	c.mu.Lock()
	pg := c.use(number)
	mine := pg == nil || pg.last < last
	if mine {
		pg = &page{number: number, first: firstOf(number), ready: make(chan struct{}), last: last}
		c.put(pg)
	}
	c.mu.Unlock()
	if mine {
		pg.err = v.load(ctx, pg)
		if pg.err != nil {
			c.drop(pg)
		}
		close(pg.ready)
		return pg, pg.err
	}
	select {
	case <-pg.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if errors.Is(pg.err, context.Canceled) || errors.Is(pg.err, context.DeadlineExceeded) {
		return v.page(ctx, number) // the other caller gave up, we have not
	}
	return pg, pg.err
}

func (c *pageCache) use(number uint64) *page {
	for i, pg := range c.pages {
		if pg.number == number {
			copy(c.pages[1:], c.pages[:i])
			c.pages[0] = pg
			return pg
		}
	}
	return nil
}

// keep takes a page that was loaded elsewhere, in place of the one it has.
func (c *pageCache) keep(pg *page) {
	pg.ready = make(chan struct{})
	close(pg.ready)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages = slices.DeleteFunc(c.pages, func(have *page) bool { return have.number == pg.number })
	c.put(pg)
}

func (c *pageCache) put(pg *page) {
	c.pages = append([]*page{pg}, c.pages...)
	c.pages = c.pages[:min(len(c.pages), pagesKept)]
}

func (c *pageCache) drop(pg *page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, have := range c.pages {
		if have == pg {
			c.pages = append(c.pages[:i:i], c.pages[i+1:]...)
			return
		}
	}
}

type metasAnswer struct {
	slot  int
	metas []Meta
	bad   []tlog.Position // that have something else
	err   error           // with bad: what that is
}

// said reports whether the server said all that it holds, but for bad.
func (a *metasAnswer) said() bool { return a.err == nil || len(a.bad) > 0 }

// listing is what all servers say of some positions.
type listing struct {
	metas  [][]takeover.Meta        // by slot
	bad    []map[tlog.Position]bool // by slot
	unsure []bool                   // by slot: what it does not say it may hold all the same
	votes  []bool                   // by slot: what it lacks, it never had
}

// voting counts the servers that vote on a position.
func (l *listing) voting(pos tlog.Position) (n int) {
	for slot, votes := range l.votes {
		if votes && !l.bad[slot][pos] {
			n++
		}
	}
	return n
}

// load reads the metas of a page from all servers and finds, for every
// position, the digest and who holds it. R servers must answer: with fewer, a
// claim that lost against a newer one could pass for the log's.
func (v *View) load(ctx context.Context, pg *page) error {
	first := pg.first
	rules := v.pool.rules.Load()
	answers, err := v.metas(ctx, first, pg.last)
	if err != nil {
		return err
	}
	l, errs := v.listing(answers)
	for _, unsure := range l.unsure {
		if !unsure {
			pg.asked++
		}
	}
	pg.why, pg.unsure = because(errs), l.unsure
	for _, slot := range rules.Joining { // what they lack says nothing
		l.votes[slot] = false
	}
	if v.pool.rules.Load() != rules {
		return errChanged
	}
	m := &v.pool.manifest
	if votes := l.voting(0); votes < m.R() {
		return tlog.Unavailablef("stor: vdisk %v: positions %d to %d: %d of %d shard servers answer, %d are needed: %w", v.vdisk, first, pg.last, votes, m.P(), m.R(), pg.why)
	}
	pg.places = make([]place, pg.last-first+1)
	for i := range pg.places {
		pg.places[i] = v.locate(l, first+tlog.Position(i))
	}
	return nil
}

// listing sorts answers by slot. The errors say who did not answer in full.
func (v *View) listing(answers map[int]metasAnswer) (*listing, []error) {
	p := v.pool.manifest.P()
	l := &listing{metas: make([][]takeover.Meta, p), bad: make([]map[tlog.Position]bool, p), unsure: make([]bool, p), votes: make([]bool, p)}
	var errs []error
	for slot := range p {
		a, ok := answers[slot]
		l.metas[slot] = coreMetas(a.metas)
		l.votes[slot] = ok && a.said()
		l.unsure[slot] = !l.votes[slot]
		for _, pos := range a.bad {
			if l.bad[slot] == nil {
				l.bad[slot] = map[tlog.Position]bool{}
			}
			l.bad[slot][pos] = true
		}
		if a.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v.pool.slotName(slot), a.err))
		}
	}
	return l, errs
}

// locate picks the digest of one position: the one that was decided, or the
// one of the highest epoch that k indices claim.
func (v *View) locate(l *listing, pos tlog.Position) place {
	digest, fixed := v.decided(pos)
	if !fixed && l.voting(pos) < v.pool.manifest.R() {
		return place{}
	}
	for _, c := range takeover.Claims(l.metas, pos, v.pool.manifest.K) {
		if fixed && c.Digest != digest {
			continue
		}
		pl := place{digest: c.Digest, index: make([]int16, len(c.Index))}
		for slot, i := range c.Index {
			pl.index[slot] = int16(i)
			switch {
			case l.bad[slot][pos]:
				pl.index[slot] = indexBad
			case i < 0 && l.unsure[slot]:
				pl.index[slot] = indexMaybe
			}
		}
		return pl
	}
	return place{}
}

// metas asks all servers and waits for all, but not long for the last ones
// once R have answered.
func (v *View) metas(ctx context.Context, from, to tlog.Position) (map[int]metasAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	p := v.pool.manifest.P()
	arrived := make(chan metasAnswer, p)
	for slot := range p {
		go func() { arrived <- v.metasOf(ctx, slot, from, to) }()
	}
	answers := map[int]metasAnswer{}
	good := 0
	var grace <-chan time.Time
	for len(answers) < p {
		select {
		case a := <-arrived:
			answers[a.slot] = a
			if a.said() {
				good++
			}
			if good == v.pool.manifest.R() && grace == nil {
				t := time.NewTimer(graceTime)
				defer t.Stop()
				grace = t.C
			}
		case <-grace:
			return answers, nil
		case <-ctx.Done():
			return answers, nil
		}
	}
	return answers, ctx.Err()
}

func (v *View) metasOf(ctx context.Context, slot int, from, to tlog.Position) metasAnswer {
	server, err := v.server(slot)
	if err != nil {
		return metasAnswer{slot: slot, err: err}
	}
	metas, err := server.Metas(ctx, v.vdisk, from, to)
	last := from - 1
	for _, m := range metas {
		if m.Position <= last || m.Position > to || m.Index < 0 || m.Index >= v.pool.manifest.N() {
			return metasAnswer{slot: slot, err: tlog.Corruptf("stor: %s: meta of position %d, index %d", server.Name(), m.Position, m.Index)}
		}
		last = m.Position
	}
	if err != nil && ctx.Err() == nil {
		v.lost(slot, err)
	}
	a := metasAnswer{slot: slot, metas: metas, err: err}
	if bad := (*BadMetas)(nil); errors.As(err, &bad) {
		a.bad = bad.Positions
	}
	return a
}

// server is the one of a slot, unless it did not vote when the view was made
// because it is not known.
func (v *View) server(slot int) (Server, error) {
	agent, _ := v.pool.at(slot)
	if agent == nil {
		return nil, fmt.Errorf("stor: %s: not found", v.pool.slotName(slot))
	}
	return agent.server, nil
}
