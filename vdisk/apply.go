package vdisk

import (
	"context"
	"time"

	"tlog"
	"tlog/client"
	"tlog/internal/failpoint"
)

// What the applier takes at once: enough to merge neighbours, little enough
// that the space of the backlog comes back steadily.
const (
	batchRecords = 512
	batchBytes   = 4 << 20
)

// start runs the goroutines, until Close calls d.finish.
func (d *Disk) start() {
	ctx, finish := context.WithCancel(context.Background())
	d.finish = finish
	d.wg.Go(func() { d.runLogger(ctx) })
	d.wg.Go(func() { d.runApplier(ctx) })
	d.wg.Go(func() { d.runKeeper(ctx) })
	if d.cfg.Clock != nil {
		d.wg.Go(func() { d.runWatermarks(ctx) })
	}
}

// runApplier moves durable records to the base. When the base fails it
// ends, and the records that the base lacks stay in memory, so that reads
// remain right.
func (d *Disk) runApplier(ctx context.Context) {
	unmarked := int64(0)
	var batch []*pending
	for {
		clear(batch)
		d.mu.RLock()
		batch = d.waiting.next(batch[:0], batchRecords, batchBytes)
		d.mu.RUnlock()
		if len(batch) == 0 {
			select {
			case <-d.work:
				continue
			case <-ctx.Done():
				return // Close waited for what was durable
			}
		}
		if err := d.base.apply(batch); err != nil {
			d.breakBase(err)
			return
		}
		failpoint.Here("vdisk.applied")
		if unmarked += d.settle(batch); unmarked >= d.cfg.MarkerBytes {
			unmarked = 0
			signal(d.due)
		}
	}
}

// breakBase ends writing because the base cannot follow the log any more.
func (d *Disk) breakBase(err error) {
	d.broken.set(err)
	d.halt(err)
}

// settle forgets a batch that the base holds now, and returns its bytes.
func (d *Disk) settle(batch []*pending) int64 {
	cost, lent, size := 0, 0, int64(0)
	for _, p := range batch {
		cost += p.cost
		size += int64(len(p.data)) + recordCost
		if p.lent {
			lent++
		}
	}
	d.mu.Lock()
	d.waiting.done(len(batch))
	close(d.progress)
	d.progress = make(chan struct{})
	before := d.pins.now
	if lent > 0 {
		d.pins.turn()
	}
	d.mu.Unlock()
	d.room.give(cost)
	if lent > 0 {
		d.pins.await(before)
		d.cfg.Returned(lent)
	}
	return size
}

// awaitApplied waits until the base holds every record up to s.
func (d *Disk) awaitApplied(ctx context.Context, s tlog.Sequence) error {
	for {
		d.mu.RLock()
		done, progress := d.waiting.applied >= s, d.progress
		d.mu.RUnlock()
		if done {
			return nil
		}
		select {
		case <-progress:
		case <-d.broken.halted:
			return d.broken.get()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// runKeeper advances the marker every few seconds while records are applied.
func (d *Disk) runKeeper(ctx context.Context) {
	tick := time.NewTicker(d.cfg.MarkerInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-d.due:
		case <-ctx.Done():
			return
		}
		if err := d.advance(ctx); err != nil {
			if ctx.Err() == nil {
				d.breakBase(err)
			}
			return
		}
	}
}

// advance moves the marker to what the log holds durably, once the base does
// too. The point is taken first: the client alone knows the chain value, and
// only at its durable head.
func (d *Disk) advance(ctx context.Context) error {
	point := d.log.Flushed()
	if point.Sequence <= d.marker.get().point.Sequence {
		return nil
	}
	if err := d.awaitApplied(ctx, point.Sequence); err != nil {
		return err
	}
	return d.keep(point)
}

// keep makes the base durable, then the marker that says so. After a failed
// sync the kernel may drop what it could not write and report success the next
// time, so the base is not read any more either: it is put right from the
// marker at the next Open.
func (d *Disk) keep(point client.Point) error {
	if err := d.base.sync(); err != nil {
		d.lost.Store(true)
		return err
	}
	failpoint.Here("vdisk.synced")
	return d.marker.update(func(m *marker) { m.point = point })
}
