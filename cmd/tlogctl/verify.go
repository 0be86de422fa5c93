package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

func (t *tool) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify VDISK",
		Short: "check every shard, link and record of a log",
		Long: "Checks every shard of a log on every server, every link of its chain and, with the key\n" +
			"file, every record. Exit code 0: nothing is wrong. 4: damage was found; the output says\n" +
			"where, and whether the log still reads whole.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.verify(cmd.Context(), tlog.VdiskID(args[0]), cmd.OutOrStdout())
		},
	}
}

func (t *tool) verify(ctx context.Context, vdisk tlog.VdiskID, out io.Writer) error {
	t.storage.EveryFrame = true
	l, closing, err := t.open(ctx, vdisk, false)
	if err != nil {
		return err
	}
	defer closing()
	bar := newProgress("verify", os.Stderr)
	report, err := l.Verify(ctx, bar.step)
	bar.end()
	if show := t.reportVerify(out, l, report, err); show != nil {
		return errors.Join(err, show)
	}
	if err == nil && len(report.Damaged) > 0 {
		return &storage.Exit{Code: storage.ExitIntegrity, Err: fmt.Errorf("vdisk %s: damage found, the log still reads whole", vdisk)}
	}
	return err
}

func (t *tool) reportVerify(out io.Writer, l *player.Log, r *player.Report, failed error) error {
	i := l.Info()
	if t.json {
		reason := ""
		if failed != nil {
			reason = failed.Error()
		}
		return emit(out, struct {
			Vdisk     string   `json:"vdisk"`
			Positions uint64   `json:"positions"`
			Records   int64    `json:"records"`
			Bytes     int64    `json:"bytes"`
			Whole     bool     `json:"whole"`
			Error     string   `json:"error,omitempty"`
			Damaged   []damage `json:"damaged"`
		}{string(i.Vdisk), uint64(i.Positions), r.Records, r.Bytes, failed == nil, reason, damageList(r.Damaged)})
	}
	for _, line := range summary(r.Damaged) {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	if failed != nil {
		return nil
	}
	what := fmt.Sprintf("%d records, %s of data", r.Records, bytesText(uint64(r.Bytes)))
	if i.Chain.IsZero() {
		what = "structure and chain only: no key file"
	}
	_, err := fmt.Fprintf(out, "verified %s: %d positions, %s, %d damaged shards or servers\n", i.Vdisk, i.Positions, what, len(r.Damaged))
	return err
}
