package window

import (
	"slices"

	"tlog"
)

// onAppend gives a record its place in the history.
func (w *Window) onAppend(e *Event, acts []Action) []Action {
	if err := w.refusal(); err != nil {
		return append(acts, Action{Kind: Refuse, Err: err})
	}
	if err := w.unordered(e); err != nil {
		return append(acts, Action{Kind: Refuse, Err: err})
	}
	if !w.room(len(e.Record.Data)) {
		return w.full(acts)
	}
	s := w.give(&e.Record, e.Now)
	return w.wake(append(acts, Action{Kind: Given, Last: s}))
}

// onFlush puts a mark behind all records given so far, unless the last one is a
// mark already, and waits for it.
func (w *Window) onFlush(e *Event, acts []Action) []Action {
	if err := w.refusal(); err != nil {
		return append(acts, Action{Kind: Refuse, Err: err})
	}
	if w.mark == 0 {
		if err := w.unordered(e); err != nil {
			return append(acts, Action{Kind: Refuse, Err: err})
		}
		if !w.room(0) {
			return w.full(acts)
		}
		w.give(&tlog.Record{Operation: tlog.OpFlush, Hash: e.Record.Hash, Group: e.Record.Group}, e.Now)
	}
	return w.await(w.mark, e.Ticket, acts)
}

// onFlushTo waits for a sequence without a mark.
func (w *Window) onFlushTo(e *Event, acts []Action) []Action {
	if err := w.refusal(); err != nil && e.Sequence > w.flushed.Sequence {
		return append(acts, Action{Kind: Refuse, Err: err})
	}
	if e.Sequence > w.head.Sequence {
		err := tlog.Protocolf("window: flush to sequence %d: the last one given is %d", e.Sequence, w.head.Sequence)
		return append(acts, Action{Kind: Refuse, Err: err})
	}
	return w.await(e.Sequence, e.Ticket, acts)
}

// refusal is why no record can be taken now.
func (w *Window) refusal() error {
	if err := w.Ended(); err != nil {
		return err
	}
	if !w.started {
		return tlog.Protocolf("window: not attached yet")
	}
	return nil
}

// unordered refuses a record of a consistency group whose time would have to be
// raised: it would then be after writes of other disks that came after it.
func (w *Window) unordered(e *Event) error {
	if e.Record.Group == 0 || e.Now >= w.lastTS {
		return nil
	}
	return tlog.Fatalf("vdisk %s: internal error: the clock of its group gave %d, and its log is at %d: a cut of the group could not be told", w.cfg.Vdisk, e.Now, w.lastTS)
}

// room reports whether a record of so many bytes of data fits. An empty window
// takes any record.
func (w *Window) room(size int) bool {
	records, bytes := w.Held()
	return records == 0 || records < w.cfg.Records && bytes+size <= w.cfg.Bytes
}

// full refuses for want of room. Someone waits now: see short.
func (w *Window) full(acts []Action) []Action {
	w.starved = true
	return w.wake(append(acts, Action{Kind: Full}))
}

// give numbers, stamps and chains a record, and puts it into the window.
func (w *Window) give(rec *tlog.Record, now uint64) tlog.Sequence {
	if now < w.lastNow {
		w.steps++
	}
	w.lastNow = now
	w.lastTS = max(w.lastTS, now)
	w.lastCum += uint64(len(rec.Data))
	w.head.Sequence++

	n := w.entries.push()
	n.rec = *rec
	n.rec.Sequence, n.rec.Timestamp = w.head.Sequence, w.lastTS
	w.head.Chain = tlog.ChainNext(w.head.Chain, &n.rec)
	n.chain, n.cum = w.head.Chain, w.lastCum
	w.mark = 0
	if rec.Operation == tlog.OpFlush {
		w.mark = w.head.Sequence
	}
	return w.head.Sequence
}

// await resolves the ticket when target is durable, which may be now.
func (w *Window) await(target tlog.Sequence, ticket uint64, acts []Action) []Action {
	if target <= w.flushed.Sequence {
		return append(acts, Action{Kind: Resolve, Ticket: ticket})
	}
	i := w.waitersUpTo(target)
	w.waiters = slices.Insert(w.waiters, i, waiter{target, ticket})
	return w.wake(acts)
}

// waitersUpTo is how many waiters have a target of at most s.
func (w *Window) waitersUpTo(s tlog.Sequence) int {
	i, _ := slices.BinarySearchFunc(w.waiters, s, func(x waiter, s tlog.Sequence) int {
		if x.target <= s {
			return -1
		}
		return 1
	})
	return i
}

func (w *Window) onSlaveSync(e *Event, acts []Action) []Action {
	if err := w.refusal(); err != nil {
		return append(acts, Action{Kind: Refuse, Err: err})
	}
	w.syncs = append(w.syncs, e.Ticket)
	return w.wake(acts)
}

// onCancel forgets a flush's ticket. That of a slave sync stays, because the
// server answers them in order; its Resolve finds nobody.
func (w *Window) onCancel(e *Event, acts []Action) []Action {
	w.waiters = slices.DeleteFunc(w.waiters, func(x waiter) bool { return x.ticket == e.Ticket })
	return acts
}

// advance makes p, whose chain value was checked, the durable prefix.
func (w *Window) advance(p Point, acts []Action) []Action {
	if p.Sequence <= w.flushed.Sequence {
		return acts
	}
	w.cumOK = w.cumAt(p.Sequence)
	w.flushed = p
	w.failures, w.refusals = 0, 0
	w.stalls, w.patience = 0, firstPatience
	n := w.waitersUpTo(p.Sequence)
	for _, x := range w.waiters[:n] {
		acts = append(acts, Action{Kind: Resolve, Ticket: x.ticket})
	}
	w.waiters = slices.Delete(w.waiters, 0, n)
	return w.free(acts)
}

// free lets go of what is durable and not in the hands of a write.
func (w *Window) free(acts []Action) []Action {
	to := w.flushed.Sequence
	if w.writing != 0 {
		to = min(to, w.writing-1)
	}
	if to <= w.freed {
		return acts
	}
	w.cumFree = w.cumAt(to)
	w.entries.drop(int(to - w.freed))
	w.freed = to
	w.starved = false
	return append(acts, Action{Kind: Free, Last: to})
}
