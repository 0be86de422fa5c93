package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tlog/cmd/internal/storage"
	"tlog/group"
	"tlog/player"
)

// groupOptions are those of a command on all disks of a consistency group.
type groupOptions struct {
	group  string
	vdisks []string // named; none: those whose last record is the group's
	at     string
	snap   string
	exact  bool
	to     string
}

// withGroup lets restore take --group instead of a vdisk.
func (t *tool) withGroup(c *cobra.Command) *cobra.Command {
	var o groupOptions
	f := c.Flags()
	f.StringVar(&o.group, "group", "", "restore all disks of a consistency group, at one moment, into the new directory --to")
	f.BoolVar(&o.exact, "exact", false, "with --group: keep a moment at which a disk that was killed may lack writes that it acknowledged and did not flush")
	if f.Lookup("snap-to") == nil {
		f.String("snap-to", "", "with --group: flush (default for times) moves the moment to the last flush of any disk at or before it, any does not")
	}
	one, args := c.RunE, c.Args
	c.Args = func(cmd *cobra.Command, a []string) error {
		if cmd.Flags().Changed("group") {
			return nil
		}
		return args(cmd, a)
	}
	c.RunE = func(cmd *cobra.Command, a []string) error {
		if !cmd.Flags().Changed("group") {
			return one(cmd, a)
		}
		for _, other := range []string{"force", "fresh", "dry-run", "best-effort", "no-index", "state"} {
			if f.Changed(other) {
				return storage.Usage(fmt.Errorf("restore: --%s does not go with --group", other))
			}
		}
		o.vdisks = a
		for name, to := range map[string]*string{"at": &o.at, "to": &o.to, "snap-to": &o.snap} {
			*to = f.Lookup(name).Value.String()
		}
		return t.restoreGroup(cmd.Context(), o, cmd.OutOrStdout())
	}
	c.Long += "\n\n--group G restores every disk of a consistency group, at one moment of the clock that they\n" +
		"share: --to names a directory, which appears with one image a disk, or not at all. The disks are\n" +
		"those whose last record is of the group, or those that are named."
	return c
}

// config is the cut that is asked for.
func (o groupOptions) config() (c player.CutConfig, err error) {
	switch {
	case o.to == "":
		return c, storage.Usage(errors.New("restore: --to DIR is needed"))
	case group.CheckName(o.group) != nil:
		return c, storage.Usage(group.CheckName(o.group))
	}
	c.Group, c.Exact = o.group, o.exact
	if c.Snap, err = player.ParseSnap(o.snap); err == nil {
		c.When, err = player.ParseWhen(o.at, time.Now())
	}
	if err != nil {
		return c, storage.Usage(err)
	}
	return c, nil
}

func (t *tool) restoreGroup(ctx context.Context, o groupOptions, out io.Writer) error {
	thrifty()
	cfg, err := o.config()
	if err != nil {
		return err
	}
	dir, err := createImages(o.to)
	if err != nil {
		return err
	}
	reports, cut, err := t.restoreCut(ctx, o, cfg, dir)
	if err == nil {
		err = dir.publish()
	}
	if err != nil {
		return errors.Join(err, dir.discard())
	}
	return t.reportCut(out, o, cut, reports)
}

// restoreCut restores every disk of the cut into dir.
func (t *tool) restoreCut(ctx context.Context, o groupOptions, cfg player.CutConfig, dir *images) ([]*player.Report, *player.Cut, error) {
	opened, err := t.storage.OpenReader(ctx, t.log, true)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err := opened.Close(); err != nil {
			t.log.Warn("closing the shard servers", "err", err)
		}
	}()
	logs, err := opened.Members(ctx, o.group, o.vdisks)
	if err != nil {
		return nil, nil, err
	}
	var disks []*player.Index
	for _, l := range logs {
		ix, err := t.openIndex(ctx, l)
		if err != nil {
			return nil, nil, err
		}
		defer t.closeIndex(ix)
		disks = append(disks, ix)
	}
	cut, err := player.NewCut(disks, cfg)
	if err != nil {
		return nil, nil, err
	}
	var reports []*player.Report
	for _, p := range cut.Points {
		r, err := dir.restore(ctx, p)
		if err != nil {
			return nil, nil, err
		}
		reports = append(reports, r)
	}
	return reports, cut, nil
}

func (t *tool) reportCut(out io.Writer, o groupOptions, cut *player.Cut, reports []*player.Report) error {
	for _, m := range cut.Moved {
		fmt.Fprintf(os.Stderr, "tlogctl: moved back: the log of %s is not known to be complete after %s (its server was killed, or its last records are on their way)\n", m.Vdisk, timeText(m.Until))
	}
	for _, v := range cut.Absent {
		fmt.Fprintf(os.Stderr, "tlogctl: %s had no record yet, and is left out\n", v)
	}
	if !t.json {
		if _, err := fmt.Fprintf(out, "group %s at %s: %d disks in %s\n", o.group, timeText(cut.Time), len(cut.Points), o.to); err != nil {
			return err
		}
	}
	for i, p := range cut.Points {
		if err := t.reportCutDisk(out, o, cut, p, reports[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) reportCutDisk(out io.Writer, o groupOptions, cut *player.Cut, p player.CutPoint, r *player.Report) error {
	file := filepath.Join(o.to, imageName(p.Disk()))
	if t.json {
		return emit(out, struct {
			Group    string    `json:"group"`
			Cut      time.Time `json:"cut_time"`
			Vdisk    string    `json:"vdisk"`
			Sequence uint64    `json:"sequence"`
			Time     time.Time `json:"time"`
			File     string    `json:"file"`
			DiskSize uint64    `json:"disk_size_bytes"`
			Written  int64     `json:"written_bytes"`
			Damaged  []damage  `json:"damaged"`
		}{o.group, cut.Time.UTC(), string(p.Disk()), uint64(p.Sequence), p.Time.UTC(), file, r.DiskSize, r.Bytes, damageList(r.Damaged)})
	}
	for _, line := range summary(r.Damaged) {
		fmt.Fprintf(os.Stderr, "tlogctl: %s: worked around %s\n", p.Disk(), line)
	}
	_, err := fmt.Fprintf(out, "restored %s at seq:%d (%s) to %s: disk of %s, %s of data\n",
		p.Disk(), p.Sequence, timeText(p.Time), file, bytesText(r.DiskSize), bytesText(uint64(r.Bytes)))
	return err
}

func groupText(s group.Stamp) string {
	if s == 0 {
		return "none"
	}
	return s.String()
}
