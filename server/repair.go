package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"tlog"
	"tlog/stor"
)

// care is what is known of the state of an owned log's shards.
type care struct {
	busy sync.Mutex // held during a pass

	mu       sync.Mutex
	due      time.Time // the next pass for missing shards
	scrubbed time.Time // the last whole scrub, or when the log was taken over
	scrubDue time.Time
	last     stor.RepairProgress // of the last pass, or of the one that runs
	running  bool
	warned   tlog.Position // short positions that were told of
}

// The rounds of repair. A log that is short is looked at every RepairEvery, a
// whole one less often: its servers may have come back with less.
const (
	careTick   = time.Second
	wholeTimes = 10 // RepairEvery between passes over a whole log
	firstScrub = 7  // the first scrub comes after this part of ScrubEvery
	careTold   = 30 * time.Second
)

func (s *Server) newCare() *care {
	now := s.cfg.Now()
	return &care{due: now, scrubbed: now, scrubDue: now.Add(s.cfg.ScrubEvery / firstScrub)}
}

// careFor passes over owned logs, one after the other, until ctx ends or the
// server stops: for what is missing, or, deep, over everything.
func (s *Server) careFor(ctx context.Context, deep bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.tasks.Go(func() {
		select {
		case <-s.stopped:
			cancel()
		case <-ctx.Done():
		}
	})
	tick := time.NewTicker(careTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		passed := false
		for _, o := range s.owners() {
			if o.care.isDue(s.cfg.Now(), deep) && o.care.busy.TryLock() {
				o.repair(ctx, deep)
				o.care.busy.Unlock()
				passed = true
			}
		}
		if passed && !deep {
			s.settle(ctx)
		}
	}
}

func (c *care) isDue(now time.Time, deep bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if deep {
		return !now.Before(c.scrubDue)
	}
	return !now.Before(c.due)
}

// repair makes one pass over the owner's log.
func (o *owner) repair(ctx context.Context, deep bool) {
	tell := o.tell.With("scrub", deep)
	told := o.srv.cfg.Now()
	cfg := stor.RepairConfig{Deep: deep, BytesPerSecond: o.srv.cfg.RepairRate, Progress: func(p stor.RepairProgress) {
		o.care.note(p, true)
		if now := o.srv.cfg.Now(); now.Sub(told) >= careTold {
			told = now
			tell.Info("shards are being checked", "position", uint64(p.Done), "of", uint64(p.Total), "written", p.Written, "eta", p.ETA.Round(time.Second))
		}
	}}
	p, err := o.log.Repair(ctx, cfg)
	o.srv.Metrics.RepairedShards.Add(uint64(p.Written))
	o.srv.Metrics.CheckedPositions.Add(uint64(p.Looked))
	p.ETA = 0
	o.care.note(p, false)
	o.checkLog(err)
	warn := o.care.plan(&o.srv.cfg, p, err, deep)
	switch {
	case err != nil && tlog.ClassOf(err) != tlog.Fatal && ctx.Err() == nil && !errors.Is(err, context.Canceled):
		tell.Debug("shards could not be checked", "err", err)
	case err != nil:
	case p.Lost > 0 && warn:
		tell.Error("positions have fewer good shards than reading needs", "lost", uint64(p.Lost), "short", uint64(p.Short))
	case p.Short > 0 && warn:
		tell.Warn("positions stay short of shards until servers are back or replaced", "short", uint64(p.Short), "of", uint64(p.Total), "err", p.Reason)
	case p.Written > 0:
		tell.Info("shards were written again", "written", p.Written, "positions", uint64(p.Total))
	}
}

// checkLog lets go of a log that has died while nobody wrote, as when a shard
// server was replaced, or that a pass found to be another owner's: only who takes
// it over anew can repair it.
func (o *owner) checkLog(pass error) {
	dead := o.log.Err()
	if dead == nil && pass != nil && tlog.ClassOf(pass) == tlog.Fatal {
		dead = pass
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if dead != nil && !o.closing {
		o.stepLocked(failure(dead))
	}
}

func (c *care) note(p stor.RepairProgress, running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.running = p, running
}

// plan sets when the next pass is due, and reports whether there is news to
// warn of.
func (c *care) plan(cfg *Config, p stor.RepairProgress, err error, deep bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := cfg.Now()
	every := cfg.RepairEvery
	if err == nil && p.Short == 0 {
		every *= wholeTimes
	}
	c.due = now.Add(every)
	if deep {
		c.scrubDue = now.Add(cfg.RepairEvery)
		if err == nil {
			c.scrubbed, c.scrubDue = now, now.Add(cfg.ScrubEvery)
		}
	}
	if err != nil {
		return false
	}
	news := p.Short != c.warned
	c.warned = p.Short
	return news && p.Short > 0
}

// settle makes servers that took others' places voters, once all is repaired.
func (s *Server) settle(ctx context.Context) {
	if !s.cfg.Pool.Joining() {
		return
	}
	id, err := s.cfg.Pool.Settle(ctx)
	switch {
	case err != nil:
		s.cfg.Logger.Debug("a new shard server does not vote yet", "err", err)
	case s.cfg.Pool.Joining():
		s.cfg.Logger.Info("a new shard server does not vote yet: a log is not repaired; where no server has it open, run tlogctl repair --all", "uuid", id.String())
	default:
		s.cfg.Logger.Info("the pool is whole again: every shard server votes")
	}
}

// Care is the state of the shards of all vdisks that are owned.
type Care struct {
	Short, Lost tlog.Position // positions with fewer than n, or than k, good shards, as of the last pass
	ScrubAge    time.Duration // since the oldest of the last scrubs, or takeovers
	ETA         time.Duration // of the longest pass that runs; 0: none
}

// Care says how the shards of the owned vdisks are.
func (s *Server) Care() Care {
	var all Care
	now := s.cfg.Now()
	for _, o := range s.owners() {
		o.care.mu.Lock()
		all.Short += o.care.last.Short
		all.Lost += o.care.last.Lost
		all.ScrubAge = max(all.ScrubAge, now.Sub(o.care.scrubbed))
		if o.care.running {
			all.ETA = max(all.ETA, o.care.last.ETA)
		}
		o.care.mu.Unlock()
	}
	return all
}
