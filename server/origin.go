package server

import (
	"context"
	"fmt"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/session"
)

// began refuses a client that takes the log for one that began with another
// moment. One that names none takes any.
func began(with tlog.Origin, g *greeting) *session.Refusal {
	if g.origin.IsZero() || g.origin == with {
		return nil
	}
	if with.IsZero() {
		return refused(tlog.HandshakeInvalidRequest, "vdisk %s is there already, and was not begun with a moment of another one", g.vdisk)
	}
	return refused(tlog.HandshakeInvalidRequest, "vdisk %s is there already, and was begun with position %d of vdisk %v", g.vdisk, with.Position, with.Vdisk)
}

// judgeOrigin refuses the client of g for the origin that it names, before
// anything is written.
func (s *Server) judgeOrigin(ctx context.Context, k *known, g *greeting) error {
	var r *session.Refusal
	var err error
	if k.key != nil {
		r = began(k.origin, g)
	} else {
		r, err = s.originExists(ctx, g.origin)
	}
	if r != nil {
		err = (*refusedError)(r)
	}
	return err
}

// originExists refuses an origin that is not in the pool: what a genesis says is
// true when it is written.
func (s *Server) originExists(ctx context.Context, o tlog.Origin) (*session.Refusal, error) {
	if o.IsZero() {
		return nil, nil
	}
	view, err := s.cfg.Pool.Survey(ctx, o.Vdisk)
	if err != nil {
		return nil, fmt.Errorf("server: find the origin's log: %w", err)
	}
	if o.Position > view.Head() {
		return refused(tlog.HandshakeInvalidRequest, "the origin is position %d of vdisk %v, whose log ends at %d", o.Position, o.Vdisk, view.Head()), nil
	}
	f, err := view.ReadHead(ctx, o.Position)
	if err != nil {
		return nil, fmt.Errorf("server: read the origin: %w", err)
	}
	head, err := crypto.CheckHead(f.Head, o.Vdisk, o.Position)
	if err != nil {
		return nil, fmt.Errorf("server: read the origin: %w", err)
	}
	if head.Digest != o.Digest {
		return refused(tlog.HandshakeInvalidRequest, "the origin is position %d of vdisk %v with chain digest %v, and it has %v", o.Position, o.Vdisk, o.Digest, head.Digest), nil
	}
	return nil, nil
}
