package file

import "tlog"

// share decides which of the requests that wait are written together, fairly by
// bytes between vdisks: when several wait, none has more of a batch than
// shareBytes. One that has little to write, as for a flush, waits then for the
// batch that is being written and for one share of each other vdisk, and not
// for all that a busy one has handed over.
//
// Requests of a vdisk keep their order: behind one that has to wait all others
// of its vdisk wait, and behind one that is not an append nothing is taken that
// came after one that waits.
type share struct {
	several bool // more than one vdisk waits
	bytes   int64
	used    []used
	held    bool // some request has to wait
	stop    bool
}

// used is what a vdisk has of the batch.
type used struct {
	vdisk tlog.UUID
	bytes int64
	held  bool
}

// shareBytes is the data of one vdisk in a batch that several share: a shard of
// an aggregation of the default size.
const shareBytes = 256 << 10

// begin begins a batch of what waits.
func (s *share) begin(waiting []*request) {
	*s = share{used: s.used[:0]}
	var first *request
	for _, r := range waiting {
		switch {
		case r.append == nil || r.state != queued:
		case first == nil:
			first = r
		case r.append.Vdisk != first.append.Vdisk:
			s.several = true
			return
		}
	}
}

// full reports whether nothing more is taken.
func (s *share) full() bool { return s.stop || s.bytes >= maxBatchBytes }

// take reports whether r is part of the batch. The first request always is.
func (s *share) take(r *request) bool {
	if r.append == nil {
		s.stop = s.held
		return !s.stop
	}
	u := s.of(r.append.Vdisk)
	over := u.bytes > 0 && s.several && u.bytes+r.bytes > shareBytes || s.bytes > 0 && s.bytes+r.bytes > maxBatchBytes
	if u.held || over {
		u.held, s.held = true, true
		return false
	}
	u.bytes += r.bytes
	s.bytes += r.bytes
	return true
}

// of is what a vdisk has. There are few in a batch.
func (s *share) of(vdisk tlog.UUID) *used {
	for i := range s.used {
		if s.used[i].vdisk == vdisk {
			return &s.used[i]
		}
	}
	s.used = append(s.used, used{vdisk: vdisk})
	return &s.used[len(s.used)-1]
}
