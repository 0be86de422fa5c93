package stor

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"tlog"
)

// Inspect reads every shard of a position from every server, for verify:
// per-server damage incl. absent shards; nil damage: n good shards. An error
// means that the position could not be looked at at all.
func (v *View) Inspect(ctx context.Context, pos tlog.Position) ([]Damage, error) {
	return v.InspectInto(ctx, pos, new(Memory))
}

// InspectInto is Inspect with the shards read into m.
func (v *View) InspectInto(ctx context.Context, pos tlog.Position, m *Memory) ([]Damage, error) {
	_, pl, err := v.place(ctx, pos)
	if err != nil {
		return nil, err
	}
	return v.inspectAll(ctx, pos, pl, m)
}

// Sample is InspectInto for one who inspects few positions, far apart.
func (v *View) Sample(ctx context.Context, pos tlog.Position, m *Memory) ([]Damage, error) {
	pl, err := v.placeAlone(ctx, pos)
	if err != nil {
		return nil, err
	}
	return v.inspectAll(ctx, pos, pl, m)
}

func (v *View) inspectAll(ctx context.Context, pos tlog.Position, pl *place, m *Memory) ([]Damage, error) {
	answers := make([]shardAnswer, len(pl.index))
	var wg sync.WaitGroup
	for slot := range pl.index {
		buf := m.buffer()
		wg.Go(func() { answers[slot] = v.inspect(ctx, slot, pos, buf) })
	}
	wg.Wait()
	for _, a := range answers {
		m.keep(a.memory, len(pl.index))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return v.judge(pos, pl, answers), nil
}

// judge tells damage from what is in order.
func (v *View) judge(pos tlog.Position, pl *place, answers []shardAnswer) []Damage {
	n := v.pool.manifest.N()
	good, blamed := make([]bool, n), make([]bool, n)
	silent := 0 // servers that may hold what nobody else does
	var damaged []Damage
	for slot, a := range answers {
		claimed, err := int(pl.index[slot]), a.err
		switch {
		case err == nil && a.shard.Digest == pl.digest && a.shard.Index < n && (a.shard.Index == claimed || claimed == indexMaybe):
			good[a.shard.Index] = true
			continue
		case claimed == indexBad:
			if err == nil && a.shard.Digest == pl.digest && a.shard.Index < n {
				blamed[a.shard.Index] = true
			}
			err = errBad
		case claimed == indexNone && (err == nil || isDamage(err)):
			continue // it holds nothing of the log, and does not say it does
		case err == nil:
			err = tlog.Corruptf("stor: holds digest %v, index %d", a.shard.Digest, a.shard.Index)
		}
		if claimed >= 0 {
			blamed[claimed] = true
		} else {
			silent++
		}
		damaged = append(damaged, Damage{v.vdisk, pos, v.pool.slotName(slot), max(claimed, indexNone), err})
	}
	for i := range good {
		if good[i] || blamed[i] {
			continue
		}
		if silent--; silent < 0 {
			damaged = append(damaged, Damage{v.vdisk, pos, v.homeWithout(pl, i), i, fmt.Errorf("stor: shard %d: %w", i, ErrAbsent)})
		}
	}
	return damaged
}

// errBad is the damage of a server whose claim is not one.
var errBad = tlog.Corruptf("stor: what is held as its meta is none")

func (v *View) inspect(ctx context.Context, slot int, pos tlog.Position, buf []byte) shardAnswer {
	server, err := v.server(slot)
	if err != nil {
		return shardAnswer{err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, memory, err := v.pool.fillShard(ctx, server, v.vdisk, pos, buf)
	return shardAnswer{slot, c, memory, err}
}

// homeWithout names the server that index i would be on, if it holds no
// other: the one an operator looks for. When its place was taken by another
// index, as while a server was away, it is one of those that hold nothing.
func (v *View) homeWithout(pl *place, i int) string {
	p := v.pool.manifest.P()
	if slot := (firstSlot(v.vdisk, p) + i) % p; pl.index[slot] == indexNone {
		return v.pool.slotName(slot)
	}
	var empty []string
	for slot, index := range pl.index {
		if index == indexNone {
			empty = append(empty, v.pool.slotName(slot))
		}
	}
	return strings.Join(empty, " or ")
}
