package past

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"tlog"
)

// Config of a Disk. Moment and Source are needed.
type Config struct {
	Moment Moment
	Source Source
	// Overlay is the file that takes what is written. "": the disk is read only.
	Overlay string
	// Hydrate brings all data here in the background, into Cache, a file that is
	// kept and gone on with the next time, or, if that is "", into one without a
	// name in TempDir, which is gone when the process is.
	Hydrate bool
	Cache   string
	TempDir string
	// Progress, if set, is told now and then how far hydration is, from one
	// goroutine.
	Progress func(Progress)
	Logger   *slog.Logger // nil: none
}

// ErrReadOnly says that a disk without an overlay was to be written.
var ErrReadOnly = errors.New("past: the disk is read only")

// ErrNotFlushed says that what was written last may not be durable.
var ErrNotFlushed = errors.New("past: not everything written is durable")

// ErrRange says that a request leaves the disk.
var ErrRange = errors.New("past: outside the disk")

// Disk is a moment as a block device. Requests may run in parallel.
type Disk struct {
	moment Moment
	src    Source
	cache  *cache   // nil: reads go to the log
	over   *Overlay // nil: read only
	below  reader   // what the overlay lies on

	stop context.CancelFunc // ends hydration
	wg   sync.WaitGroup
}

// Open makes a disk that can be read at once, and begins to hydrate it. Close
// ends both. ErrFile: the overlay or the cache named is not this moment's.
func Open(cfg Config) (*Disk, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if size := cfg.Source.Size(); size != cfg.Moment.Size {
		return nil, tlog.Corruptf("past: %v: the log has a disk of %d bytes, not of %d", cfg.Moment, size, cfg.Moment.Size)
	}
	d := &Disk{moment: cfg.Moment, src: cfg.Source, below: cfg.Source, stop: func() {}}
	if cfg.Hydrate {
		im, err := cfg.cacheImage()
		if err != nil {
			return nil, err
		}
		d.cache = &cache{im: im, src: cfg.Source, log: cfg.Logger, progress: cfg.Progress}
		d.below = d.cache
	}
	if cfg.Overlay != "" {
		var err error
		if d.over, err = openOverlay(cfg.Overlay, cfg.Moment, d.below); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if d.cache != nil {
		d.hydrate(cfg.Logger)
	}
	return d, nil
}

func (cfg *Config) cacheImage() (*image, error) {
	head := header{kindCache, cfg.Moment}
	if cfg.Cache == "" {
		return unnamedImage(cfg.TempDir, head)
	}
	return openImage(cfg.Cache, head)
}

func (d *Disk) hydrate(log *slog.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.wg.Go(func() {
		if err := d.cache.fill(ctx); err != nil && ctx.Err() == nil {
			log.Warn("hydration ended early: what is not here is read from the log", "moment", d.moment.String(), "err", err)
		}
	})
}

// Moment is what the disk shows.
func (d *Disk) Moment() Moment { return d.moment }

// Size is the disk's, in bytes.
func (d *Disk) Size() int64 { return d.moment.Size }

// Writable reports whether there is an overlay.
func (d *Disk) Writable() bool { return d.over != nil }

func (d *Disk) check(off, n int64) error {
	if off < 0 || n < 0 || off > d.moment.Size-n {
		return fmt.Errorf("%w: %d bytes at %d of %d", ErrRange, n, off, d.moment.Size)
	}
	return nil
}

// changed is the overlay, for a request that writes.
func (d *Disk) changed(off, n int64) (*Overlay, error) {
	if d.over == nil {
		return nil, ErrReadOnly
	}
	return d.over, d.check(off, n)
}

// ReadAt reads all of p. What of the log is damaged is an error of class
// tlog.Corrupt that names its place; everything else is still read.
func (d *Disk) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.check(off, int64(len(p))); err != nil {
		return err
	}
	if d.over != nil {
		return d.over.ReadAt(ctx, p, off)
	}
	return d.below.ReadAt(ctx, p, off)
}

// WriteAt writes p into the overlay.
func (d *Disk) WriteAt(ctx context.Context, p []byte, off int64) error {
	o, err := d.changed(off, int64(len(p)))
	if err != nil || len(p) == 0 {
		return err
	}
	return o.WriteAt(ctx, p, off)
}

// Zero makes n bytes at off read as zeroes; it serves trims too.
func (d *Disk) Zero(ctx context.Context, off, n int64) error {
	o, err := d.changed(off, n)
	if err != nil || n == 0 {
		return err
	}
	return o.Zero(ctx, off, n)
}

// Flush makes durable what was written before.
func (d *Disk) Flush() error {
	if d.over == nil {
		return nil
	}
	return d.over.Flush()
}

// Close ends hydration, and makes durable what was written. No other call may
// be under way. ErrNotFlushed: it could not.
func (d *Disk) Close() error {
	d.stop()
	d.wg.Wait()
	var errs []error
	if d.over != nil {
		if err := d.over.Flush(); err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", ErrNotFlushed, err))
		}
		errs = append(errs, d.over.Close())
	}
	if d.cache != nil {
		errs = append(errs, d.cache.im.close())
	}
	return errors.Join(errs...)
}

// Extent is a part of the disk as NBD's block status tells it: data, or a hole
// that reads as zeroes.
type Extent struct {
	Offset, Length int64
	Hole           bool
}

// maxExtents bounds one answer, and so its time.
const maxExtents = 512

// Extents describes the disk from off on, without gap, up to off+n or less: at
// least one extent, and only one if one is set.
func (d *Disk) Extents(off, n int64, one bool) ([]Extent, error) {
	if err := d.check(off, n); err != nil || n == 0 {
		return nil, err
	}
	var out []Extent
	add := func(off, n int64, data bool) bool {
		if k := len(out); k > 0 && out[k-1].Hole == !data {
			out[k-1].Length += n
			return true
		}
		if len(out) == maxExtents || one && len(out) == 1 {
			return false
		}
		out = append(out, Extent{off, n, !data})
		return true
	}
	if d.over == nil {
		d.src.Extents(off, n, add)
		return out, nil
	}
	err := d.over.runs(off, n, func(s state, off, n int64) error {
		more := true
		if s == stateBelow {
			d.src.Extents(off, n, func(off, n int64, data bool) bool {
				more = add(off, n, data)
				return more
			})
		} else {
			more = add(off, n, s == stateData)
		}
		if !more {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}

// errEnough ends a walk.
var errEnough = errors.New("enough")
