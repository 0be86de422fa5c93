package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/bookmark"
	"tlog/group"
	"tlog/player"
)

func (t *tool) lsCommand() *cobra.Command {
	all := false
	c := &cobra.Command{
		Use:   "ls [--all]",
		Short: "list the vdisks of a pool",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return t.ls(cmd.Context(), all, cmd.OutOrStdout()) },
	}
	c.Flags().BoolVar(&all, "all", false, "the log of the pool's bookmarks too")
	return c
}

// entry is one vdisk as ls --json shows it.
type entry struct {
	Vdisk     string     `json:"vdisk"`
	UUID      string     `json:"uuid"`
	DiskSize  uint64     `json:"disk_size_bytes"` // 0: unknown
	Last      uint64     `json:"last_sequence"`
	LastTime  *time.Time `json:"last_time,omitempty"`
	Positions uint64     `json:"positions"`
	Error     string     `json:"error,omitempty"`
}

func (t *tool) ls(ctx context.Context, all bool, out io.Writer) error {
	o, err := t.storage.OpenReader(ctx, t.log, false)
	if err != nil {
		return err
	}
	list, err := player.List(ctx, o.Pool)
	if err = errors.Join(err, o.Close()); err != nil {
		return err
	}
	w := table(out)
	if !t.json {
		fmt.Fprintln(w, "VDISK\tSIZE\tRECORDS\tLAST WRITE\tPOSITIONS")
	}
	var failed error
	for _, e := range list {
		if e.Name == bookmark.Vdisk && !all {
			continue
		}
		failed = errors.Join(failed, e.Err)
		if err := t.lsEntry(out, w, e); err != nil {
			return err
		}
	}
	return errors.Join(failed, w.Flush())
}

func (t *tool) lsEntry(out, w io.Writer, e player.Entry) error {
	j := entry{Vdisk: string(e.Name), UUID: e.UUID.String()}
	if e.Err != nil {
		j.Error = e.Err.Error()
	} else {
		i := e.Log.Info()
		j.DiskSize, j.Last, j.Positions = i.DiskSize, uint64(i.Last), uint64(i.Positions)
		if !i.LastTime.IsZero() {
			last := i.LastTime.UTC()
			j.LastTime = &last
		}
	}
	if t.json {
		return emit(out, j)
	}
	if e.Err != nil {
		_, err := fmt.Fprintf(w, "(%s)\t-\t-\t-\t%v\n", e.UUID, e.Err)
		return err
	}
	i := e.Log.Info()
	size := "unknown"
	if i.DiskSize > 0 {
		size = bytesText(i.DiskSize)
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\n", i.Vdisk, size, i.Last, timeText(i.LastTime), i.Positions)
	return err
}

func (t *tool) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info VDISK",
		Short: "tell what a vdisk's log covers",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.info(cmd.Context(), tlog.VdiskID(args[0]), cmd.OutOrStdout())
		},
	}
}

func (t *tool) info(ctx context.Context, vdisk tlog.VdiskID, out io.Writer) error {
	l, closing, err := t.open(ctx, vdisk, true)
	if err != nil {
		return err
	}
	defer closing()
	i := l.Info()
	var first time.Time
	if i.Last > 0 {
		w, err := player.ParseWhen("seq:1", time.Now())
		if err != nil {
			return err
		}
		p, err := l.Resolve(ctx, w)
		if err != nil {
			return err
		}
		first = p.Time
	}
	stamp, err := l.LastStamp(ctx)
	if err != nil {
		return err
	}
	if t.json {
		return emit(out, infoJSON(i, first, stamp, t.origin(ctx, l)))
	}
	w := table(out)
	size := "unknown (a version-1 client made it)"
	if i.DiskSize > 0 {
		size = fmt.Sprintf("%s (%d bytes)", bytesText(i.DiskSize), i.DiskSize)
	}
	fmt.Fprintf(w, "vdisk\t%s\nuuid\t%v\ndisk size\t%s\nblock size\t%d\ncreated\t%s\n", i.Vdisk, i.UUID, size, i.BlockSize, timeText(i.Created))
	if o := t.origin(ctx, l); o != nil {
		fmt.Fprintf(w, "begun with\t%v\n", o)
	}
	fmt.Fprintf(w, "records\tseq:1 to seq:%d\nfirst record\t%s\nlast record\t%s\n", i.Last, timeText(first), timeText(i.LastTime))
	fmt.Fprintf(w, "stamped by\t%s\n", groupText(stamp))
	fmt.Fprintf(w, "positions\t%d\nshards\t%d+%d, %d written before a flush is acknowledged\n", i.Positions, i.K, i.M, i.W)
	fmt.Fprintf(w, "client\t%v, generation %d\nchain value\t%v\nhead digest\t%v\nkey id\t%016x\n", i.Client, i.Generation, i.Chain, i.Digest, i.KeyID)
	return w.Flush()
}

func infoJSON(i player.Info, first time.Time, stamp group.Stamp, from *origin) any {
	j := struct {
		Vdisk      string     `json:"vdisk"`
		UUID       string     `json:"uuid"`
		DiskSize   uint64     `json:"disk_size_bytes"`
		BlockSize  uint32     `json:"block_size_bytes"`
		Created    time.Time  `json:"created"`
		Last       uint64     `json:"last_sequence"`
		FirstTime  *time.Time `json:"first_time,omitempty"`
		LastTime   *time.Time `json:"last_time,omitempty"`
		Positions  uint64     `json:"positions"`
		K          int        `json:"data_shards"`
		M          int        `json:"parity_shards"`
		W          int        `json:"min_shards"`
		Client     string     `json:"client"`
		Generation uint64     `json:"generation"`
		Chain      string     `json:"chain"`
		Digest     string     `json:"head_digest"`
		KeyID      string     `json:"key_id"`
		Group      string     `json:"group_id,omitempty"`
		Origin     *origin    `json:"origin,omitempty"`
	}{string(i.Vdisk), i.UUID.String(), i.DiskSize, i.BlockSize, i.Created.UTC(), uint64(i.Last), nil, nil,
		uint64(i.Positions), i.K, i.M, i.W, i.Client.String(), uint64(i.Generation), i.Chain.String(), i.Digest.String(), fmt.Sprintf("%016x", i.KeyID), "", from}
	if stamp != 0 {
		j.Group = fmt.Sprintf("%07x", stamp.Name())
	}
	if i.Last > 0 {
		f, l := first.UTC(), i.LastTime.UTC()
		j.FirstTime, j.LastTime = &f, &l
	}
	return j
}
