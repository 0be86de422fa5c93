package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/bookmark"
	"tlog/cmd/internal/storage"
	"tlog/player"
	"tlog/player/index"
)

type pointsOptions struct {
	vdisk    tlog.VdiskID
	from, to string
	list     bool
	rows     int
}

func (t *tool) pointsCommand() *cobra.Command {
	var o pointsOptions
	c := &cobra.Command{
		Use:   "points VDISK [--from WHEN] [--to WHEN] [--list]",
		Short: "draw a disk's history: writing, flush points, bookmarks",
		Long: "Draws what was written between two moments, in rows of equal time, with the\n" +
			"number of flush points (completed FLUSH or FUA of the guest) and the bookmarks\n" +
			"of each row. --list shows each flush point and bookmark instead, --json as well.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.vdisk = tlog.VdiskID(args[0])
			return t.points(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	c.Flags().StringVar(&o.from, "from", "", "begin of the timeline (empty: the first record)")
	c.Flags().StringVar(&o.to, "to", "latest", "end of the timeline")
	c.Flags().BoolVar(&o.list, "list", false, "one line for each point")
	c.Flags().IntVar(&o.rows, "rows", 24, "rows of the drawing")
	return c
}

func (t *tool) points(ctx context.Context, o pointsOptions, out io.Writer) error {
	if o.rows < 1 || o.rows > 10000 {
		return storage.Usage(fmt.Errorf("points: --rows %d: want 1 to 10000", o.rows))
	}
	l, closing, err := t.open(ctx, o.vdisk, true)
	if err != nil {
		return err
	}
	defer closing()
	ix, err := t.openIndex(ctx, l)
	if err != nil {
		return err
	}
	defer t.closeIndex(ix)
	first, last, err := t.span(ctx, l, ix, o)
	if err != nil {
		return err
	}
	marks, err := bookmarksBetween(ctx, l, first, last)
	if err != nil {
		return err
	}
	if o.list || t.json {
		return t.listPoints(out, ix, first, last, marks)
	}
	line := newTimeline(first, last, o.rows)
	if err := ix.Up(first.Sequence-1, last.Sequence, line.add); err != nil {
		return err
	}
	for _, m := range marks {
		row := line.row(m.Time)
		row.names = append(row.names, m.Name)
	}
	fmt.Fprintf(out, "vdisk %s: seq:%d, %s to seq:%d, %s\n", o.vdisk, first.Sequence, timeText(first.Time), last.Sequence, timeText(last.Time))
	return line.draw(out)
}

// span is the first and last record of the timeline.
func (t *tool) span(ctx context.Context, l *player.Log, ix *player.Index, o pointsOptions) (first, last player.Point, err error) {
	if l.Info().Last == 0 {
		return first, last, fmt.Errorf("vdisk %s has no record yet", o.vdisk)
	}
	if last, err = t.moment(ctx, l, ix, o.to, player.SnapAny); err != nil {
		return first, last, err
	}
	if o.from == "" {
		err = ix.Up(0, last.Sequence, func(s tlog.Sequence, r *index.Record) bool {
			first = player.Point{Sequence: s, Time: time.Unix(0, int64(r.Time))}
			return false
		})
		return first, last, err
	}
	if first, err = t.moment(ctx, l, ix, o.from, player.SnapAny); err != nil {
		return first, last, err
	}
	if first.Sequence > last.Sequence {
		err = storage.Usage(fmt.Errorf("points: --from %s is after --to %s", o.from, o.to))
	}
	return first, last, err
}

// bookmarksBetween is the bookmarks of a span, by sequence.
func bookmarksBetween(ctx context.Context, l *player.Log, first, last player.Point) ([]bookmark.Bookmark, error) {
	book, err := bookmark.Beside(ctx, l)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(book.List(l.Info().UUID), func(b bookmark.Bookmark) bool {
		return b.Sequence < first.Sequence || b.Sequence > last.Sequence
	}), nil
}

// pointLine is one point as --json shows it.
type pointLine struct {
	Kind     string    `json:"kind"` // flush or bookmark
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Written  *int64    `json:"written_bytes,omitempty"` // since the flush point before
	Name     string    `json:"name,omitempty"`
}

func (t *tool) listPoints(out io.Writer, ix *player.Index, first, last player.Point, marks []bookmark.Bookmark) error {
	w := table(out)
	if !t.json {
		fmt.Fprintln(w, "SEQUENCE\tTIME\tPOINT\tWRITTEN SINCE THE LAST FLUSH")
	}
	show := func(p pointLine) error {
		if t.json {
			return emit(out, p)
		}
		what, written := p.Kind, "-"
		if p.Name != "" {
			what += ":" + p.Name
		}
		if p.Written != nil {
			written = bytesText(uint64(*p.Written))
		}
		_, err := fmt.Fprintf(w, "seq:%d\t%s\t%s\t%s\n", p.Sequence, timeText(p.Time), what, written)
		return err
	}
	var failed error
	written := int64(0)
	err := ix.Up(first.Sequence-1, last.Sequence, func(s tlog.Sequence, r *index.Record) bool {
		if r.Operation == tlog.OpWrite {
			written += int64(r.Size)
		}
		at := time.Unix(0, int64(r.Time)).UTC()
		if r.Operation == tlog.OpFlush {
			since := written
			written = 0
			failed = show(pointLine{Kind: "flush", Sequence: uint64(s), Time: at, Written: &since})
		}
		for len(marks) > 0 && marks[0].Sequence <= s && failed == nil {
			failed = show(pointLine{Kind: "bookmark", Sequence: uint64(marks[0].Sequence), Time: marks[0].Time.UTC(), Name: marks[0].Name})
			marks = marks[1:]
		}
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	if err == nil {
		err = w.Flush()
	}
	return err
}

// timeline is what was written, in rows of equal time.
type timeline struct {
	begin time.Time
	step  time.Duration
	rows  []timeRow
}

type timeRow struct {
	written int64 // bytes
	flushes int
	names   []string // of bookmarks
}

func newTimeline(first, last player.Point, rows int) *timeline {
	step := max(last.Time.Sub(first.Time)/time.Duration(rows)+1, 1)
	return &timeline{begin: first.Time, step: step, rows: make([]timeRow, rows)}
}

func (l *timeline) row(t time.Time) *timeRow {
	n := int(t.Sub(l.begin) / l.step)
	return &l.rows[min(max(n, 0), len(l.rows)-1)]
}

func (l *timeline) add(_ tlog.Sequence, r *index.Record) bool {
	row := l.row(time.Unix(0, int64(r.Time)))
	switch r.Operation {
	case tlog.OpWrite:
		row.written += int64(r.Size)
	case tlog.OpFlush:
		row.flushes++
	}
	return true
}

// barWidth is how long the bar of the busiest row is.
const barWidth = 30

func (l *timeline) draw(out io.Writer) error {
	most := int64(1)
	for i := range l.rows {
		most = max(most, l.rows[i].written)
	}
	w := table(out)
	fmt.Fprintln(w, "FROM\tWRITTEN\tRATE\tFLUSHES\t")
	for i := range l.rows {
		r := &l.rows[i]
		bar := strings.Repeat("█", int(r.written*barWidth/most))
		if bar == "" && r.written > 0 {
			bar = "▏"
		}
		for _, n := range r.names {
			bar += " bookmark:" + n
		}
		rate := uint64(float64(r.written) / max(l.step.Seconds(), 1e-9))
		fmt.Fprintf(w, "%s\t%s\t%s/s\t%d\t%s\n", l.begin.Add(time.Duration(i)*l.step).UTC().Format("2006-01-02T15:04:05.000Z"), bytesText(uint64(r.written)), bytesText(rate), r.flushes, bar)
	}
	return w.Flush()
}
