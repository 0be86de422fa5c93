package vdisk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"tlog"
	"tlog/client"
)

// history is the log as a Disk writes it: *client.Client. Records get their
// sequence in the order in which AppendStamped takes them; an error means that
// no sequence was used. Data must not change until OnFlushed reported the
// sequence. Calls may be concurrent. An error that is not the context's is
// permanent: every later call will fail too.
type history interface {
	AppendStamped(ctx context.Context, at client.Stamp, op tlog.Operation, offset uint64, size uint32, data []byte) (tlog.Sequence, error)
	FlushTo(ctx context.Context, s tlog.Sequence) error
	Flushed() client.Point
	Close(ctx context.Context) error
}

// Disk is one live, logged block device. See the package for its promises.
type Disk struct {
	cfg  Config
	log  history
	base *base
	room budget
	gate gate

	session client.Session // of Open

	logging chan struct{}        // capacity 1: held by the one that passes records to the log
	passing [logRecords]*pending // what it passes

	mu       sync.RWMutex // never held over I/O, nor while waiting
	waiting  unapplied
	pins     pins
	mark     tlog.Sequence // the last flush mark, or where the log stood at Open
	progress chan struct{} // closed and renewed when records were applied

	work   chan struct{} // capacity 1: there may be something to apply
	taken  chan struct{} // capacity 1: writes were accepted that the log has not
	due    chan struct{} // capacity 1: enough was applied to advance the marker
	finish func()        // ends the goroutines
	wg     sync.WaitGroup

	marker *markerFile

	fail   failure     // why nothing is written any more: the log's, or broken
	broken failure     // why the base does not follow the log any more
	lost   atomic.Bool // the base may lack what was written to it
}

// Session is what the server said when the disk was attached.
func (d *Disk) Session() client.Session { return d.session }

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return d.cfg.Size }

// WriteAt logs p at off, and returns when it is held in the window. It becomes
// durable later: see Flush. What a failed WriteAt leaves is undefined within
// its extent, as on any disk.
func (d *Disk) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := d.check(off, int64(len(p))); err != nil {
		return err
	}
	return d.do(ctx, func(ctx context.Context, at uint64) error {
		for len(p) > 0 {
			n := min(len(p), tlog.MaxRecordData)
			rec := &pending{time: at, op: tlog.OpWrite, off: off, end: off + int64(n), data: bytes.Clone(p[:n])}
			if err := d.append(ctx, rec); err != nil {
				return err
			}
			p, off = p[n:], off+int64(n)
		}
		return nil
	})
}

// Zero makes n bytes at off read as zeroes. mayTrim: the base may give their
// space back.
func (d *Disk) Zero(ctx context.Context, off, n int64, mayTrim bool) error {
	return d.clear(ctx, tlog.OpZero, off, n, !mayTrim)
}

// Trim discards n bytes at off, which then read as zeroes.
func (d *Disk) Trim(ctx context.Context, off, n int64) error {
	return d.clear(ctx, tlog.OpTrim, off, n, false)
}

func (d *Disk) clear(ctx context.Context, op tlog.Operation, off, n int64, keep bool) error {
	if err := d.check(off, n); err != nil {
		return err
	}
	return d.do(ctx, func(ctx context.Context, at uint64) error {
		for n > 0 {
			m := min(n, maxZero)
			if err := d.append(ctx, &pending{time: at, op: op, off: off, end: off + m, keep: keep}); err != nil {
				return err
			}
			off, n = off+m, n-m
		}
		return nil
	})
}

// Flush returns when everything that was acknowledged before it is durable in
// the log. It leaves a flush mark there, unless nothing came since the last.
func (d *Disk) Flush(ctx context.Context) error {
	return d.do(ctx, func(ctx context.Context, at uint64) error {
		mark, durable := d.marked(at)
		if durable {
			return nil
		}
		if err := d.passUpTo(ctx, mark); err != nil {
			return d.refused("flush", err)
		}
		if err := d.log.FlushTo(ctx, mark); err != nil {
			return d.refused("flush", err)
		}
		return nil
	})
}

// marked is the flush mark that stands behind everything acknowledged so far.
// There are no more of them than other records, so they take no room.
func (d *Disk) marked(at uint64) (mark tlog.Sequence, durable bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting.highest > d.mark {
		d.waiting.register(&pending{time: at, op: tlog.OpFlush})
		d.mark = d.waiting.highest
	}
	return d.mark, d.waiting.flushed >= d.mark
}

// do runs one operation between Open and Close, under its deadline. What was
// acknowledged before it takes its place before it, in the log and in the order
// of the group: its time is drawn first.
func (d *Disk) do(ctx context.Context, op func(context.Context, uint64) error) error {
	if !d.gate.enter() {
		return ErrClosed
	}
	defer d.gate.leave()
	if err := d.fail.get(); err != nil {
		return err
	}
	at := d.draw()
	d.gather()
	ctx, cancel := context.WithTimeout(ctx, d.cfg.FlushDeadline)
	defer cancel()
	return op(ctx, at)
}

// gather has the caller's acknowledged writes accepted.
func (d *Disk) gather() {
	if d.cfg.Gather != nil {
		d.cfg.Gather()
	}
}

func (d *Disk) check(off, n int64) error {
	if off < 0 || n < 0 || off > d.cfg.Size-n {
		return fmt.Errorf("%w: %d bytes at %d of %d", ErrRange, n, off, d.cfg.Size)
	}
	return nil
}

// append makes rec visible to readers and logs it, with all that came before.
func (d *Disk) append(ctx context.Context, rec *pending) error {
	rec.cost = len(rec.data) + recordCost
	if err := d.room.take(ctx, d.fail.halted, rec.cost); err != nil {
		return d.refused("append", err)
	}
	d.mu.Lock()
	d.waiting.register(rec)
	d.mu.Unlock()
	err := d.passUpTo(ctx, rec.seq)
	switch {
	case err == nil:
		return nil
	case mayPass(err):
		signal(d.taken) // it will be logged yet
	default:
		d.mu.Lock()
		d.waiting.withdraw(rec)
		d.mu.Unlock()
		d.room.give(rec.cost)
	}
	return d.refused("append", err)
}

// mayPass reports whether an error of the log is the caller's only.
func mayPass(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, client.ErrClosed)
}

// refused is the caller's error when the log did not do as asked. An error of
// the log's own, which is permanent, ends writing.
func (d *Disk) refused(what string, err error) error {
	switch {
	case errors.Is(err, errStopped):
		return d.fail.get()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %s of vdisk %s (%v)", ErrTimeout, what, d.cfg.Vdisk, d.cfg.FlushDeadline)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, client.ErrClosed):
		return ErrClosed
	}
	return d.halt(fmt.Errorf("vdisk: %s: %w", what, err))
}

// halt makes every later write and flush fail with err, which is logged once.
func (d *Disk) halt(err error) error {
	if d.fail.set(err) {
		d.cfg.Logger.Error("the disk takes no more writes; reads go on", "vdisk", d.cfg.Vdisk, "error", err)
	}
	return d.fail.get()
}

// flushedTo is told by the client how far the log is durable.
func (d *Disk) flushedTo(s tlog.Sequence) {
	d.mu.Lock()
	d.waiting.flushedTo(s)
	ready := d.waiting.ready()
	d.mu.Unlock()
	if ready {
		signal(d.work)
	}
}

// signal wakes the one goroutine that receives from c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// failure is the first permanent error.
type failure struct {
	mu     sync.Mutex
	err    error
	halted chan struct{} // closed with the first error
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// set reports whether err is the first.
func (f *failure) set(err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return false
	}
	f.err = err
	close(f.halted)
	return true
}

// gate counts the operations under way, until it is shut.
type gate struct {
	mu    sync.Mutex
	n     int
	shut  bool
	empty chan struct{} // closed when shut and nobody is left
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.n++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.shut && g.n == 0 {
		close(g.empty)
	}
}

// close lets nobody in any more, and reports whether it is the first to do so.
func (g *gate) close() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.shut = true
	if g.n == 0 {
		close(g.empty)
	}
	return true
}

// Errno is the error number that an NBD client should see for err.
func Errno(err error) syscall.Errno {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrRange):
		return syscall.EINVAL
	case errors.Is(err, syscall.ENOSPC):
		return syscall.ENOSPC
	case errors.Is(err, ErrClosed):
		return syscall.ESHUTDOWN
	}
	return syscall.EIO
}
