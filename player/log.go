package player

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/stor"
)

// Config of a Log; the zero value has the defaults.
type Config struct {
	// Readers is how many positions are fetched and decoded at once. More than
	// keep the cores and the stores busy only cost memory. 0: eight for each usable core.
	Readers int
	// Memory bounds, in bytes, what positions on their way take together: two to
	// three times the size of an aggregation each, mostly 1 MiB. There are fewer
	// readers when those do not fit; one position is always read. 0: 96 MiB.
	Memory int
}

// ErrNoVdisk says that the pool holds no log of that vdisk.
var ErrNoVdisk = errors.New("no such vdisk")

// Log is one vdisk's log, read only.
type Log struct {
	pool    *stor.Pool
	keys    *crypto.Keyring // nil: opened without keys
	view    *stor.View
	key     *crypto.DataKey // nil: opened without keys
	info    Info
	readers int
	memory  int
}

// Info tells what a log is and covers.
type Info struct {
	Vdisk      tlog.VdiskID
	UUID       tlog.UUID
	DiskSize   uint64 // bytes; 0: unknown, a version-1 client made it
	BlockSize  uint32 // bytes
	K, M, W    int
	KeyID      uint64
	Created    time.Time
	Origin     tlog.Origin   // the moment of another vdisk that it was begun with; zero: none
	Positions  tlog.Position // the head
	Digest     tlog.Hash     // chain digest of the head
	Last       tlog.Sequence // 0: no record yet
	LastTime   time.Time     // of the last record; zero if there is none
	Generation tlog.Generation
	Client     tlog.UUID
	Chain      tlog.Hash // chain value at Last; zero without keys
}

// Open finds the log of a vdisk and its head. Without keys (nil) structure and
// chain can be verified, and nothing be decoded. ErrNoVdisk: there is none.
func Open(ctx context.Context, pool *stor.Pool, keys *crypto.Keyring, vdisk tlog.VdiskID, cfg Config) (*Log, error) {
	if err := vdisk.Check(); err != nil {
		return nil, err
	}
	l, err := OpenUUID(ctx, pool, keys, vdisk.UUID(pool.Manifest().Pool, 0), cfg)
	if err != nil {
		return nil, fmt.Errorf("player: vdisk %s: %w", vdisk, err)
	}
	if l.info.Vdisk != vdisk {
		return nil, tlog.Corruptf("player: vdisk %s: its genesis names %q", vdisk, l.info.Vdisk)
	}
	return l, nil
}

// OpenUUID is Open for a vdisk known by its UUID in the pool.
func OpenUUID(ctx context.Context, pool *stor.Pool, keys *crypto.Keyring, id tlog.UUID, cfg Config) (*Log, error) {
	if cfg.Readers <= 0 {
		cfg.Readers = 8 * runtime.GOMAXPROCS(0)
	}
	if cfg.Memory <= 0 {
		cfg.Memory = 96 << 20
	}
	view, err := pool.Survey(ctx, id)
	if err != nil {
		return nil, err
	}
	if view.Head() == 0 {
		return nil, ErrNoVdisk
	}
	l := &Log{pool: pool, keys: keys, view: view, readers: cfg.Readers, memory: cfg.Memory}
	if err := l.readGenesis(ctx, keys); err != nil {
		return nil, err
	}
	if err := l.readHead(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// Info tells what the log is and covers.
func (l *Log) Info() Info { return l.info }

// Damaged lists the shard servers that did not take part.
func (l *Log) Damaged() []stor.Damage { return l.view.Damaged() }

func (l *Log) readGenesis(ctx context.Context, keys *crypto.Keyring) error {
	f, err := l.view.ReadHead(ctx, 1)
	if err != nil {
		return err
	}
	s, err := crypto.CheckHead(f.Head, l.view.Vdisk(), 1)
	if err != nil {
		return err
	}
	g := s.Header.Genesis
	if g == nil {
		return tlog.Corruptf("player: position 1 is not a genesis")
	}
	if s.Header.First != 1 {
		return fmt.Errorf("player: vdisk %s: its log goes on at sequence %d from another one, which this program cannot read: update it", g.Name, s.Header.First)
	}
	l.info = Info{
		Origin: tlog.Origin{Vdisk: g.Parent, Position: g.ParentPosition, Digest: g.ParentDigest},
		Vdisk:  g.Name, UUID: l.view.Vdisk(), DiskSize: g.DiskSize, BlockSize: g.BlockSize,
		K: int(s.Header.K), M: int(s.Header.M), W: int(g.W), KeyID: s.Header.KeyID,
		Created: time.Unix(0, int64(g.Created)), Positions: l.view.Head(),
	}
	if keys == nil {
		return nil
	}
	if l.key, err = keys.Unwrap(l.view.Vdisk(), s.Header.KeyID, g.WrappedKey); err != nil {
		return err
	}
	// The name and sizes above are proved by the envelope's MAC only.
	_, err = l.decode(ctx, 1, new(room))
	return err
}

func (l *Log) readHead(ctx context.Context) error {
	head := l.view.Head()
	if l.key == nil {
		h, err := l.header(ctx, head)
		if err != nil {
			return err
		}
		l.info.Digest, l.info.Last = h.Digest, h.Header.Last
		l.info.LastTime = recordTime(h.Header.LastTimestamp)
		return nil
	}
	d, err := l.decode(ctx, head, new(room))
	if err != nil {
		return err
	}
	l.info.Digest, l.info.Last, l.info.Chain = d.agg.Digest, d.agg.Header.Last, d.agg.Chain
	l.info.LastTime = recordTime(d.agg.Header.LastTimestamp)
	l.info.Generation, l.info.Client = d.agg.Prelude.Generation, d.agg.Prelude.Client
	return nil
}

func recordTime(ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}

// room is the memory that one position needs at a time.
type room struct {
	read    stor.Memory
	decoder aggregate.Decoder
	alone   []byte // records that were read by themselves
}

func (r *room) size() int { return r.read.Size() + r.decoder.Size() + cap(r.alone) }

// decoded is one position, read and decoded. It lies in a room, until that is
// used again.
type decoded struct {
	agg     *aggregate.Aggregation
	damaged []stor.Damage
}

func (l *Log) decode(ctx context.Context, pos tlog.Position, r *room) (*decoded, error) {
	f, err := l.view.ReadInto(ctx, pos, &r.read)
	if err != nil {
		return nil, err
	}
	a, err := r.decoder.Decode(l.key, l.view.Vdisk(), pos, f.Head, f.Data)
	if err != nil {
		return nil, fmt.Errorf("player: vdisk %s: position %d: %w", l.info.Vdisk, pos, err)
	}
	return &decoded{a, f.Damaged}, nil
}

// header reads the header of a position without its data.
func (l *Log) header(ctx context.Context, pos tlog.Position) (*crypto.Stored, error) {
	f, err := l.view.ReadHead(ctx, pos)
	if err != nil {
		return nil, err
	}
	s, err := crypto.CheckHead(f.Head, l.view.Vdisk(), pos)
	if err != nil {
		return nil, fmt.Errorf("player: vdisk %s: position %d: %w", l.info.Vdisk, pos, err)
	}
	return s, nil
}

// errNeedKeys is the answer to what cannot be done without a key file.
func (l *Log) needKeys() error {
	if l.key == nil {
		return fmt.Errorf("player: vdisk %s: the key file is needed to decode records", l.info.Vdisk)
	}
	return nil
}
