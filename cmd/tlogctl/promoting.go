package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/cmd/internal/attach"
	"tlog/past"
	"tlog/player"
)

// promoting makes a vdisk of an overlay and the moment that it lies on.
type promoting struct {
	newLog
	file string
}

func (t *tool) promoteCommand() *cobra.Command {
	o := &promoting{newLog: newLog{tool: t, verb: "promote"}}
	c := &cobra.Command{
		Use:   "promote FILE NEW [--resume]",
		Short: "make a vdisk of its own of a moment that was written to (tlognbd mount --cow FILE)",
		Long: "Logs the disk that a mounted moment with an overlay shows as the first records of a new\n" +
			"vdisk: what of the moment the overlay left alone, then what the overlay holds. The new\n" +
			"log's genesis names the vdisk and the position that it came from. The overlay must not be\n" +
			"mounted, and is not changed; when the new vdisk is whole it is needed no more.\n" +
			"Beside the storage, name a tlogserver with --server if one has it open (--data-dir).",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file, o.vdisk = args[0], tlog.VdiskID(args[1])
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.register(c.Flags())
	return c
}

func (o *promoting) run(ctx context.Context, out io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	over, err := past.OpenOverlay(o.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, over.Close()) }()
	a, err := o.way.Open(ctx, &o.storage, attach.Reads, o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	below, err := o.below(ctx, a, over.Moment())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, below.Close()) }()
	if err := o.begin(ctx, a, uint64(below.Size())); err != nil {
		return err
	}
	report, failed := o.fill(ctx, below, over)
	if err := o.end(ctx, failed, fmt.Sprintf("tlogctl promote %s %s --resume", o.file, o.vdisk)); err != nil {
		return err
	}
	return o.report(out, over.Moment(), report)
}

// below finds the moment that the overlay lies on, with the history that it was
// made over, and makes it the origin of the new log.
func (o *promoting) below(ctx context.Context, a *attach.Access, m past.Moment) (*player.Past, error) {
	l, err := player.Open(ctx, a.Pool, a.Keys, m.Vdisk, player.Config{})
	if err != nil {
		return nil, err
	}
	i := l.Info()
	if i.UUID != m.UUID {
		return nil, fmt.Errorf("promote: %s lies on vdisk %s of another pool (%v), this pool's is %v", o.file, m.Vdisk, m.UUID, i.UUID)
	}
	if m.Sequence > i.Last || m.Sequence == 0 {
		return nil, tlog.Corruptf("promote: %s lies on %v, and the log ends at seq:%d", o.file, m, i.Last)
	}
	ix, err := o.openIndex(ctx, l)
	if err != nil {
		return nil, err
	}
	defer o.closeIndex(ix)
	p, err := ix.Point(m.Sequence)
	if err != nil {
		return nil, err
	}
	if o.origin, err = originOf(ctx, l, p); err != nil {
		return nil, err
	}
	if o.origin.Digest != m.Digest {
		return nil, tlog.Corruptf("promote: %s lies on %v with chain digest %v, and position %d of the log has %v: it is another history", o.file, m, m.Digest, p.Position, o.origin.Digest)
	}
	return ix.Past(p)
}

// fill logs the disk: what lies below the overlay where that holds nothing, then
// what the overlay holds. So each byte is logged once.
func (o *promoting) fill(ctx context.Context, below *player.Past, over *past.Overlay) (*player.Report, error) {
	var held ranges
	err := over.Changes(func(off, n int64, _ []byte, _ bool) error { held.add(off, n); return nil })
	if err != nil {
		return nil, err
	}
	target := copyTarget{ctx, &o.newLog}
	bar := newProgress("promote", os.Stderr)
	report, err := below.Restore(ctx, uncovered{target, held}, player.RestoreOptions{Fresh: true, Progress: bar.step})
	bar.end()
	if err != nil {
		return nil, err
	}
	return report, over.Changes(func(off, _ int64, data []byte, _ bool) error {
		for part := range slices.Chunk(data, promoteSize) { // of zeroes there is none
			if _, err := target.WriteAt(part, off); err != nil {
				return err
			}
			off += int64(len(part))
		}
		return nil
	})
}

// promoteSize is the most data of an overlay in one record, in bytes.
const promoteSize = 512 << 10

func (o *promoting) report(out io.Writer, m past.Moment, r *player.Report) error {
	last := o.client.Flushed()
	if o.json {
		return emit(out, struct {
			Vdisk    string   `json:"vdisk"`
			UUID     string   `json:"uuid"`
			Overlay  string   `json:"overlay"`
			From     string   `json:"from"`
			Sequence uint64   `json:"from_sequence"`
			Position uint64   `json:"from_position"`
			Digest   string   `json:"from_digest"`
			DiskSize int64    `json:"disk_size_bytes"`
			Last     uint64   `json:"last_sequence"`
			Logged   int64    `json:"logged_bytes"`
			Chain    string   `json:"chain"`
			Damaged  []damage `json:"damaged"`
		}{string(o.vdisk), o.client.Session().VdiskUUID.String(), o.file, string(m.Vdisk), uint64(m.Sequence), uint64(o.origin.Position), o.origin.Digest.String(),
			m.Size, uint64(last.Sequence), o.written, last.Chain.String(), damageList(r.Damaged)})
	}
	for _, line := range summary(r.Damaged) {
		fmt.Fprintf(os.Stderr, "tlogctl: worked around %s\n", line)
	}
	_, err := fmt.Fprintf(out, "promoted %s, over %v, to vdisk %s: disk of %s, %s of data logged, seq:1 to seq:%d; serve it with: tlognbd serve %s --size %d --takeover\n",
		o.file, m, o.vdisk, bytesText(uint64(m.Size)), bytesText(uint64(o.written)), last.Sequence, o.vdisk, m.Size)
	return err
}

// ranges are parts of a disk, in order and apart.
type ranges []struct{ from, to int64 }

// add adds n bytes at off, which is behind all there are.
func (r *ranges) add(off, n int64) {
	if last := len(*r) - 1; last >= 0 && (*r)[last].to == off {
		(*r)[last].to += n
		return
	}
	*r = append(*r, struct{ from, to int64 }{off, off + n})
}

// without yields the parts of from…to that are in none of r.
func (r ranges) without(from, to int64) iter.Seq2[int64, int64] {
	return func(yield func(int64, int64) bool) {
		i, _ := slices.BinarySearchFunc(r, from, func(e struct{ from, to int64 }, at int64) int {
			return cmp.Compare(e.to, at) // the first that does not end before from
		})
		for ; i < len(r) && r[i].from < to; i++ {
			if r[i].from > from && !yield(from, r[i].from) {
				return
			}
			from = r[i].to
		}
		if from < to {
			yield(from, to)
		}
	}
}

// uncovered is a target that leaves out what is held elsewhere.
type uncovered struct {
	copyTarget
	held ranges
}

// WriteAt logs what of b is not held.
func (u uncovered) WriteAt(b []byte, off int64) (int, error) {
	for from, to := range u.held.without(off, off+int64(len(b))) {
		if _, err := u.copyTarget.WriteAt(b[from-off:to-off], from); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}
