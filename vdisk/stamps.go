package vdisk

import (
	"context"
	"fmt"
	"time"

	"tlog"
	"tlog/client"
)

// A disk in a consistency group gives each record a time from the group's clock,
// drawn after the write was issued and before it was acknowledged, or read. The
// order of the times must be that of the records in the log, and may not be made
// so later: a time that is raised after the acknowledgement may come after that
// of another disk's write which depends on this one.
//
// Writes given to Accept had their time drawn by whoever acknowledged them, under
// the lock that orders them. Every other operation draws its own first, then has
// Accept called (gather) with all that was acknowledged until then, and then
// registers with the higher of its time and that of the record before it. So:
//
//  1. A write given to Accept later was acknowledged later than the draw, and its
//     time is higher: its time is never raised (checkTime).
//  2. The time that an operation ends up with was drawn by somebody between its
//     own draw and its registration: after it was issued, and before its return.

// draw is the time of an operation that begins; 0: the disk is in no group.
func (d *Disk) draw() uint64 {
	if d.cfg.Clock == nil {
		return 0
	}
	return d.cfg.Clock.Next()
}

// stamped is what the log is told of a record's time.
func (d *Disk) stamped(p *pending) client.Stamp {
	if p.time == 0 {
		return client.Stamp{}
	}
	at := client.Stamp{Time: p.time, Group: d.cfg.Clock.Stamp()}
	if p.last {
		at.Group = at.Group.Closed()
	}
	return at
}

// groupClock is Config.Clock as the client takes it: nil stays nil.
func (d *Disk) groupClock() client.Clock {
	if d.cfg.Clock == nil {
		return nil
	}
	return d.cfg.Clock
}

// checkTime refuses the time of an accepted write that would have to be raised.
// The caller holds mu.
func (d *Disk) checkTime(t uint64) error {
	if t > d.waiting.newest {
		return nil
	}
	return fmt.Errorf("vdisk %s: internal error: a write was acknowledged at %d of the group's clock, and accepted after one of %d: a cut of the group could not be told", d.cfg.Vdisk, t, d.waiting.newest)
}

// watermark puts a mark into the log of a disk in a group that stands for all that
// the disk acknowledged up to a time of the clock, which another disk's record
// may have too.
func (d *Disk) watermark(at uint64, last bool) {
	d.gather()
	d.mu.Lock()
	d.waiting.register(&pending{time: at, op: tlog.OpWatermark, last: last})
	d.mu.Unlock()
	d.LogSoon()
}

// join begins the disk's part in its group, if it is in one: with a watermark
// that is durable before anything is acknowledged, so that a reader knows of
// every time at which writes may have been acknowledged and lost.
func (d *Disk) join(ctx context.Context) error {
	if d.cfg.Clock == nil {
		return nil
	}
	return d.do(ctx, func(ctx context.Context, at uint64) error {
		d.watermark(at, false)
		d.mu.RLock()
		s := d.waiting.highest
		d.mu.RUnlock()
		if err := d.passUpTo(ctx, s); err != nil {
			return d.refused("join", err)
		}
		if err := d.log.FlushTo(ctx, s); err != nil {
			return d.refused("join", err)
		}
		return nil
	})
}

// part ends it, so that readers do not wait for more; it is called when no
// operation is under way, and none can begin. After an error the disk may have
// acknowledged what its log lacks.
func (d *Disk) part() {
	if d.cfg.Clock != nil && d.fail.get() == nil {
		d.watermark(d.draw(), true)
	}
}

// runWatermarks puts a watermark behind the disk's last record whenever the others of
// the group went on and it did not: a reader cannot tell a disk that is not
// written from one whose last records are missing. When the whole group rests so
// do watermarks, since they take no time of their own.
func (d *Disk) runWatermarks(ctx context.Context) {
	tick := time.NewTicker(d.cfg.WatermarkInterval)
	defer tick.Stop()
	for seen := d.newest(); ; seen = d.newest() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		d.keepUp(seen)
	}
}

// keepUp puts a watermark where the clock stands, if the disk's last record is
// still the one at seen.
func (d *Disk) keepUp(seen uint64) {
	last := d.cfg.Clock.Last()
	if last <= seen || !d.gate.enter() {
		return
	}
	defer d.gate.leave()
	if d.gather(); d.newest() == seen {
		d.watermark(last, false)
	}
}

// newest is the time of the disk's last record.
func (d *Disk) newest() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.waiting.newest
}
