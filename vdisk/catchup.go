package vdisk

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"tlog"
	"tlog/client"
	"tlog/internal/failpoint"
)

// catchUp brings the base from one point of the log to its head, and the
// marker with it.
func (d *Disk) catchUp(ctx context.Context, have, head client.Point) error {
	failpoint.Here("vdisk.behind")
	d.cfg.Logger.Info("bringing the base up to its log", "vdisk", d.cfg.Vdisk, "base", d.cfg.Base, "from", have.Sequence, "to", head.Sequence)
	if have.Sequence == 0 && d.cfg.Rebuild != nil {
		err := d.cfg.Rebuild(ctx, head, target{d.base}, func(done float64) { d.tell(done, head) })
		if err != nil {
			return fmt.Errorf("vdisk: rebuild %s: %w", d.cfg.Base, err)
		}
		return d.arrive(head)
	}
	if d.cfg.CatchUp == nil {
		return fmt.Errorf("%w: %s holds records up to %d, the log of vdisk %s up to %d: name the storage of the log to read them (--data-dir, --storage-addresses or --config)",
			ErrBehind, d.cfg.Base, have.Sequence, d.cfg.Vdisk, head.Sequence)
	}
	r := &replay{d: d, at: have, from: have.Sequence, head: head}
	if err := d.cfg.CatchUp(ctx, have, head, r.add); err != nil {
		return fmt.Errorf("vdisk: catch up %s: %w", d.cfg.Base, err)
	}
	if err := r.write(); err != nil {
		return err
	}
	if r.at != head {
		return errors.Join(d.misled(r.at, head), d.marker.update(func(m *marker) {
			m.point = client.Point{Chain: tlog.ChainStart(m.vdisk)}
		}))
	}
	return d.arrive(head)
}

// misled is the error when the storage gave another history than the server
// has, though it had said otherwise. The base holds parts of it by then, so
// its caller makes it one that is rebuilt.
func (d *Disk) misled(got, head client.Point) error {
	return tlog.Corruptf("%w: the storage named led to record %d with chain value %v, the server is at %d with %v: is it the storage of that server? the base is rebuilt next time",
		ErrDiverged, got.Sequence, got.Chain, head.Sequence, head.Chain)
}

// arrive makes the head of the log the marker.
func (d *Disk) arrive(head client.Point) error {
	if err := d.keep(head); err != nil {
		return err
	}
	d.tell(1, head)
	return nil
}

func (d *Disk) tell(done float64, head client.Point) {
	if d.cfg.Progress != nil {
		d.cfg.Progress(Progress{Done: done, To: head.Sequence})
	}
}

// replay writes records to the base in batches, as the applier does, and
// follows the chain value. The marker is advanced on the way: catching up that
// is interrupted goes on from there.
type replay struct {
	d        *Disk
	at       client.Point // of the last record added
	from     tlog.Sequence
	head     client.Point
	batch    []*pending
	bytes    int
	unmarked int64
}

func (r *replay) add(rec *tlog.Record) error {
	if rec.Sequence != r.at.Sequence+1 || rec.Sequence > r.head.Sequence {
		return tlog.Corruptf("vdisk: replay: record %d after %d", rec.Sequence, r.at.Sequence)
	}
	if err := rec.Check(); err != nil {
		return tlog.WithClass(tlog.Corrupt, err)
	}
	if rec.End() > uint64(r.d.cfg.Size) {
		return fmt.Errorf("%w: record %d ends at byte %d of a disk of %d: name the size of the vdisk", ErrBase, rec.Sequence, rec.End(), r.d.cfg.Size)
	}
	r.at = client.Point{Sequence: rec.Sequence, Chain: tlog.ChainNext(r.at.Chain, rec)}
	r.batch = append(r.batch, &pending{
		seq: rec.Sequence, op: rec.Operation, off: int64(rec.Offset), end: int64(rec.End()), data: bytes.Clone(rec.Data),
	})
	r.bytes += len(rec.Data)
	if r.bytes < batchBytes && len(r.batch) < batchRecords {
		return nil
	}
	return r.write()
}

// write applies the batch.
func (r *replay) write() error {
	if err := r.d.base.apply(r.batch); err != nil {
		return err
	}
	r.unmarked += int64(r.bytes)
	r.batch, r.bytes = r.batch[:0], 0
	if r.at.Sequence < r.head.Sequence {
		r.d.tell(float64(r.at.Sequence-r.from)/float64(r.head.Sequence-r.from), r.head)
	}
	if r.unmarked < r.d.cfg.MarkerBytes {
		return nil
	}
	r.unmarked = 0
	return r.d.keep(r.at)
}
