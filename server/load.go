package server

import (
	"context"
	"fmt"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/internal/core/session"
	"tlog/internal/failpoint"
	"tlog/stor"
)

// publisher stores sealed aggregations in a log.
type publisher struct{ log *stor.Log }

func (p publisher) Publish(pos tlog.Position, digest tlog.Hash, s *crypto.Sealed, done func(error)) {
	p.log.Publish(pos, digest, s, done)
}

// known is what was read of a vdisk's log.
type known struct {
	vdisk   tlog.VdiskID
	uuid    tlog.UUID
	disk    session.Disk
	origin  tlog.Origin
	key     *crypto.DataKey // nil: there is no log
	head    aggregate.Head
	records []tlog.Record // of the position at head
}

// session is the machine's view of the head.
func (k *known) session() session.Head {
	h := &k.head
	return session.Head{
		Last: h.Last, Chain: h.Chain, Timestamp: h.Timestamp, Generation: h.Generation, Client: h.Client,
		Hash: h.Hash, Version1: h.Version1, Base: tlog.Sequence(h.Base), First: h.First,
	}
}

// load takes the vdisk's log over, or creates it, for the client of g. A client
// that may not attach changes nothing: it is judged by what is read without
// fencing, and by the machine again afterwards.
func (s *Server) load(ctx context.Context, g greeting) (*owner, error) {
	k, err := s.survey(ctx, g.vdisk)
	if err != nil {
		return nil, err
	}
	if r := session.Judge(k.disk, k.session(), &g.attach, false); r != nil {
		return nil, (*refusedError)(r)
	}
	if err := s.judgeOrigin(ctx, k, &g); err != nil {
		return nil, err
	}
	failpoint.Here("load.surveyed")
	taken := known{vdisk: g.vdisk, uuid: k.uuid, key: k.key}
	log, err := s.cfg.Pool.Takeover(ctx, k.uuid, func(ctx context.Context, v *stor.View, f *stor.Fetched) error {
		return s.adopt(ctx, v, f, &taken)
	})
	if err != nil {
		return nil, fmt.Errorf("server: take the log over: %w", err)
	}
	if err := s.prepare(ctx, log, g, &taken); err != nil {
		log.Close()
		return nil, err
	}
	return s.own(log, &taken), nil
}

// survey reads what is stored of a vdisk, without fencing.
func (s *Server) survey(ctx context.Context, vdisk tlog.VdiskID) (*known, error) {
	k := &known{vdisk: vdisk, uuid: vdisk.UUID(s.cfg.Pool.Manifest().Pool, 0)}
	view, err := s.cfg.Pool.Survey(ctx, k.uuid)
	if err != nil {
		return nil, fmt.Errorf("server: find the log: %w", err)
	}
	return k, s.read(ctx, view, k)
}

// prepare reads the log that was taken over, or creates it.
func (s *Server) prepare(ctx context.Context, log *stor.Log, g greeting, k *known) error {
	if log.View().Head() > 0 {
		return s.read(ctx, log.View(), k)
	}
	return s.create(ctx, log, g, k)
}

// read reads genesis and head of the log in v, if there is one.
func (s *Server) read(ctx context.Context, v *stor.View, k *known) error {
	head := v.Head()
	if head == 0 {
		return nil
	}
	if err := s.readGenesis(ctx, v, k); err != nil {
		return err
	}
	f, err := v.Read(ctx, head)
	if err != nil {
		return fmt.Errorf("server: read position %d: %w", head, err)
	}
	return k.decode(f)
}

// readGenesis finds the vdisk's key and geometry.
func (s *Server) readGenesis(ctx context.Context, v *stor.View, k *known) error {
	f, err := v.Read(ctx, 1)
	if err != nil {
		return fmt.Errorf("server: read genesis: %w", err)
	}
	return s.openGenesis(f, k)
}

func (s *Server) openGenesis(f *stor.Fetched, k *known) error {
	c, err := crypto.CheckHead(f.Head, k.uuid, 1)
	if err != nil {
		return fmt.Errorf("server: genesis: %w", err)
	}
	g := c.Header.Genesis
	if g == nil || g.Name != k.vdisk {
		return tlog.Corruptf("server: genesis: it is not one of vdisk %s", k.vdisk)
	}
	if k.key, err = s.cfg.Keys.Unwrap(k.uuid, c.Header.KeyID, g.WrappedKey); err != nil {
		return fmt.Errorf("server: genesis: data key of vdisk %s: %w", k.vdisk, err)
	}
	k.disk = session.Disk{Size: g.DiskSize, BlockSize: g.BlockSize}
	k.origin = tlog.Origin{Vdisk: g.Parent, Position: g.ParentPosition, Digest: g.ParentDigest}
	if !validBlockSize(g.BlockSize) {
		return tlog.Corruptf("server: genesis: block size of %d bytes", g.BlockSize)
	}
	return nil
}

// decode opens an aggregation and makes it the head. f.Data is overwritten.
func (k *known) decode(f *stor.Fetched) error {
	a, err := aggregate.Decode(k.key, k.uuid, f.Position, f.Head, f.Data)
	if err != nil {
		return fmt.Errorf("server: position %d: %w", f.Position, err)
	}
	k.head, k.records = a.Next(k.vdisk), a.Records
	return nil
}

// adopt verifies a position that a takeover is about to append again: that it
// can be opened, and goes on where the position before it ends.
func (s *Server) adopt(ctx context.Context, v *stor.View, f *stor.Fetched, k *known) error {
	switch {
	case f.Position == 1:
		if err := s.openGenesis(f, k); err != nil {
			return err
		}
	case k.head.Position != f.Position-1:
		if k.key == nil {
			if err := s.readGenesis(ctx, v, k); err != nil {
				return err
			}
		}
		before, err := v.Read(ctx, f.Position-1)
		if err != nil {
			return fmt.Errorf("server: read position %d: %w", f.Position-1, err)
		}
		if err := k.decode(before); err != nil {
			return err
		}
	}
	was := k.head
	if err := k.decode(f); err != nil {
		return err
	}
	if last := was.Last + tlog.Sequence(len(k.records)); f.Position > 1 && k.head.Last != last {
		return tlog.Corruptf("server: position %d ends at record %d, not %d", f.Position, k.head.Last, last)
	}
	return nil
}

// create makes the log's first position.
func (s *Server) create(ctx context.Context, log *stor.Log, g greeting, k *known) error {
	var wrapped []byte
	var err error
	if k.key, wrapped, err = s.cfg.Keys.NewDataKey(k.uuid); err != nil {
		return fmt.Errorf("server: new data key: %w", err)
	}
	m := s.cfg.Pool.Manifest()
	k.disk, k.origin = session.Disk{Size: g.attach.DiskSize, BlockSize: g.blockSize}, g.origin
	head := aggregate.Head{
		Vdisk: k.vdisk, UUID: k.uuid, Chain: tlog.ChainStart(k.vdisk), Hash: g.attach.Hash, K: m.K, M: m.M,
	}
	k.head, err = aggregate.Genesis(ctx, head, crypto.Genesis{
		Name: k.vdisk, DiskSize: k.disk.Size, BlockSize: k.disk.BlockSize, W: uint8(m.W),
		WrappedKey: wrapped, Created: uint64(s.cfg.Now().UnixNano()),
		Parent: k.origin.Vdisk, ParentPosition: k.origin.Position, ParentDigest: k.origin.Digest,
	}, k.key, s.cfg.Pool.Encode, publisher{log})
	if err != nil {
		return fmt.Errorf("server: create the log: %w", err)
	}
	failpoint.Here("load.created")
	s.cfg.Logger.Info("log created", "vdisk", string(k.vdisk), "uuid", k.uuid.String(), "bytes", k.disk.Size)
	return nil
}

// own starts what an owned vdisk consists of.
func (s *Server) own(log *stor.Log, k *known) *owner {
	o := &owner{
		srv: s, vdisk: k.vdisk, uuid: k.uuid, origin: k.origin, log: log, conns: map[session.Conn]*conn{}, gone: make(chan struct{}), care: s.newCare(),
		tell: s.cfg.Logger.With("vdisk", string(k.vdisk)),
	}
	o.life, o.end = context.WithCancel(context.Background())
	limits := session.Limits{Unflushed: 2 * creditRecords}
	o.machine = session.New(limits, k.disk, k.session(), k.records)
	o.pipe = aggregate.New(s.cfg.Aggregate, k.head, k.key, s.cfg.Pool.Encode, publisher{log}, o.committed)
	o.tell.Info("vdisk owned", "epoch", uint64(log.Epoch()), "position", uint64(k.head.Position), "at", uint64(k.head.Last))
	return o
}

// refusedError carries a refusal through load.
type refusedError session.Refusal

func (r *refusedError) Error() string { return r.Message }
