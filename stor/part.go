package stor

import (
	"context"
	"errors"
	"fmt"

	"tlog"
)

// Ranger is a Server that reads part of a stored shard.
type Ranger interface {
	// Range reads n bytes at most, from off on, of a stored shard, into buf if
	// that has the capacity. Fewer: the shard ends there. ErrAbsent as for Shard.
	Range(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, off, n int, buf []byte) ([]byte, error)
}

// ErrNoPart says that a part cannot be read by itself now: a server is missing,
// slow, or does not do it. ReadInto may still have the position.
var ErrNoPart = errors.New("no part by itself")

// Part is a range of an aggregation's joined data shards.
type Part struct {
	Position tlog.Position
	Digest   tlog.Hash // chain digest that the servers must name for it
	Head     int       // bytes of a stored shard before its body
	Shard    int       // bytes of a shard's body
	Off      int       // of the range
}

// ReadPart fills b with a range of a position's data, as the servers that hold
// the data shards give it: nothing is verified, and nothing computed from parity.
// Errors: ErrNoPart, or the context's.
func (v *View) ReadPart(ctx context.Context, p *Part, b []byte) error {
	_, pl, err := v.place(ctx, p.Position)
	if err != nil {
		return err
	}
	if pl.digest != p.Digest {
		return fmt.Errorf("stor: position %d has digest %v, not %v: %w", p.Position, pl.digest, p.Digest, ErrNoPart)
	}
	// A server that lets a reader wait is not waited for: others have the position.
	ctx, cancel := context.WithTimeout(ctx, readHedgeTime)
	defer cancel()
	for at := 0; at < len(b); {
		index, from := (p.Off+at)/p.Shard, (p.Off+at)%p.Shard
		n := min(len(b)-at, p.Shard-from)
		if err := v.readRange(ctx, pl, p, index, from, b[at:at+n]); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// readRange reads from the server that holds an index.
func (v *View) readRange(ctx context.Context, pl *place, p *Part, index, from int, b []byte) error {
	slow := v.demoted()
	for slot, i := range pl.index {
		if int(i) != index || slow[slot] {
			continue
		}
		server, err := v.server(slot)
		if err != nil {
			continue
		}
		r, ok := server.(Ranger)
		if !ok {
			continue
		}
		got, err := r.Range(ctx, v.vdisk, p.Position, p.Head+from, len(b), b)
		if err == nil && len(got) == len(b) {
			if &got[0] != &b[0] {
				copy(b, got)
			}
			return nil
		}
		if ctx.Err() != nil {
			v.demote(slot)
			break
		}
	}
	return fmt.Errorf("stor: shard %d of position %d: %w", index, p.Position, ErrNoPart)
}
