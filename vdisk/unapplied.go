package vdisk

import (
	"fmt"

	"tlog"
)

// unapplied is the part of the log that the base image does not hold yet: in
// order of sequence for the applier, by offset for readers. It decides what
// may go to the base and when it may be forgotten; it does no I/O.
type unapplied struct {
	overlay overlay
	queue   []*pending // queue[i] is record applied+1+i; nil: its writer is not back from the log yet
	applied tlog.Sequence
	flushed tlog.Sequence
	highest tlog.Sequence // the highest registered, or applied before
}

// startUnapplied begins with a base that holds every record up to s.
func startUnapplied(s tlog.Sequence) unapplied {
	return unapplied{applied: s, flushed: s, highest: s}
}

// register adds a record that the log took, in any order.
func (u *unapplied) register(p *pending) {
	if p.seq <= u.applied || p.seq-u.applied <= tlog.Sequence(len(u.queue)) && u.queue[p.seq-u.applied-1] != nil {
		panic(fmt.Sprintf("vdisk: internal error: record %d registered twice", p.seq))
	}
	for u.applied+tlog.Sequence(len(u.queue)) < p.seq {
		u.queue = append(u.queue, nil)
	}
	u.queue[p.seq-u.applied-1] = p
	u.highest = max(u.highest, p.seq)
	u.overlay.insert(p)
}

// flushedTo notes that the log holds everything up to s durably.
func (u *unapplied) flushedTo(s tlog.Sequence) { u.flushed = max(u.flushed, s) }

// ready reports whether next would give anything.
func (u *unapplied) ready() bool {
	return len(u.queue) > 0 && u.queue[0] != nil && u.flushed > u.applied
}

// next is the records that follow those applied and are durable, in order,
// without gap: at least one, if there is one, and no more than the limits.
// They stay visible to readers until done.
func (u *unapplied) next(maxRecords, maxBytes int) []*pending {
	n, size := 0, 0
	for n < len(u.queue) && n < maxRecords && u.queue[n] != nil && u.queue[n].seq <= u.flushed {
		size += len(u.queue[n].data)
		if n > 0 && size > maxBytes {
			break
		}
		n++
	}
	return append([]*pending(nil), u.queue[:n]...)
}

// done forgets the first n records, which the base now holds.
func (u *unapplied) done(n int) {
	for _, p := range u.queue[:n] {
		u.overlay.remove(p)
	}
	clear(u.queue[:n])
	u.queue = u.queue[n:]
	u.applied += tlog.Sequence(n)
}
