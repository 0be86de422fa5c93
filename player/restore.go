package player

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tlog"
	"tlog/aggregate"
	"tlog/stor"
)

// Target takes a restored disk. Every byte is written at most once, and one call
// is made at a time, on goroutines of the restore's.
type Target interface {
	io.WriterAt
	// Zero makes n bytes at off read as zeroes.
	Zero(off, n int64) error
}

// Progress tells how far a restore or a verification is.
type Progress struct {
	Done, Total int64 // positions
	Bytes       int64 // bytes of the disk written, or of records verified
}

// Report says what a restore or a verification did.
type Report struct {
	Point    Point
	DiskSize uint64 // bytes; where the log does not know: the end of the last extent
	Records  int64  // looked at
	Bytes    int64  // written, or verified
	// Damaged is what was worked around, and what a look at all shards of a few
	// positions found besides.
	Damaged []stor.Damage
	known   map[place]bool // where Damaged has one
	// Lost is the positions that a restore of best effort went around, newest
	// first, and Missing the parts of the disk that are not what they were at the
	// moment, by offset.
	Lost    []Lost
	Missing []Missing
}

// Restore writes the disk as of p to t: newest records first, each byte once,
// zeroes for what no record names (unless t is fresh). It reads data only as far
// back as bytes are missing, and the header of every other position, so that
// each link of the chain is checked.
//
// t may be written to before an error is found; the caller publishes it only
// after Restore succeeded.
func (l *Log) Restore(ctx context.Context, p Point, t Target, o RestoreOptions) (*Report, error) {
	if err := l.needKeys(); err != nil {
		return nil, err
	}
	if o.Below != 0 {
		return nil, tlog.Fatalf("player: vdisk %s: only by an index a restore goes on below position %d", l.info.Vdisk, o.Below)
	}
	r := newRestore(l, p, t, o, l.info.DiskSize)
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	if err := r.sample(ctx); err != nil && !o.BestEffort {
		return nil, err
	}
	r.report.settle()
	return &r.report, nil
}

type restore struct {
	log    *Log
	target Target
	opts   RestoreOptions
	until  tlog.Sequence // records after this one are not applied
	size   uint64        // of the disk; 0: unknown
	done   coverage
	gaps   []span // reused
	out    gather
	report Report

	broken bool          // the target did not take something
	floor  tlog.Position // all of the positions from it up was given to out
	asOf   int64         // report.Bytes when it was saved
	unsure tlog.Position // the last lost position of which nobody knows the extents
}

func newRestore(l *Log, p Point, t Target, o RestoreOptions, size uint64) *restore {
	if o.SaveEvery <= 0 {
		o.SaveEvery = defaultSaveEvery
	}
	r := &restore{log: l, target: t, opts: o, out: gather{target: t}, until: p.Sequence, size: size, floor: o.Below}
	r.report = Report{Point: p, DiskSize: size, Damaged: l.view.Damaged()}
	return r
}

func (r *restore) run(ctx context.Context) (err error) {
	// Nobody writes to the target any more when a restore returns.
	defer func() { err = errors.Join(err, r.leave(err)) }()
	head := r.log.info.Positions
	chain := links{vdisk: r.log.info.Vdisk}
	// Positions behind the moment and below a full disk only prove their links.
	full := false
	want := func(pos tlog.Position) bool { return !full && pos <= r.report.Point.Position }
	last := tlog.Position(0)
	for it := range r.log.fetch(ctx, downwards(head, 1), want) {
		if it.err != nil {
			if err := r.around(ctx, it, &chain); err != nil {
				return err
			}
		} else if err := chain.add(it.link()); err != nil {
			return err
		}
		if it.dec != nil && !full {
			if err := r.apply(it.dec.agg); err != nil {
				return restoreError(r.log, it.pos, err)
			}
			r.report.add(it.dec.damaged)
			full = r.size > 0 && r.done.bytes == r.size
		}
		if err := r.step(it.pos, int64(head-it.pos+1), int64(head)); err != nil {
			return err
		}
		last = it.pos
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if last != 1 {
		return tlog.Fatalf("player: vdisk %s: restore ended at position %d", r.log.info.Vdisk, last)
	}
	return r.finish()
}

func restoreError(l *Log, pos tlog.Position, err error) error {
	return fmt.Errorf("player: vdisk %s: restore of position %d: %w", l.info.Vdisk, pos, err)
}

// apply writes what of an aggregation's records is not covered by newer ones.
func (r *restore) apply(a *aggregate.Aggregation) error {
	for i := len(a.Records) - 1; i >= 0; i-- {
		rec := &a.Records[i]
		if rec.Sequence > r.until {
			continue
		}
		r.report.Records++
		if r.size > 0 && rec.End() > r.size {
			return tlog.Corruptf("record %d ends at byte %d of a disk of %d", rec.Sequence, rec.End(), r.size)
		}
		if r.log.info.DiskSize == 0 {
			r.report.DiskSize = max(r.report.DiskSize, rec.End())
		}
		if err := r.write(rec); err != nil {
			return err
		}
	}
	return nil
}

func (r *restore) write(rec *tlog.Record) error {
	r.gaps = r.done.add(span{rec.Offset, rec.End()}, r.gaps[:0])
	for _, g := range r.gaps {
		if rec.Operation != tlog.OpWrite {
			if err := r.zero(g); err != nil {
				return err
			}
			continue
		}
		if err := r.put(g.from, rec.Data[g.from-rec.Offset:g.to-rec.Offset]); err != nil {
			return err
		}
		r.older(g)
	}
	return nil
}

// put gives data to the target.
func (r *restore) put(off uint64, data []byte) error {
	if err := r.out.add(off, data); err != nil {
		r.broken = true
		return err
	}
	r.report.Bytes += int64(len(data))
	return nil
}

func (r *restore) zero(g span) error {
	r.older(g)
	if r.opts.Fresh {
		return nil
	}
	err := r.out.wait()
	if err == nil {
		err = r.target.Zero(int64(g.from), int64(g.to-g.from))
	}
	r.broken = r.broken || err != nil
	return err
}

// samples is how many positions a restore looks at on every server.
const samples = 16

// sample inspects every shard of a few positions, spread over the log: k good
// shards are enough to restore, and a server whose shards were not among those
// read could be damaged throughout without anybody knowing.
func (r *restore) sample(ctx context.Context) error {
	head := r.log.info.Positions
	step := max(1, head/samples)
	var memory stor.Memory
	for pos := head; ; pos -= step {
		damaged, err := r.log.view.Sample(ctx, pos, &memory)
		if err != nil {
			return err
		}
		r.report.add(damaged)
		if pos <= step {
			return nil
		}
	}
}

// add notes damage that was not noted yet.
func (r *Report) add(damaged []stor.Damage) {
	if len(damaged) > 0 && r.known == nil {
		r.known = map[place]bool{}
		for _, d := range r.Damaged {
			r.known[place{d.Server, d.Position}] = true
		}
	}
	for _, d := range damaged {
		if at := (place{d.Server, d.Position}); !r.known[at] {
			r.known[at] = true
			r.Damaged = append(r.Damaged, d)
		}
	}
}

// place is where a damage is.
type place struct {
	server string
	pos    tlog.Position
}

// finish writes what is still collected, and zeroes what no record ever named.
func (r *restore) finish() error {
	if err := r.flush(); err != nil {
		return err
	}
	if r.opts.Fresh && r.unsure == 0 {
		return nil
	}
	// Piece by piece, so that the list of a fragmented disk is not long.
	for at := uint64(0); at < r.report.DiskSize; at += finishStep {
		r.gaps = r.done.add(span{at, min(at+finishStep, r.report.DiskSize)}, r.gaps[:0])
		for _, g := range r.gaps {
			if err := r.zero(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// finishStep is how much of a disk is looked at for what no record named, in bytes.
const finishStep = 1 << 30
