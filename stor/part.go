package stor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tlog"
)

// Ranger is a Server that reads parts of a stored shard.
type Ranger interface {
	// Ranges fills ranges of one stored shard, in one round trip. ErrAbsent as for
	// Shard, and where the shard ends before a range does.
	Ranges(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, ranges []Range) error
}

// Range is the bytes from Off on that B has room for.
type Range struct {
	Off int
	B   []byte
}

// ErrNoPart says that a part cannot be read by itself now: a server is missing,
// slow, or does not do it. ReadInto may still have the position.
var ErrNoPart = errors.New("no part by itself")

// Layout is where the data of a position lies in its stored shards.
type Layout struct {
	Position tlog.Position
	Digest   tlog.Hash // chain digest that the servers must name for it
	Head     int       // bytes of a stored shard before its body
	Shard    int       // bytes of a shard's body
}

// ReadParts fills parts of a position's joined data shards, as the servers that
// hold these give them: nothing is verified, and nothing computed from parity.
// Errors: ErrNoPart, or the context's.
func (v *View) ReadParts(ctx context.Context, at *Layout, parts []Range) error {
	_, pl, err := v.place(ctx, at.Position)
	if err != nil {
		return err
	}
	if pl.digest != at.Digest {
		return fmt.Errorf("stor: position %d has digest %v, not %v: %w", at.Position, pl.digest, at.Digest, ErrNoPart)
	}
	// A server that lets a reader wait is not waited for: others have the position.
	limited, cancel := context.WithTimeout(ctx, readHedgeTime)
	defer cancel()
	for index, ranges := range at.split(parts, v.pool.manifest.K) {
		if len(ranges) == 0 {
			continue
		}
		if err := v.readRanges(limited, pl, at, index, ranges); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return nil
}

// split tells which ranges of which data shards the parts are.
func (at *Layout) split(parts []Range, k int) [][]Range {
	shards := make([][]Range, k)
	for _, p := range parts {
		for off, b := p.Off, p.B; len(b) > 0; {
			index, from := off/at.Shard, off%at.Shard
			n := min(len(b), at.Shard-from)
			if index < k {
				shards[index] = append(shards[index], Range{at.Head + from, b[:n:n]})
			}
			off, b = off+n, b[n:]
		}
	}
	return shards
}

// readRanges reads from a server that holds an index.
func (v *View) readRanges(ctx context.Context, pl *place, at *Layout, index int, ranges []Range) error {
	for slot, i := range pl.index {
		if int(i) != index || v.resting(slot) {
			continue
		}
		server, err := v.server(slot)
		if err != nil {
			continue
		}
		r, can := server.(Ranger)
		if !can {
			continue
		}
		if r.Ranges(ctx, v.vdisk, at.Position, ranges) == nil {
			return nil
		}
		if ctx.Err() != nil {
			v.rest(slot)
			break
		}
	}
	return fmt.Errorf("stor: shard %d of position %d: %w", index, at.Position, ErrNoPart)
}

// restTime is how long a server that let a part wait is not asked for parts.
const restTime = 5 * time.Second

// rest has a server not asked for parts for a while.
func (v *View) rest(slot int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rests == nil {
		v.rests = map[int]time.Time{}
	}
	v.rests[slot] = time.Now().Add(restTime)
}

func (v *View) resting(slot int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	until, known := v.rests[slot]
	return known && time.Now().Before(until)
}
