package stor

import (
	"context"
	"errors"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
	"tlog/internal/failpoint"
)

// Takeover fences the vdisk with an epoch above every one seen, finds the head,
// has verify (decode, check chain of records) look at every position that is adopted, in
// order, and appends the adopted positions again in the new epoch.
//
// It returns when all of them are committed; the caller then publishes the
// genesis (position 1) or a barrier (head + 1), and answers nobody before that
// is committed. verify may overwrite Fetched.Data, and must not keep it; the
// View it gets ends with the position it looks at. When ctx ends first, or fewer than
// max(W, R) servers answer, nothing is owned; a competing owner is waited for
// with back-off.
func (p *Pool) Takeover(ctx context.Context, vdisk tlog.UUID, verify func(context.Context, *View, *Fetched) error) (*Log, error) {
	for again := 0; ; again++ {
		s := p.newSearch(vdisk, true)
		var err error
		if s.owner.ID, err = newUUID(p.cfg.Random); err != nil {
			return nil, err
		}
		s.verify = verify
		if err = s.run(ctx); err == nil {
			return s.log, nil
		}
		if !errors.Is(err, errChanged) || again == searches {
			return nil, err
		}
	}
}

// searches is how often a search begins again because the manifest changed.
const searches = 3

// Survey finds the head without changing anything. tlog.Unavailable if fewer than R servers answer, or
// if claims ≥ k but valid < k at a position that may be committed (tlog.Corrupt
// if every server answered). A vdisk without log: Head() == 0.
//
// The view is as of some moment during the call. While an owner is writing
// its last positions may be ones that are not acknowledged yet, and a takeover
// by another owner may replace those.
func (p *Pool) Survey(ctx context.Context, vdisk tlog.UUID) (*View, error) {
	s := p.newSearch(vdisk, false)
	err := s.run(ctx)
	for again := 0; again < searches && errors.Is(err, errChanged) || again == 0 && s.torn && ctx.Err() == nil; again++ {
		// Claims and shards are read at different moments: a takeover in
		// between looks like damage, once.
		s = p.newSearch(vdisk, false)
		err = s.run(ctx)
	}
	if err != nil {
		return nil, err
	}
	return s.view, nil
}

// decode puts an adopted position together and has the caller look at it.
func (s *search) decode(a takeover.Verify) {
	failpoint.Here("takeover.verify")
	f, err := s.assemble(a)
	if err == nil {
		s.adopted = f
		s.view.extend(a.Position)
		data := append([]byte(nil), f.Data...) // verify may overwrite its copy
		err = s.verify(s.ctx, s.view, &Fetched{a.Position, f.Digest, f.Prev, f.Head, data, s.damaged})
	}
	s.refusal = err
	s.post(searchAnswer{event: takeover.Verified{OK: err == nil}})
}

func (s *search) assemble(a takeover.Verify) (*Fetched, error) {
	g := s.pool.gather(s.vdisk, a.Position, a.Digest)
	for _, c := range s.good {
		if err := g.add(c); err != nil {
			return nil, err
		}
	}
	return g.fetched()
}

// reappend publishes an adopted position in our epoch: the same bytes, each
// server asked for the index it has.
func (s *search) reappend(a takeover.Append) {
	failpoint.Here("takeover.adopt")
	shards, err := s.pool.rebuild(s.vdisk, a.Position, a.Digest, s.good)
	if err != nil {
		// They were decoded a moment ago: our code is wrong, or our memory is.
		s.pool.cfg.Logger.Error("an adopted position cannot be written again", "vdisk", s.vdisk, "position", a.Position, "error", err)
		s.post(searchAnswer{fatal: tlog.WithClass(tlog.Fatal, err)})
		return
	}
	if s.log == nil {
		s.log = s.pool.newLog(s.vdisk, s.owner, a.Position-1, s.rules)
	}
	held := make([]appending.Holding, len(a.Held))
	for i, h := range a.Held {
		held[i] = appending.Holding{Index: h.Index, Valid: h.Good}
	}
	s.log.publish(appending.Publish{Position: a.Position, Held: held}, a.Digest, shards, func(err error) {
		if err != nil {
			s.post(searchAnswer{fatal: err})
			return
		}
		failpoint.Here("takeover.adopted")
		s.post(searchAnswer{event: takeover.Committed{Position: a.Position}})
	})
}
