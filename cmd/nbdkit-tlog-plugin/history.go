//go:build nbdkit

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tlog"
	"tlog/client"
	"tlog/cmd/internal/storage"
	"tlog/player"
	"tlog/vdisk"
)

// history reads the vdisk's log from its storage, which is opened only when the
// base has something to catch up: most attaches need none.
type history struct {
	storage *storage.Flags
	vdisk   tlog.VdiskID
	log     *slog.Logger
}

// with opens the log and checks that it is at `to` what the server says.
func (h *history) with(ctx context.Context, to client.Point, fn func(*player.Log) error) error {
	opened, err := h.storage.OpenReader(ctx, h.log, true)
	if err != nil {
		return err
	}
	log, err := player.Open(ctx, opened.Pool, opened.Keys, h.vdisk, player.Config{})
	if err == nil {
		err = h.compare(log.Info(), to)
	}
	if err == nil {
		err = fn(log)
	}
	return errors.Join(err, opened.Close())
}

// compare needs the head only: the log is ours, so nobody appends to it.
func (h *history) compare(info player.Info, to client.Point) error {
	if info.Last != to.Sequence || info.Chain != to.Chain {
		return tlog.Corruptf("the storage named has vdisk %s up to record %d with chain value %v, the server is at %d with %v: name the storage of that server",
			h.vdisk, info.Last, info.Chain, to.Sequence, to.Chain)
	}
	return nil
}

// catchUp is a vdisk.Config's CatchUp.
func (h *history) catchUp(ctx context.Context, after, to client.Point, fn func(*tlog.Record) error) error {
	err := h.with(ctx, to, func(l *player.Log) error {
		return l.Replay(ctx, after.Sequence, after.Chain, to.Sequence, fn)
	})
	if errors.Is(err, player.ErrHistory) {
		err = tlog.Corruptf("%w: %w: the base is of another copy of the disk; move it and its marker (.tlog) away to take over what the log holds", vdisk.ErrDiverged, err)
	}
	return err
}

// rebuild is a vdisk.Config's Rebuild.
func (h *history) rebuild(ctx context.Context, to client.Point, t vdisk.Target, progress func(float64)) error {
	return h.with(ctx, to, func(l *player.Log) error {
		when, err := player.ParseWhen(fmt.Sprintf("seq:%d", to.Sequence), time.Now())
		if err != nil {
			return err
		}
		point, err := l.Resolve(ctx, when)
		if err != nil {
			return err
		}
		_, err = l.Restore(ctx, point, t, player.RestoreOptions{Fresh: true, Progress: func(s player.Progress) {
			if s.Total > 0 && s.Done < s.Total {
				progress(float64(s.Done) / float64(s.Total))
			}
		}})
		return err
	})
}
