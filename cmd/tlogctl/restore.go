package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/bookmark"
	"tlog/cmd/internal/storage"
	"tlog/internal/failpoint"
	"tlog/player"
)

type restoreOptions struct {
	vdisk tlog.VdiskID
	to    string
	at    string
	force bool
}

func (t *tool) restoreCommand() *cobra.Command {
	var o restoreOptions
	c := &cobra.Command{
		Use:   "restore VDISK --to FILE [--at WHEN]",
		Short: "rebuild the disk of a moment as a raw, sparse image",
		Long: "Rebuilds a disk as it was at WHEN, from its log alone, into a raw, sparse file.\n" +
			"WHEN = latest | seq:N | RFC 3339 time with zone | -5m (before now) | bookmark:NAME.\n" +
			"The file is written beside its name and renamed when it is whole.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.vdisk = tlog.VdiskID(args[0])
			return t.restore(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	c.Flags().StringVar(&o.to, "to", "", "the image to write")
	c.Flags().StringVar(&o.at, "at", "latest", "the moment")
	c.Flags().BoolVar(&o.force, "force", false, "replace an existing file")
	return c
}

func (t *tool) restore(ctx context.Context, o restoreOptions, out io.Writer) error {
	switch {
	case o.to == "":
		return storage.Usage(errors.New("restore: --to FILE is needed"))
	case strings.HasPrefix(o.to, "nbd://") || strings.HasPrefix(o.to, "nbd+unix://"):
		return storage.Usage(fmt.Errorf("restore: to %s: restore to a file, and copy that with nbdcopy", o.to))
	}
	when, err := player.ParseWhen(o.at, time.Now())
	if err != nil {
		return storage.Usage(err)
	}
	l, closing, err := t.open(ctx, o.vdisk, true)
	if err != nil {
		return err
	}
	defer closing()
	if when, err = bookmark.Resolve(ctx, l, when); err != nil {
		return err
	}
	p, err := l.Resolve(ctx, when)
	if err != nil {
		return err
	}
	report, err := restoreImage(ctx, l, p, o)
	if err != nil {
		return err
	}
	return t.reportRestore(out, l, report, o)
}

// restoreImage writes the image and publishes it; nothing is left of one that fails.
func restoreImage(ctx context.Context, l *player.Log, p player.Point, o restoreOptions) (*player.Report, error) {
	image, err := createImage(o.to, o.force)
	if err != nil {
		return nil, err
	}
	bar := newProgress("restore", os.Stderr)
	report, err := l.Restore(ctx, p, image, player.RestoreOptions{Fresh: true, Progress: bar.step})
	bar.end()
	failpoint.Here("restore.written")
	if err == nil {
		err = image.publish(report.DiskSize)
	}
	if err != nil {
		if cleanup := image.discard(); cleanup != nil && !errors.Is(cleanup, os.ErrClosed) {
			err = errors.Join(err, cleanup)
		}
		return nil, err
	}
	return report, nil
}

func (t *tool) reportRestore(out io.Writer, l *player.Log, r *player.Report, o restoreOptions) error {
	if t.json {
		return emit(out, struct {
			Vdisk    string    `json:"vdisk"`
			Sequence uint64    `json:"sequence"`
			Time     time.Time `json:"time"`
			File     string    `json:"file"`
			DiskSize uint64    `json:"disk_size_bytes"`
			Written  int64     `json:"written_bytes"`
			Damaged  []damage  `json:"damaged"`
		}{string(o.vdisk), uint64(r.Point.Sequence), r.Point.Time.UTC(), o.to, r.DiskSize, r.Bytes, damageList(r.Damaged)})
	}
	for _, line := range summary(r.Damaged) {
		fmt.Fprintf(os.Stderr, "tlogctl: worked around %s\n", line)
	}
	_, err := fmt.Fprintf(out, "restored %s at seq:%d (%s) to %s: disk of %s, %s of data\n",
		l.Info().Vdisk, r.Point.Sequence, timeText(r.Point.Time), o.to, bytesText(r.DiskSize), bytesText(uint64(r.Bytes)))
	return err
}

// open opens the storage and one log in it.
func (t *tool) open(ctx context.Context, vdisk tlog.VdiskID, needKeys bool) (*player.Log, func(), error) {
	if err := vdisk.Check(); err != nil {
		return nil, nil, storage.Usage(err)
	}
	o, err := t.storage.OpenReader(ctx, t.log, needKeys)
	if err != nil {
		return nil, nil, err
	}
	closing := func() {
		if err := o.Close(); err != nil {
			t.log.Warn("closing the shard servers", "err", err)
		}
	}
	l, err := player.Open(ctx, o.Pool, o.Keys, vdisk, player.Config{})
	if err != nil {
		closing()
		return nil, nil, err
	}
	return l, closing, nil
}
