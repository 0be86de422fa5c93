package main

import (
	"context"
	"errors"
	"fmt"

	"tlog"
	"tlog/player"
)

// originOf is a moment as the genesis of a log that begins with it names it.
func originOf(ctx context.Context, l *player.Log, p player.Point) (tlog.Origin, error) {
	digest, err := l.DigestAt(ctx, p.Position)
	return tlog.Origin{Vdisk: l.Info().UUID, Position: p.Position, Digest: digest}, err
}

// origin is the origin of a log as info shows it.
type origin struct {
	Vdisk    string `json:"vdisk,omitempty"` // empty: the pool does not have it
	UUID     string `json:"uuid"`
	Position uint64 `json:"position"`
	Digest   string `json:"digest"`
	Found    bool   `json:"found"` // the pool has that moment
}

// origin looks for the log that l began as a moment of; nil: there is none. That
// it is gone, or cannot be read, is no error: l does without it.
func (t *tool) origin(ctx context.Context, l *player.Log) *origin {
	o := l.Info().Origin
	if o.IsZero() {
		return nil
	}
	shown := &origin{UUID: o.Vdisk.String(), Position: uint64(o.Position), Digest: o.Digest.String()}
	from, err := l.Ancestor(ctx)
	if err == nil {
		shown.Vdisk = string(from.Info().Vdisk)
		var digest tlog.Hash
		digest, err = from.DigestAt(ctx, o.Position)
		shown.Found = err == nil && digest == o.Digest
	}
	if err != nil && !errors.Is(err, player.ErrNoVdisk) {
		t.log.Warn("the origin's log cannot be read", "uuid", shown.UUID, "err", err)
	}
	return shown
}

func (o *origin) String() string {
	switch {
	case o.Found:
		return fmt.Sprintf("vdisk %s (%s), position %d with digest %s", o.Vdisk, o.UUID, o.Position, o.Digest)
	case o.Vdisk != "":
		return fmt.Sprintf("vdisk %s (%s), position %d with digest %s, which it does not have", o.Vdisk, o.UUID, o.Position, o.Digest)
	}
	return fmt.Sprintf("vdisk %s, which the pool does not have, position %d with digest %s", o.UUID, o.Position, o.Digest)
}
