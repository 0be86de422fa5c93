package stor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tlog"
)

// Read fetches one position, 1 ≤ pos ≤ Head. Asks k servers first, the others
// when one of those fails or is slow. tlog.Unavailable: servers missing; tlog.Corrupt: every server
// answered, and fewer than k shards of the digest are valid.
func (v *View) Read(ctx context.Context, pos tlog.Position) (*Fetched, error) {
	return v.ReadInto(ctx, pos, nil)
}

// ReadInto is Read into m, which the result aliases: it is valid until m is
// used again. If m is nil it is the caller's.
func (v *View) ReadInto(ctx context.Context, pos tlog.Position, m *Memory) (*Fetched, error) {
	_, pl, err := v.place(ctx, pos)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel() // what is still asked for is not wanted any more
	f := &fetch{view: v, pos: pos, place: pl, order: pl.order(v.pool.manifest.K, v.demoted())}
	f.parts = v.pool.gather(v.vdisk, pos, pl.digest)
	f.parts.memory = m
	if m != nil {
		m.begin()
	}
	r, err := f.run(ctx)
	if m != nil {
		for _, b := range f.used {
			m.keep(b, v.pool.manifest.N())
		}
	}
	return r, err
}

// order lists the slots to ask: data shards first, as nothing is to be
// computed then; parity shards; further holders of an index; servers that let
// somebody wait; and those that did not say what they hold.
func (pl *place) order(k int, slow []bool) []int {
	rank := make([]int, len(pl.index))
	seen := map[int16]bool{}
	var slots []int
	for slot, i := range pl.index {
		switch {
		case i == indexNone:
			continue
		case i == indexMaybe, i == indexBad:
			rank[slot] = 4
		case slow[slot]:
			rank[slot] = 3
		case seen[i]:
			rank[slot] = 2
		case int(i) >= k:
			rank[slot] = 1
		}
		if i >= 0 && !slow[slot] {
			seen[i] = true
		}
		slots = append(slots, slot)
	}
	slices.SortStableFunc(slots, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(pl.index[a], pl.index[b]))
	})
	return slots
}

// fetch is one Read under way.
type fetch struct {
	view    *View
	pos     tlog.Position
	place   *place
	order   []int
	next    int          // of order: to be asked
	asking  map[int]bool // slots that have not answered
	parts   *gathering
	damaged []Damage
	failed  []error // servers that could not be asked
	arrived chan shardAnswer
	used    [][]byte // buffers of shards that arrived
}

type shardAnswer struct {
	slot   int
	shard  *Checked
	memory []byte // of the shard, if it can be used again
	err    error
}

func (f *fetch) run(ctx context.Context) (*Fetched, error) {
	f.arrived = make(chan shardAnswer, len(f.order))
	f.asking = map[int]bool{}
	for range f.view.pool.manifest.K {
		f.ask(ctx)
	}
	hedge := time.NewTicker(readHedgeTime)
	defer hedge.Stop()
	for len(f.asking) > 0 && !f.parts.complete() {
		select {
		case a := <-f.arrived:
			delete(f.asking, a.slot)
			f.used = append(f.used, a.memory)
			if err := f.take(ctx, a); err != nil {
				return nil, err
			}
		case <-hedge.C:
			for slot := range f.asking {
				f.view.demote(slot)
			}
			f.ask(ctx)
		case <-ctx.Done():
			f.failed = append(f.failed, ctx.Err())
			return nil, f.short()
		}
	}
	if !f.parts.complete() {
		return nil, f.short()
	}
	r, err := f.parts.fetched()
	if err != nil {
		return nil, err
	}
	r.Damaged = f.damaged
	return r, nil
}

// ask asks the next server that may have an index that is not there yet.
func (f *fetch) ask(ctx context.Context) {
	for f.next < len(f.order) {
		slot := f.order[f.next]
		f.next++
		if i := f.place.index[slot]; i >= 0 && f.parts.bodies[i] != nil {
			continue
		}
		f.asking[slot] = true
		buf := f.parts.memory.buffer()
		go func() { f.arrived <- f.read(ctx, slot, buf) }()
		return
	}
}

func (f *fetch) read(ctx context.Context, slot int, buf []byte) shardAnswer {
	server, err := f.view.server(slot)
	if err != nil {
		return shardAnswer{slot: slot, err: err}
	}
	if f.parts.memory == nil {
		c, err := f.view.pool.readShard(ctx, server, f.view.vdisk, f.pos)
		return shardAnswer{slot: slot, shard: c, err: err}
	}
	c, memory, err := f.view.pool.fillShard(ctx, server, f.view.vdisk, f.pos, buf)
	return shardAnswer{slot, c, memory, err}
}

// take uses an answer; every one that does not help has another server asked.
func (f *fetch) take(ctx context.Context, a shardAnswer) error {
	claimed := int(f.place.index[a.slot])
	damage := a.err
	switch {
	case a.err == nil && a.shard.Digest == f.place.digest:
		had := f.parts.have
		if err := f.parts.add(a.shard); err != nil {
			return err
		}
		if f.parts.have == had && !f.parts.complete() {
			f.ask(ctx)
		}
		return nil
	case a.err == nil:
		damage = tlog.Corruptf("stor: holds digest %v, not %v", a.shard.Digest, f.place.digest)
	case errors.Is(a.err, ErrAbsent) && claimed < 0:
		f.ask(ctx)
		return nil
	case !isDamage(a.err):
		f.failed = append(f.failed, fmt.Errorf("%s: %w", f.view.pool.slotName(a.slot), a.err))
		if ctx.Err() == nil {
			f.view.lost(a.slot, a.err)
		}
		f.ask(ctx)
		return nil
	}
	f.damaged = append(f.damaged, Damage{f.view.vdisk, f.pos, f.view.pool.slotName(a.slot), max(claimed, -1), damage})
	f.ask(ctx)
	return nil
}

// short is the error of a position that k servers did not give.
func (f *fetch) short() error {
	class := tlog.Corrupt
	errs := f.failed
	if len(f.failed) > 0 || slices.Contains(f.place.index, indexMaybe) {
		class = tlog.Unavailable
	}
	for _, d := range f.damaged {
		errs = append(errs, fmt.Errorf("%s: %w", d.Server, d.Err))
	}
	return tlog.WithClass(class, fmt.Errorf("stor: vdisk %v: position %d: %d good shards, %d are needed: %w", f.view.vdisk, f.pos, f.parts.have, f.view.pool.manifest.K, because(errs)))
}

// The bytes of a stored shard that surely hold the head: a genesis, whose
// head carries the vdisk's description, has the largest.
func headRoom(pos tlog.Position, n int) int {
	if pos == 1 {
		return 16 << 10
	}
	return 512 + 32*n
}

// ReadHead reads only the head bytes of a position from the first server that
// has a good one. Data is nil.
func (v *View) ReadHead(ctx context.Context, pos tlog.Position) (*Fetched, error) {
	_, pl, err := v.place(ctx, pos)
	if err != nil {
		return nil, err
	}
	m := &v.pool.manifest
	var damaged []Damage
	var errs []error
	for _, slot := range pl.order(m.K, v.demoted()) {
		c, err := v.readHead(ctx, slot, pos, pl.digest)
		switch {
		case err == nil:
			return &Fetched{Position: pos, Digest: c.Digest, Prev: c.Prev, Head: c.Head, Damaged: damaged}, nil
		case isDamage(err) && pl.index[slot] >= 0:
			damaged = append(damaged, Damage{v.vdisk, pos, v.pool.slotName(slot), int(pl.index[slot]), err})
		}
		errs = append(errs, fmt.Errorf("%s: %w", v.pool.slotName(slot), err))
	}
	class := tlog.Unavailable
	if len(damaged) == len(errs) {
		class = tlog.Corrupt
	}
	return nil, tlog.WithClass(class, fmt.Errorf("stor: vdisk %v: position %d: no server has a good head: %w", v.vdisk, pos, because(errs)))
}

func (v *View) readHead(ctx context.Context, slot int, pos tlog.Position, digest tlog.Hash) (*Checked, error) {
	server, err := v.server(slot)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	b, err := server.Shard(ctx, v.vdisk, pos, headRoom(pos, v.pool.manifest.N()))
	if err != nil {
		return nil, err
	}
	c, err := v.pool.cfg.Check(b, v.vdisk, pos, true)
	switch {
	case err != nil:
		return nil, tlog.WithClass(tlog.Corrupt, err)
	case c.Digest != digest:
		return nil, tlog.Corruptf("stor: %s: position %d: holds digest %v, not %v", server.Name(), pos, c.Digest, digest)
	}
	return &c, nil
}
