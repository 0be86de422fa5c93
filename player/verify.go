package player

import (
	"context"

	"tlog"
	"tlog/stor"
)

// Verify checks every shard of every position on every server, every link of
// the chain, and, with keys, every record. Damage that the log survives is in
// the report, in order of positions; the first thing it does not survive is
// the error, and the report then ends there.
func (l *Log) Verify(ctx context.Context, progress func(Progress)) (*Report, error) {
	report := &Report{DiskSize: l.info.DiskSize, Damaged: l.view.Damaged(),
		Point: Point{l.info.Last, l.info.Positions, l.info.LastTime}}
	chain := links{vdisk: l.info.Vdisk}
	var memory stor.Memory
	data := func(tlog.Position) bool { return l.key != nil }
	for it := range l.fetch(ctx, upwards(1, l.info.Positions), data) {
		damaged, err := l.view.InspectInto(ctx, it.pos, &memory)
		report.Damaged = append(report.Damaged, damaged...)
		if err != nil {
			return report, err
		}
		if it.err != nil {
			return report, it.err
		}
		if err := chain.add(it.link()); err != nil {
			return report, err
		}
		if it.dec != nil {
			report.count(it.dec)
		}
		if progress != nil {
			progress(Progress{Done: int64(it.pos), Total: int64(l.info.Positions), Bytes: report.Bytes})
		}
	}
	return report, ctx.Err()
}

func (r *Report) count(d *decoded) {
	r.Records += int64(len(d.agg.Records))
	for i := range d.agg.Records {
		r.Bytes += int64(len(d.agg.Records[i].Data))
	}
}

// Entry is one vdisk of a pool.
type Entry struct {
	Name tlog.VdiskID // empty if its genesis could not be read
	UUID tlog.UUID
	Log  *Log  // nil if Err is not
	Err  error // why the log could not be opened
}

// List opens, without keys, every log of a pool, in the order of the servers'
// lists.
func List(ctx context.Context, pool *stor.Pool) ([]Entry, error) {
	ids, err := pool.Vdisks(ctx)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, id := range ids {
		e := Entry{UUID: id}
		if e.Log, e.Err = OpenUUID(ctx, pool, nil, id, Config{}); e.Err == nil {
			e.Name = e.Log.info.Vdisk
		}
		entries = append(entries, e)
	}
	return entries, nil
}
