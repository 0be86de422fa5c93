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
	"tlog/client"
	"tlog/cmd/internal/attach"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

// rollers names the client that rolls a vdisk back: the same each time, so that
// one who was given the vdisk for it can go on, or go back.
var rollers = tlog.UUID{0x0f, 0x1c, 0x7d, 0x4e, 0x96, 0x2b, 0x4a, 0x0a, 0x8b, 0x55, 0x21, 0xd4, 0xe7, 0x6f, 0x30, 0xc9}

type rollback struct {
	*tool
	moment
	way  attach.Flags
	plan bool
}

func (t *tool) rollbackCommand() *cobra.Command {
	o := &rollback{tool: t}
	c := &cobra.Command{
		Use:   "rollback VDISK --at WHEN [--plan]",
		Short: "bring a disk back to a moment, by new records of its log",
		Long: "Makes the disk again what it was at WHEN: writes the blocks that differ, and no other, as new\n" +
			"records. Nothing of the history is cut: the rollback itself can be rolled back. --plan tells\n" +
			"what would be written. The vdisk must not be served meanwhile: it is refused while another\n" +
			"client has it, unless --takeover says so. A base image is brought up to the log when the disk\n" +
			"is served again (tlognbd serve --takeover).\n" +
			"Without --server the storage must not be open in a tlogserver (--data-dir).",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.vdisk = tlog.VdiskID(args[0])
			if !cmd.Flags().Changed("at") {
				return storage.Usage(errors.New("rollback: --at WHEN is needed"))
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.register(c.Flags())
	o.way.Register(c.Flags())
	c.Flags().BoolVar(&o.plan, "plan", false, "tell what would be written, and write nothing")
	return c
}

func (o *rollback) run(ctx context.Context, out io.Writer) (err error) {
	at, err := o.parse()
	if err != nil {
		return err
	}
	if err := o.vdisk.Check(); err != nil {
		return storage.Usage(err)
	}
	if o.plan {
		return o.tell(ctx, at, out)
	}
	a, err := o.way.Open(ctx, &o.storage, attach.Reads, o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	l, err := player.Open(ctx, a.Pool, a.Keys, o.vdisk, player.Config{})
	if err != nil {
		return err
	}
	// The moment is found before the vdisk is taken from anybody.
	to, err := o.source(ctx, l, at, wants{index: true, mapped: true})
	if err != nil {
		return err
	}
	defer to.close()
	i := l.Info()
	c, err := a.Attach(ctx, client.Config{Vdisk: o.vdisk, DiskSize: i.DiskSize, BlockSize: i.BlockSize, ID: rollers.NameUUID(string(o.vdisk))})
	if err != nil {
		return err
	}
	before := c.Start()
	d, err := o.write(ctx, a, c, to)
	err = errors.Join(err, a.Detach(ctx, c))
	after := c.Flushed()
	if err != nil && after.Sequence > before.Sequence {
		err = fmt.Errorf("%w; records seq:%d to seq:%d are of this rollback, which is not whole: the disk is neither as before nor as it was: give the command again, or go back with --at seq:%d",
			err, before.Sequence+1, after.Sequence, before.Sequence)
	}
	if err != nil {
		return err
	}
	return o.report(out, d, after)
}

// latest finds where the log ends now.
func (o *rollback) latest(ctx context.Context, l *player.Log) (*source, error) {
	at, err := (&moment{at: "latest", snap: "any"}).parse()
	if err != nil {
		return nil, err
	}
	return o.source(ctx, l, at, wants{index: true, mapped: true})
}

// tell is --plan.
func (o *rollback) tell(ctx context.Context, at parsed, out io.Writer) error {
	l, closing, err := o.open(ctx, o.vdisk, true)
	if err != nil {
		return err
	}
	defer closing()
	to, err := o.source(ctx, l, at, wants{index: true, mapped: true})
	if err != nil {
		return err
	}
	defer to.close()
	now, err := o.latest(ctx, l)
	if err != nil {
		return err
	}
	defer now.close()
	d := newDifference(now.point, to.point)
	if err := d.byContent(ctx, now.past, to.past); err != nil {
		return err
	}
	return o.report(out, d, client.Point{})
}

// write logs what makes the disk what it was. The log is the session's alone: what
// is read of it now is the disk.
func (o *rollback) write(ctx context.Context, a *attach.Access, c *client.Client, to *source) (*difference, error) {
	if err := a.Same(o.vdisk, c.Session()); err != nil {
		return nil, err
	}
	l, err := player.Open(ctx, a.Pool, a.Keys, o.vdisk, player.Config{})
	if err != nil {
		return nil, err
	}
	if i, start := l.Info(), c.Start(); i.Last != start.Sequence || i.Chain != start.Chain {
		return nil, fmt.Errorf("rollback: vdisk %s: the storage has its log up to record %d, the server up to %d: name the storage of that server", o.vdisk, i.Last, start.Sequence)
	}
	now, err := o.latest(ctx, l)
	if err != nil {
		return nil, err
	}
	defer now.close()
	d := newDifference(now.point, to.point)
	bar := newProgress("rollback", os.Stderr)
	defer bar.end()
	err = to.past.Changes(ctx, now.past, func(off, n int64, data []byte) error {
		op := tlog.OpWrite
		if data == nil {
			op = tlog.OpTrim
		}
		if _, err := c.Append(ctx, op, uint64(off), uint32(n), data); err != nil {
			return err
		}
		d.add(off, n, data != nil)
		return nil
	})
	if err != nil || len(d.extents) == 0 {
		return d, err
	}
	d.settle()
	return d, c.Flush(ctx)
}

func (o *rollback) report(out io.Writer, d *difference, after client.Point) error {
	done := !o.plan
	if o.json {
		return emit(out, struct {
			Vdisk   string    `json:"vdisk"`
			At      uint64    `json:"at_sequence"`
			Time    time.Time `json:"at_time"`
			Before  uint64    `json:"before_sequence"`
			After   uint64    `json:"after_sequence,omitempty"` // absent: planned
			Data    int64     `json:"data_bytes"`
			Zeroed  int64     `json:"zeroed_bytes"`
			Extents []changed `json:"extents"`
		}{string(o.vdisk), uint64(d.to.Sequence), d.to.Time.UTC(), uint64(d.from.Sequence), uint64(after.Sequence), d.data, d.zeroed, d.extents})
	}
	var err error
	switch {
	case len(d.extents) == 0:
		_, err = fmt.Fprintf(out, "%s at seq:%d is what it was at seq:%d: nothing is to be written\n", o.vdisk, d.from.Sequence, d.to.Sequence)
	case done:
		_, err = fmt.Fprintf(out, "rolled %s back to seq:%d (%s): %v, by seq:%d to seq:%d; undo it with: tlogctl rollback %s --at seq:%d\n",
			o.vdisk, d.to.Sequence, timeText(d.to.Time), d, d.from.Sequence+1, after.Sequence, o.vdisk, d.from.Sequence)
	default:
		_, err = fmt.Fprintf(out, "%s from seq:%d back to seq:%d (%s) would write %v\n", o.vdisk, d.from.Sequence, d.to.Sequence, timeText(d.to.Time), d)
	}
	return err
}
