package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/internal/failpoint"
	"tlog/player"
)

type restoreOptions struct {
	moment
	to         string
	noIndex    bool
	force      bool
	fresh      bool
	state      string
	dryRun     bool
	bestEffort bool
}

func (t *tool) restoreCommand() *cobra.Command {
	var o restoreOptions
	c := &cobra.Command{
		Use:   "restore VDISK --to FILE|DEVICE|NBD-URI|- [--at WHEN]",
		Short: "rebuild the disk of a moment",
		Long: "Rebuilds a disk as it was at WHEN, from its log alone.\n" +
			"WHEN = latest | seq:N | RFC 3339 time with zone | -5m (before now) | bookmark:NAME.\n\n" +
			"--to FILE     a raw, sparse file. It is written beside its name, as .FILE.restore, and renamed\n" +
			"              when it is whole. A restore that was interrupted goes on when the same command\n" +
			"              is given again; another moment, or --fresh, begins anew.\n" +
			"--to DEVICE   a block device that nobody uses, at least as large as the disk; needs --force.\n" +
			"--to NBD-URI  nbd://… or nbd+unix://…, by nbdcopy, from a copy in the directory for temporary\n" +
			"              files (TMPDIR), which takes as much room as the disk has data.\n" +
			"--to -        standard output, from the first byte to the last.\n\n" +
			"With --state FILE a restore to a device or an NBD target that was interrupted goes on, too, when\n" +
			"the same command is given again: FILE says how far it came. Beside it, as .FILE.restore, is then\n" +
			"the copy that nbdcopy writes. Both are gone when the disk is whole.\n\n" +
			"With an index (--index) that covers at least half of the log only the positions that the moment\n" +
			"needs are read, else the log from its end as far back as bytes are missing.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.vdisk = tlog.VdiskID(args[0])
			return t.restore(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.to, "to", "", "where to write")
	o.register(f)
	f.BoolVar(&o.noIndex, "no-index", false, "keep no index, and use none that there is")
	f.BoolVar(&o.force, "force", false, "replace an existing file, overwrite a device")
	f.BoolVar(&o.fresh, "fresh", false, "do not go on with an interrupted restore")
	f.StringVar(&o.state, "state", "", "keep in this file how far a restore to a device or an NBD target is, and go on with one that was interrupted")
	f.BoolVar(&o.dryRun, "dry-run", false, "tell what would be read and written, and write nothing")
	f.BoolVar(&o.bestEffort, "best-effort", false, "go around positions that cannot be read, and tell what is missing (exit code 4)")
	return c
}

// thrifty has the collector let garbage be half of what is in use, not all of it:
// a restore has its buffers in use from its beginning to its end and makes little
// garbage, so that costs it nothing. GOGC in the environment goes first.
func thrifty() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

func (t *tool) restore(ctx context.Context, o restoreOptions, out io.Writer) error {
	thrifty()
	if o.to == "" && !o.dryRun {
		return storage.Usage(errors.New("restore: --to FILE is needed"))
	}
	if o.to == "stdout" {
		o.to = "-"
	}
	if o.noIndex {
		t.indexes.Dir = ""
	}
	at, err := o.parse()
	if err != nil {
		return err
	}
	l, closing, err := t.open(ctx, o.vdisk, true)
	if err != nil {
		return err
	}
	defer closing()
	to, err := t.openSink(ctx, l, o, out)
	if err != nil {
		return err
	}
	src, err := t.source(ctx, l, at, wants{index: o.dryRun || to.unfinished(), mapped: o.dryRun || o.to == "-"})
	if err != nil {
		return to.leave(err)
	}
	defer src.close()
	if o.dryRun {
		return to.leave(t.dryRun(ctx, out, src))
	}
	report, err := t.restoreTo(ctx, src, to, o)
	if err != nil {
		return err
	}
	if o.to == "-" {
		out = os.Stderr
	}
	return t.reportRestore(out, src, report, o)
}

// restoreTo writes the disk and finishes it; what is left of one that fails is
// the sink's business.
func (t *tool) restoreTo(ctx context.Context, src *source, to sink, o restoreOptions) (*player.Report, error) {
	bar := newProgress("restore", os.Stderr)
	report, err := to.write(ctx, src, player.RestoreOptions{Progress: bar.step, BestEffort: o.bestEffort})
	bar.end()
	failpoint.Here("restore.written")
	if err == nil {
		err = to.finish(ctx, report)
	}
	return report, to.leave(err)
}

// sink is where a restored disk goes.
type sink interface {
	// unfinished reports whether there is something to go on with.
	unfinished() bool
	// write restores the disk, unless it does not fit.
	write(ctx context.Context, src *source, o player.RestoreOptions) (*player.Report, error)
	// finish makes what was written the disk.
	finish(ctx context.Context, r *player.Report) error
	// leave is the end, finished or not. It adds to err what is left and what to do.
	leave(err error) error
}

// openSink finds out what --to is, and refuses what must not be overwritten.
func (t *tool) openSink(ctx context.Context, l *player.Log, o restoreOptions, out io.Writer) (sink, error) {
	nbd := strings.HasPrefix(o.to, "nbd://") || strings.HasPrefix(o.to, "nbd+unix://")
	switch {
	case o.dryRun && o.to == "":
		return nowhere{}, nil
	case nbd:
		return newNBDSink(ctx, l, o)
	case o.to == "-" && o.state == "":
		return newStream(out)
	case strings.Contains(o.to, "://"):
		return nil, storage.Usage(fmt.Errorf("restore: to %s: want a file, a block device, nbd://…, nbd+unix://… or -", o.to))
	}
	if err := refuseBase(o.to); err != nil {
		return nil, err
	}
	st, err := os.Stat(o.to)
	if err == nil && st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0 {
		return openDevice(o.to, l.Info().DiskSize, o)
	}
	if o.state != "" {
		return nil, storage.Usage(errors.New("restore: --state is for devices and NBD targets: a file has its state beside it, and a stream cannot go on"))
	}
	if o.dryRun {
		return nowhere{}, checkImage(o.to, o.force)
	}
	return createImage(o.to, o.force, o.fresh)
}

func (t *tool) reportRestore(out io.Writer, src *source, r *player.Report, o restoreOptions) error {
	lost := lossOf(o.to, r)
	if t.json {
		err := emit(out, struct {
			Vdisk    string         `json:"vdisk"`
			Sequence uint64         `json:"sequence"`
			Time     time.Time      `json:"time"`
			File     string         `json:"file"`
			DiskSize uint64         `json:"disk_size_bytes"`
			Written  int64          `json:"written_bytes"`
			Index    bool           `json:"by_index"`
			Damaged  []damage       `json:"damaged"`
			Lost     []lostPosition `json:"lost"`
			Missing  []missing      `json:"missing"`
		}{string(o.vdisk), uint64(r.Point.Sequence), r.Point.Time.UTC(), o.to, r.DiskSize, r.Bytes, src.indexed(), damageList(r.Damaged), lostList(r), missingList(r)})
		return errors.Join(err, lost)
	}
	for _, line := range summary(r.Damaged) {
		fmt.Fprintf(os.Stderr, "tlogctl: worked around %s\n", line)
	}
	for _, p := range r.Lost {
		fmt.Fprintf(os.Stderr, "tlogctl: lost position %d: %v\n", p.Position, p.Err)
	}
	_, err := fmt.Fprintf(out, "restored %s at seq:%d (%s) to %s: disk of %s, %s of data\n",
		src.log.Info().Vdisk, r.Point.Sequence, timeText(r.Point.Time), o.to, bytesText(r.DiskSize), bytesText(uint64(r.Bytes)))
	return errors.Join(err, lost)
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
