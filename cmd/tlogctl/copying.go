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
	"tlog/cmd/internal/attach"
	"tlog/cmd/internal/image"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

type copying struct {
	newLog
	from tlog.VdiskID
	at   string
}

func (t *tool) copyCommand() *cobra.Command {
	o := &copying{newLog: newLog{tool: t, verb: "copy"}}
	c := &cobra.Command{
		Use:   "copy VDISK NEW [--at WHEN] [--resume]",
		Short: "make a vdisk of its own of a moment of another one",
		Long: "Logs the content that VDISK had at WHEN as the first records of a new vdisk, newest first;\n" +
			"blocks of zeroes are not logged. VDISK may be written meanwhile. A flush mark at the end\n" +
			"says that the copy is whole; one that was interrupted goes on with --resume and the same\n" +
			"moment. WHEN = latest | seq:N | RFC 3339 time with zone | -5m (before now) | bookmark:NAME.\n" +
			"Beside the storage, name a tlogserver with --server if one has it open (--data-dir).",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.from, o.vdisk = tlog.VdiskID(args[0]), tlog.VdiskID(args[1])
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.register(c.Flags())
	c.Flags().StringVar(&o.at, "at", "latest", "the moment")
	return c
}

func (o *copying) run(ctx context.Context, out io.Writer) (err error) {
	_, err = player.ParseWhen(o.at, time.Now())
	if err == nil {
		err = o.from.Check()
	}
	if err == nil && o.from == o.vdisk {
		err = fmt.Errorf("copy: %s to itself", o.from)
	}
	if err != nil {
		return storage.Usage(err)
	}
	if err := o.check(); err != nil {
		return err
	}
	a, err := o.way.Open(ctx, &o.storage, attach.Reads, o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	l, err := player.Open(ctx, a.Pool, a.Keys, o.from, player.Config{})
	if err != nil {
		return err
	}
	past, p, err := o.find(ctx, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, past.Close()) }()
	if err := o.begin(ctx, a, uint64(past.Size())); err != nil {
		return err
	}
	bar := newProgress("copy", os.Stderr)
	report, err := past.Restore(ctx, copyTarget{ctx, &o.newLog}, player.RestoreOptions{Fresh: true, Progress: bar.step})
	bar.end()
	if err := o.end(ctx, err, fmt.Sprintf("tlogctl copy %s %s --at seq:%d --resume", o.from, o.vdisk, p.Sequence)); err != nil {
		return err
	}
	return o.report(out, report)
}

// find finds the moment, and makes it the origin of the new log. The index is
// not held longer than that.
func (o *copying) find(ctx context.Context, l *player.Log) (*player.Past, player.Point, error) {
	ix, err := o.openIndex(ctx, l)
	if err != nil {
		return nil, player.Point{}, err
	}
	defer o.closeIndex(ix)
	p, err := o.moment(ctx, l, ix, o.at, player.SnapDefault)
	if err != nil {
		return nil, p, err
	}
	if p.Sequence == 0 {
		return nil, p, fmt.Errorf("copy: vdisk %s has no record yet", o.from)
	}
	// The position of the record itself, whatever came behind it: the same when
	// the copy goes on later.
	if p, err = ix.Point(p.Sequence); err != nil {
		return nil, p, err
	}
	if o.origin, err = originOf(ctx, l, p); err != nil {
		return nil, p, err
	}
	past, err := ix.Past(p)
	return past, p, err
}

func (o *copying) report(out io.Writer, r *player.Report) error {
	last := o.client.Flushed()
	if o.json {
		return emit(out, struct {
			Vdisk    string    `json:"vdisk"`
			UUID     string    `json:"uuid"`
			From     string    `json:"from"`
			Sequence uint64    `json:"from_sequence"`
			Time     time.Time `json:"from_time"`
			DiskSize uint64    `json:"disk_size_bytes"`
			Last     uint64    `json:"last_sequence"`
			Logged   int64     `json:"logged_bytes"`
			Chain    string    `json:"chain"`
			Damaged  []damage  `json:"damaged"`
		}{string(o.vdisk), o.client.Session().VdiskUUID.String(), string(o.from), uint64(r.Point.Sequence), r.Point.Time.UTC(), r.DiskSize,
			uint64(last.Sequence), o.written, last.Chain.String(), damageList(r.Damaged)})
	}
	for _, line := range summary(r.Damaged) {
		fmt.Fprintf(os.Stderr, "tlogctl: worked around %s\n", line)
	}
	_, err := fmt.Fprintf(out, "copied %s at seq:%d (%s) to vdisk %s: disk of %s, %s of data logged, seq:1 to seq:%d\n",
		o.from, r.Point.Sequence, timeText(r.Point.Time), o.vdisk, bytesText(r.DiskSize), bytesText(uint64(o.written)), last.Sequence)
	return err
}

// copyTarget is a new log as the target of a restore: what is never logged
// reads as zeroes.
type copyTarget struct {
	ctx context.Context
	log *newLog
}

// WriteAt logs what of b is not zero.
func (t copyTarget) WriteAt(b []byte, off int64) (int, error) {
	for piece := range image.Runs(off, b) {
		if err := t.log.write(t.ctx, piece.Off, piece.Data); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// Zero does nothing: a new disk is zero.
func (t copyTarget) Zero(int64, int64) error { return nil }
