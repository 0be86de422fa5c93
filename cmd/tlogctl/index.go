package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/bookmark"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

type indexOptions struct {
	vdisk  tlog.VdiskID
	follow time.Duration
}

func (t *tool) indexCommand() *cobra.Command {
	var o indexOptions
	c := &cobra.Command{
		Use:   "index VDISK [--follow D]",
		Short: "bring the index of a vdisk's log up to date",
		Long: "Reads what the index lacks of a log, so that later mounts, restores and points\n" +
			"need not. An index is derived from the log: it may be deleted at any time.\n" +
			"--follow goes on until it is interrupted, and looks for more every D.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.vdisk = tlog.VdiskID(args[0])
			return t.index(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	c.Flags().DurationVar(&o.follow, "follow", 0, "look for more every so often (0: once)")
	return c
}

func (t *tool) index(ctx context.Context, o indexOptions, out io.Writer) error {
	switch {
	case t.indexes.Dir == "":
		return storage.Usage(errors.New("index: --index DIR names no directory"))
	case o.follow < 0:
		return storage.Usage(fmt.Errorf("index: --follow %v: must not be negative", o.follow))
	}
	err := t.indexOnce(ctx, o.vdisk, out)
	if o.follow == 0 {
		return err
	}
	tick := time.NewTicker(o.follow)
	defer tick.Stop()
	for err == nil {
		select {
		case <-tick.C:
			err = t.indexOnce(ctx, o.vdisk, out)
		case <-ctx.Done():
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (t *tool) indexOnce(ctx context.Context, vdisk tlog.VdiskID, out io.Writer) error {
	began := time.Now()
	l, closing, err := t.open(ctx, vdisk, true)
	if err != nil {
		return err
	}
	defer closing()
	before, err := l.IndexState(ctx, t.indexes.Dir)
	if err != nil {
		return err
	}
	if before.Positions == l.Info().Positions {
		return t.reportIndex(out, vdisk, before, before, 0)
	}
	ix, err := t.openIndex(ctx, l)
	if err != nil {
		return err
	}
	defer t.closeIndex(ix)
	return t.reportIndex(out, vdisk, before, ix.State(), time.Since(began))
}

func (t *tool) reportIndex(out io.Writer, vdisk tlog.VdiskID, before, now player.IndexState, took time.Duration) error {
	if t.json {
		return emit(out, struct {
			Vdisk     string  `json:"vdisk"`
			Positions uint64  `json:"positions"`
			Added     uint64  `json:"added_positions"`
			Last      uint64  `json:"last_sequence"`
			Bytes     int64   `json:"index_bytes"`
			Seconds   float64 `json:"seconds"`
		}{string(vdisk), uint64(now.Positions), uint64(now.Positions - before.Positions), uint64(now.Last), now.Bytes, took.Seconds()})
	}
	_, err := fmt.Fprintf(out, "index of %s: %d records in %d positions, %s; %d positions added in %v\n",
		vdisk, now.Last, now.Positions, bytesText(uint64(now.Bytes)), now.Positions-before.Positions, took.Round(time.Millisecond))
	return err
}

// openIndex opens the index of a log, and reads what it lacks.
func (t *tool) openIndex(ctx context.Context, l *player.Log) (*player.Index, error) {
	bar := newProgress("index", os.Stderr)
	ix, err := t.indexes.Open(ctx, l, t.log, bar.step)
	bar.end()
	return ix, err
}

func (t *tool) closeIndex(ix *player.Index) {
	if err := ix.Close(); err != nil {
		t.log.Warn("closing the index", "err", err)
	}
}

// moment resolves WHEN, and the bookmark that it may name.
func (t *tool) moment(ctx context.Context, l *player.Log, ix *player.Index, when string, snap player.Snap) (player.Point, error) {
	w, err := player.ParseWhen(when, time.Now())
	if err != nil {
		return player.Point{}, storage.Usage(err)
	}
	if w, err = bookmark.Resolve(ctx, l, w); err != nil {
		return player.Point{}, err
	}
	return ix.Resolve(ctx, w, snap)
}
