package vdisk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tlog/client"
)

// Close lets no operation begin any more, makes what was acknowledged durable
// in the log, brings base and marker up to it, and ends. When ctx ends first,
// the error says what is not durable (client.ErrNotFlushed), and the base is
// left where a later Open catches up from. Only the first Close does anything.
func (d *Disk) Close(ctx context.Context) error {
	if !d.gate.close() {
		return ErrClosed
	}
	select {
	case <-d.gate.empty:
		d.part()
	case <-ctx.Done(): // the log's Close ends those that still wait
	}
	d.mu.RLock()
	last := d.waiting.highest
	d.mu.RUnlock()
	flush := d.passUpTo(ctx, last)
	if flush == nil {
		flush = d.log.FlushTo(ctx, last)
	}
	wedged, settled := d.settleAll(ctx)
	logged := d.log.Close(ctx)
	if point := d.log.Flushed(); point.Sequence < last && !errors.Is(logged, client.ErrNotFlushed) {
		logged = fmt.Errorf("%w: vdisk %s is durable up to record %d of %d: %w", client.ErrNotFlushed, d.cfg.Vdisk, point.Sequence, last, errors.Join(flush, logged))
	}
	if !wedged {
		settled = errors.Join(settled, d.closeFiles())
	}
	return errors.Join(settled, logged)
}

// settleTime is what the base gets to catch up with the log when a Disk is
// closed, however that went.
const settleTime = 10 * time.Second

// settleAll brings base and marker to the durable head of the log, and ends
// the goroutines. A file system that hangs is left alone with its files open.
func (d *Disk) settleAll(ctx context.Context) (wedged bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.settleBase(ctx) }()
	select {
	case err := <-done:
		return false, err
	case <-ctx.Done():
		return true, fmt.Errorf("vdisk: close: the base %s does not answer: %w", d.cfg.Base, ctx.Err())
	}
}

// settleBase goes in this order: the applier must have had its chance before
// it is told to end, and the marker is the keeper's until that has ended.
func (d *Disk) settleBase(ctx context.Context) error {
	point := d.log.Flushed()
	err := d.awaitApplied(ctx, point.Sequence)
	d.finish()
	d.wg.Wait()
	if err == nil && point.Sequence > d.marker.get().point.Sequence {
		err = d.keep(point)
	}
	return err
}
