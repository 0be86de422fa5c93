package vdisk

import (
	"context"
	"errors"
	"fmt"

	"tlog"
)

// logRecords are passed to the log before others are told of it.
const logRecords = 64

// Write is a write that Accept takes over.
type Write struct {
	Offset int64
	Data   []byte
	Time   uint64 // of a disk in a group: drawn from Config.Clock before the write was acknowledged
}

// Accept takes over writes that the caller has acknowledged, in the order in
// which it did: from now on they are read. They are logged by Log, or LogSoon,
// and by every later operation but a read. Their data is the Disk's until
// Config.Returned has counted them, and the memory for it is the caller's bound
// on how many there are. A write must lie within the disk and be no longer than a
// record. After an error that is permanent they are still read, and not logged:
// every later Flush fails.
//
// To keep the order of the disk, whoever acknowledges writes must have them
// accepted before it calls another method that came after.
func (d *Disk) Accept(writes []Write) {
	if len(writes) == 0 {
		return
	}
	records := make([]pending, len(writes))
	var late error
	d.mu.Lock()
	for i, w := range writes {
		records[i] = pending{op: tlog.OpWrite, off: w.Offset, end: w.Offset + int64(len(w.Data)), data: w.Data, lent: true}
		if d.cfg.Clock != nil {
			late = errors.Join(late, d.checkTime(w.Time))
			records[i].time = w.Time
		}
		d.waiting.register(&records[i])
	}
	d.mu.Unlock()
	if late != nil {
		_ = d.halt(late) // the next caller is told
	}
}

// LogSoon has accepted writes logged, and does not wait.
func (d *Disk) LogSoon() { signal(d.taken) }

// Log passes what was accepted until now to the log, and waits while the window
// is full. An error that is permanent halts the disk.
func (d *Disk) Log(ctx context.Context) {
	d.mu.RLock()
	last := d.waiting.highest
	d.mu.RUnlock()
	if err := d.passUpTo(ctx, last); err != nil && ctx.Err() == nil {
		_ = d.refused("append", err) // the next caller is told
	}
}

// Halted is closed when the disk takes no more writes; they fail, and say why.
func (d *Disk) Halted() <-chan struct{} { return d.fail.halted }

// runLogger logs what nobody waits for.
func (d *Disk) runLogger(ctx context.Context) {
	for {
		select {
		case <-d.taken:
			d.Log(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// passUpTo returns when the log has taken every record up to s. It passes them
// itself, unless another one does: so a caller that waits for its record does
// not wait for a goroutine to wake.
func (d *Disk) passUpTo(ctx context.Context, s tlog.Sequence) error {
	for {
		select {
		case d.logging <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		done, err := d.passSome(ctx, s)
		<-d.logging
		if done || err != nil {
			return err
		}
	}
}

// passSome passes what has waited longest, unless the log has everything up to
// s. It is called by the holder of logging.
func (d *Disk) passSome(ctx context.Context, s tlog.Sequence) (done bool, err error) {
	d.mu.RLock()
	done = d.waiting.logged >= s
	batch := d.passing[:0]
	if !done {
		batch = d.waiting.unlogged(batch)
	}
	d.mu.RUnlock()
	if done {
		return true, nil
	}
	last := tlog.Sequence(0)
	for _, p := range batch {
		if err = d.passOne(ctx, p); err != nil {
			break
		}
		last = p.seq
	}
	clear(batch)
	d.mu.Lock()
	d.waiting.loggedTo(last)
	d.mu.Unlock()
	return false, err
}

// passOne gives the log one record. Nobody else does, so it gets the sequence
// under which it was registered.
func (d *Disk) passOne(ctx context.Context, p *pending) error {
	seq, err := d.log.AppendStamped(ctx, d.stamped(p), p.op, uint64(p.off), uint32(p.end-p.off), p.data)
	if err == nil && seq != p.seq {
		err = fmt.Errorf("vdisk: internal error: record %d became %d in the log", p.seq, seq)
	}
	return err
}
