package player

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tlog"
	"tlog/group"
	"tlog/player/index"
)

// ErrCut says that the logs do not tell a consistent cut at a moment; the error
// around it says why, and which moments to choose from.
var ErrCut = errors.New("no consistent cut")

// CutConfig says which moment of a consistency group is wanted.
type CutConfig struct {
	Group string
	When  When // not a sequence: that is one disk's
	// Snap moves the moment to the newest flush mark, of any of the disks, at or
	// before it: what the group would be if its host had lost power as that flush
	// completed. (A flush mark of each disk's own would be no moment of the group.)
	Snap Snap
	// Exact keeps a moment at which the log of a disk that was killed may lack
	// writes that the disk had acknowledged and not flushed. Else the moment is
	// moved back to where all that was acknowledged is there.
	Exact bool
}

// Cut is a moment of all disks of a group: of each, all records up to a time of
// the clock that they share.
type Cut struct {
	Time   time.Time
	Points []CutPoint
	Moved  []CutMove // what moved it back from the moment wanted, other than Snap
	Absent []tlog.VdiskID
}

// CutPoint is the moment of one disk.
type CutPoint struct {
	Index *Index
	Point
}

// CutMove is a disk whose log is not known to be complete after Until, although
// another disk's goes on.
type CutMove struct {
	Vdisk tlog.VdiskID
	Until time.Time
}

// NewCut finds the cut. A disk whose log has nothing yet at the moment is Absent.
// Errors: ErrRange, if a disk was not in the group at the moment; ErrCut.
//
// That the cut is consistent is argued in docs/groups.md.
func NewCut(disks []*Index, cfg CutConfig) (*Cut, error) {
	c := &cutter{cfg: cfg}
	for _, ix := range disks {
		c.sides = append(c.sides, &side{ix: ix})
	}
	at, err := c.wanted()
	if err != nil {
		return nil, err
	}
	for moved := true; moved; {
		if err = c.look(at); err == nil {
			at, moved, err = c.earlier(at)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.sameClock(); err != nil {
		return nil, err
	}
	return c.cut(at)
}

type cutter struct {
	cfg   CutConfig
	sides []*side
	moved []CutMove
}

// side is one log around a moment: the last record at or before it, and the
// first after it.
type side struct {
	ix       *Index
	sequence tlog.Sequence // of before; 0: there is none
	before   mark
	after    mark
}

// mark is what of a record tells of the order.
type mark struct {
	time  uint64 // 0: there is no such record
	stamp group.Stamp
}

// wanted is the moment in nanoseconds since 1970 UTC.
func (c *cutter) wanted() (uint64, error) {
	w := c.cfg.When
	switch {
	case len(c.sides) == 0:
		return 0, fmt.Errorf("group %s: %w: no disk of it was found", c.cfg.Group, ErrCut)
	case !w.latest && w.time.IsZero():
		return 0, fmt.Errorf("moment %q: a sequence is one disk's: name a time for a group", w)
	case !w.latest && w.time.After(w.now):
		return 0, fmt.Errorf("moment %q is %w: it is in the future", w, ErrRange)
	case !w.latest:
		return uint64(max(w.time.UnixNano(), 0)), nil
	}
	last := uint64(0)
	for _, s := range c.sides {
		if i := s.ix.log.info; i.Last > 0 {
			last = max(last, uint64(i.LastTime.UnixNano()))
		}
	}
	return last, nil
}

// look finds each log's records around the moment.
func (c *cutter) look(at uint64) error {
	present := 0
	for _, s := range c.sides {
		if err := s.look(at); err != nil {
			return err
		}
		if s.sequence == 0 {
			continue
		}
		present++
		if !s.before.stamp.Of(c.cfg.Group) {
			return fmt.Errorf("moment %s is %w: vdisk %s was not in group %s then, by its record %d of %s: %s",
				textOf(at), ErrRange, s.name(), c.cfg.Group, s.sequence, textOf(s.before.time), c.since(s))
		}
	}
	if present == 0 {
		return fmt.Errorf("moment %s is %w: no disk of group %s had a record yet", textOf(at), ErrRange, c.cfg.Group)
	}
	return nil
}

// since says when a disk joined, as far as the record after the moment tells.
func (c *cutter) since(s *side) string {
	if s.after.stamp.Of(c.cfg.Group) {
		return "it joined at " + textOf(s.after.time)
	}
	return "name the disks that were, or restore this one alone"
}

func (s *side) name() tlog.VdiskID { return s.ix.log.info.Vdisk }

func (s *side) look(at uint64) (err error) {
	s.before, s.after = mark{}, mark{}
	if s.sequence, err = s.ix.before(at); err != nil {
		return err
	}
	err = s.ix.Down(s.sequence, func(_ tlog.Sequence, r *index.Record, _ *index.Position) bool {
		s.before = mark{r.Time, group.Stamp(r.Group)}
		return false
	})
	if err != nil {
		return err
	}
	return s.ix.Up(s.sequence, s.sequence+1, func(_ tlog.Sequence, r *index.Record) bool {
		s.after = mark{r.Time, group.Stamp(r.Group)}
		return false
	})
}

// complete reports whether the log has all that its disk acknowledged until the
// moment. Times rise within one attachment to the clock, so a later record of the
// same attachment proves it; as does its orderly end.
func (s *side) complete(at uint64) bool {
	b, a := s.before, s.after
	switch {
	case s.sequence == 0, b.time == at, b.stamp.IsClosed():
		return true
	case a.time == 0:
		return false
	}
	return a.stamp == b.stamp || a.stamp == b.stamp.Closed()
}

// earlier moves a moment back, if it has to be, which the caller then looks at.
func (c *cutter) earlier(at uint64) (uint64, bool, error) {
	if !c.cfg.Exact {
		for _, s := range c.sides {
			if !s.complete(at) {
				c.note(s)
				return s.before.time, true, nil
			}
		}
	}
	if !c.cfg.Snap.flush(c.cfg.When) {
		return at, false, nil
	}
	mark, err := c.flush()
	if err != nil || mark == 0 || mark == at {
		return at, false, err
	}
	return mark, true, nil
}

// note remembers what moved the moment, if that changes any disk.
func (c *cutter) note(by *side) {
	for _, s := range c.sides {
		if s.sequence != 0 && s.before.time > by.before.time {
			c.moved = append(c.moved, CutMove{by.name(), recordTime(by.before.time)})
			return
		}
	}
}

// flush is the time of the newest flush mark at or before the moment; 0: there
// is none since a disk is in the group.
func (c *cutter) flush() (newest uint64, err error) {
	for _, s := range c.sides {
		err := s.ix.Down(s.sequence, func(_ tlog.Sequence, r *index.Record, _ *index.Position) bool {
			if r.Time <= newest || !group.Stamp(r.Group).Of(c.cfg.Group) {
				return false
			}
			if r.Operation == tlog.OpFlush {
				newest = r.Time
			}
			return r.Operation != tlog.OpFlush
		})
		if err != nil {
			return 0, err
		}
	}
	return newest, nil
}

// sameClock checks that the order of the times is that of the writes. For records
// of one clock it is. A clock that was made after another one's last time gives
// later times; the second to which a stamp tells that is enough between two boots
// of a host. Anything else is two clocks at once: two hosts, or two directories.
func (c *cutter) sameClock() error {
	for _, x := range c.sides {
		for _, y := range c.sides {
			in, out := x.before, y.after
			if x == y || x.sequence == 0 || !out.stamp.Of(c.cfg.Group) || in.stamp.SameClock(out.stamp) {
				continue
			}
			if made := out.stamp.Created(out.time); uint64(made.UnixNano()) <= in.time {
				return fmt.Errorf("group %s: %w: record %s of vdisk %s and record %s of vdisk %s were stamped by two clocks, of which neither began after the other: the disks of a group share one directory for its clock (--group-dir), on one host",
					c.cfg.Group, ErrCut, textOf(in.time), x.name(), textOf(out.time), y.name())
			}
		}
	}
	return nil
}

func (c *cutter) cut(at uint64) (*Cut, error) {
	out := &Cut{Time: recordTime(at), Moved: c.moved}
	for _, s := range c.sides {
		if s.sequence == 0 {
			out.Absent = append(out.Absent, s.name())
			continue
		}
		p, err := s.ix.Point(s.sequence)
		if err != nil {
			return nil, err
		}
		out.Points = append(out.Points, CutPoint{s.ix, p})
	}
	return out, nil
}

func textOf(ns uint64) string { return recordTime(ns).UTC().Format(time.RFC3339Nano) }

// LastStamp is the group stamp of the log's last record; 0 without one.
func (l *Log) LastStamp(ctx context.Context) (stamp group.Stamp, err error) {
	if l.info.Last == 0 {
		return 0, nil
	}
	err = l.Replay(ctx, l.info.Last-1, tlog.Hash{}, l.info.Last, func(r *tlog.Record) error {
		stamp = group.Stamp(r.Group)
		return nil
	})
	return stamp, err
}

// Disk is the log's vdisk.
func (p CutPoint) Disk() tlog.VdiskID { return p.Index.log.info.Vdisk }
