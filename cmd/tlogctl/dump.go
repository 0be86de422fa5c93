package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/cmd/internal/storage"
)

type dumpOptions struct {
	vdisk    tlog.VdiskID
	from, to uint64
}

func (t *tool) dumpCommand() *cobra.Command {
	var o dumpOptions
	c := &cobra.Command{
		Use:   "dump VDISK [--from N] [--to N]",
		Short: "print the records of a log, a line each, without their data",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.vdisk = tlog.VdiskID(args[0])
			return t.dump(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	c.Flags().Uint64Var(&o.from, "from", 1, "first sequence")
	c.Flags().Uint64Var(&o.to, "to", 0, "last sequence (0: the last)")
	return c
}

func (t *tool) dump(ctx context.Context, o dumpOptions, out io.Writer) error {
	l, closing, err := t.open(ctx, o.vdisk, true)
	if err != nil {
		return err
	}
	defer closing()
	last := uint64(l.Info().Last)
	if o.to == 0 {
		o.to = last
	}
	if o.from < 1 || o.from > o.to+1 {
		return storage.Usage(fmt.Errorf("dump: --from %d --to %d: vdisk %s covers 1 to %d", o.from, o.to, o.vdisk, last))
	}
	w := bufio.NewWriterSize(out, 1<<16)
	err = l.Replay(ctx, tlog.Sequence(o.from-1), tlog.Hash{}, tlog.Sequence(o.to), func(r *tlog.Record) error {
		return t.dumpRecord(w, r)
	})
	return errors.Join(err, w.Flush())
}

func (t *tool) dumpRecord(w io.Writer, r *tlog.Record) error {
	at := time.Unix(0, int64(r.Timestamp)).UTC()
	if t.json {
		return emit(w, struct {
			Sequence  uint64    `json:"sequence"`
			Time      time.Time `json:"time"`
			Operation string    `json:"operation"`
			Offset    uint64    `json:"offset"`
			Size      uint32    `json:"size"`
			Hash      string    `json:"hash"`
			Group     string    `json:"group,omitempty"` // stamp
		}{uint64(r.Sequence), at, r.Operation.String(), r.Offset, r.Size, r.Hash.String(), stampText(r.Group)})
	}
	_, err := fmt.Fprintf(w, "%d %s %s %d+%d %v\n", r.Sequence, at.Format(time.RFC3339Nano), r.Operation, r.Offset, r.Size, r.Hash)
	return err
}

// stampText is a record's group stamp in 16 digits; empty: it has none.
func stampText(stamp uint64) string {
	if stamp == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", stamp)
}
