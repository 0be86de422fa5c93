package vdisk

import "tlog"

// unapplied is the part of the disk's history that the base image does not hold
// yet: in order of sequence for the log and the applier, by offset for readers.
// It decides what may go to the base and when it may be forgotten; it does no
// I/O. applied ≤ flushed ≤ logged ≤ highest.
type unapplied struct {
	overlay overlay
	queue   []*pending // queue[i] is record applied+1+i
	applied tlog.Sequence
	flushed tlog.Sequence
	logged  tlog.Sequence // the log has taken everything up to it
	highest tlog.Sequence // the last registered, or applied before
	newest  uint64        // time of the last registered, of a disk in a group
}

// startUnapplied begins with a base that holds every record up to s.
func startUnapplied(s tlog.Sequence) unapplied {
	return unapplied{applied: s, flushed: s, logged: s, highest: s}
}

// register adds a record, and gives it the sequence that the log will. Its time
// is not before that of the record before it: see stamps.go.
func (u *unapplied) register(p *pending) {
	if p.time != 0 {
		p.time = max(p.time, u.newest)
		u.newest = p.time
	}
	u.highest++
	p.seq = u.highest
	u.queue = append(u.queue, p)
	u.overlay.insert(p)
}

// unlogged appends to buf the records that the log has not taken yet, at most
// as many as buf has room for.
func (u *unapplied) unlogged(buf []*pending) []*pending {
	rest := u.queue[u.logged-u.applied:]
	return append(buf, rest[:min(len(rest), cap(buf)-len(buf))]...)
}

// withdraw takes back a record that the log refused for good, as it will every
// later one. What it hid is read again.
func (u *unapplied) withdraw(p *pending) {
	u.overlay.remove(p)
	for _, q := range u.queue {
		if q != p && !q.withdrawn && q.off < p.end && p.off < q.end {
			u.overlay.insert(q)
		}
	}
	p.withdrawn = true
	for n := len(u.queue); n > 0 && u.queue[n-1].withdrawn; n-- {
		u.queue[n-1] = nil
		u.queue = u.queue[:n-1]
		u.highest--
	}
}

// flushedTo notes that the log holds everything up to s durably.
func (u *unapplied) flushedTo(s tlog.Sequence) {
	u.flushed = max(u.flushed, s)
	u.loggedTo(s) // it may be durable before its Append has returned
}

// loggedTo notes that the log has taken everything up to s.
func (u *unapplied) loggedTo(s tlog.Sequence) { u.logged = max(u.logged, s) }

// ready reports whether next would give anything.
func (u *unapplied) ready() bool { return u.flushed > u.applied && len(u.queue) > 0 }

// next appends to buf the records that follow those applied and are durable,
// in order: at least one, if there is one, and no more than the limits. They
// stay visible to readers until done.
func (u *unapplied) next(buf []*pending, maxRecords, maxBytes int) []*pending {
	n, size := 0, 0
	for n < len(u.queue) && n < maxRecords && u.queue[n].seq <= u.flushed {
		size += len(u.queue[n].data)
		if n > 0 && size > maxBytes {
			break
		}
		n++
	}
	return append(buf, u.queue[:n]...)
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
