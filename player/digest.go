package player

import (
	"context"

	"tlog"
)

// Sibling opens another vdisk's log of the same pool with the same keys.
func (l *Log) Sibling(ctx context.Context, vdisk tlog.VdiskID) (*Log, error) {
	return Open(ctx, l.pool, l.keys, vdisk, Config{Readers: l.readers, Memory: l.memory})
}

// Ancestor opens the log that l's origin is a moment of. ErrNoVdisk: it is not
// in the pool any more.
func (l *Log) Ancestor(ctx context.Context) (*Log, error) {
	return OpenUUID(ctx, l.pool, l.keys, l.info.Origin.Vdisk, Config{Readers: l.readers, Memory: l.memory})
}

// DigestAt is the chain digest of a position as the shard servers hold it.
func (l *Log) DigestAt(ctx context.Context, pos tlog.Position) (tlog.Hash, error) {
	s, err := l.header(ctx, pos)
	if err != nil {
		return tlog.Hash{}, err
	}
	return s.Digest, nil
}
