package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/player"
)

type diffOptions struct {
	from, to moment
	content  bool
}

func (t *tool) diffCommand() *cobra.Command {
	var o diffOptions
	c := &cobra.Command{
		Use:   "diff VDISK A B",
		Short: "list the extents that changed between two moments",
		Long: "Lists the extents of the disk as it was at B of which another record than at A is the newest,\n" +
			"without reading their data: what may differ. --content reads both moments, and drops blocks\n" +
			"that are equal. A and B are moments: latest, seq:N, a time, -5m, bookmark:NAME.",
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.from.vdisk, o.to.vdisk = tlog.VdiskID(args[0]), tlog.VdiskID(args[0])
			o.from.at, o.to.at, o.to.snap = args[1], args[2], o.from.snap
			return t.diff(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	o.from.registerSnap(c.Flags())
	c.Flags().BoolVar(&o.content, "content", false, "compare the bytes")
	return c
}

func (t *tool) diff(ctx context.Context, o diffOptions, out io.Writer) (err error) {
	a, err := o.from.parse()
	if err != nil {
		return err
	}
	b, err := o.to.parse()
	if err != nil {
		return err
	}
	l, closing, err := t.open(ctx, o.from.vdisk, true)
	if err != nil {
		return err
	}
	defer closing()
	was, err := t.source(ctx, l, a, wants{index: true, mapped: true})
	if err != nil {
		return err
	}
	defer was.close()
	is, err := t.source(ctx, l, b, wants{index: true, mapped: true})
	if err != nil {
		return err
	}
	defer is.close()
	d := newDifference(was.point, is.point)
	if o.content {
		err = d.byContent(ctx, was.past, is.past)
	} else {
		is.past.Diff(was.past, func(off, n int64, data bool) bool { d.add(off, n, data); return true })
	}
	if err != nil {
		return err
	}
	return t.reportDiff(out, d)
}

// changed is an extent that differs, as JSON shows it.
type changed struct {
	Offset  int64  `json:"offset"`
	Size    int64  `json:"size"`
	Content string `json:"content"` // at the second moment: data or zeroes
}

func (c *changed) end() int64 { return c.Offset + c.Size }

// difference is what differs between two moments.
type difference struct {
	from, to player.Point
	extents  []changed
	data     int64 // bytes
	zeroed   int64
}

func newDifference(from, to player.Point) *difference {
	return &difference{from: from, to: to, extents: []changed{}}
}

func (d *difference) add(off, n int64, data bool) {
	c := changed{off, n, "zeroes"}
	if data {
		c.Content = "data"
		d.data += n
	} else {
		d.zeroed += n
	}
	d.extents = append(d.extents, c)
}

// byContent compares bytes.
func (d *difference) byContent(ctx context.Context, was, is *player.Past) error {
	err := is.Changes(ctx, was, func(off, n int64, data []byte) error {
		d.add(off, n, data != nil)
		return nil
	})
	d.settle()
	return err
}

// settle puts extents in order, and joins neighbours.
func (d *difference) settle() {
	slices.SortFunc(d.extents, func(a, b changed) int { return cmp.Compare(a.Offset, b.Offset) })
	joined := d.extents[:0]
	for _, c := range d.extents {
		if n := len(joined); n > 0 && joined[n-1].end() == c.Offset && joined[n-1].Content == c.Content {
			joined[n-1].Size += c.Size
			continue
		}
		joined = append(joined, c)
	}
	d.extents = joined
}

func (d *difference) String() string {
	return fmt.Sprintf("%d extents, %s of data, %s zeroed", len(d.extents), bytesText(uint64(d.data)), bytesText(uint64(d.zeroed)))
}

func (t *tool) reportDiff(out io.Writer, d *difference) error {
	if !t.json {
		fmt.Fprintf(os.Stderr, "tlogctl: from seq:%d to seq:%d: %v\n", d.from.Sequence, d.to.Sequence, d)
	}
	w := table(out)
	if !t.json && len(d.extents) > 0 {
		fmt.Fprintln(w, "OFFSET\tSIZE\tCONTENT")
	}
	var err error
	for _, c := range d.extents {
		if t.json {
			err = emit(out, c)
		} else {
			_, err = fmt.Fprintf(w, "%d\t%d\t%s\n", c.Offset, c.Size, c.Content)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(err, w.Flush())
}
