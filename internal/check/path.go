package check

import (
	"bytes"
	"sort"

	"tlog"
)

// Walk compares a log, a record at a time, with what was sent. The records may
// be gone after each call.
type Walk struct {
	r          *Recorder
	at         *node
	disk, want []byte
	err        error
}

// Walk begins at the start of the log.
func (r *Recorder) Walk() *Walk {
	return &Walk{r: r, at: r.root, disk: make([]byte, r.size), want: make([]byte, r.size)}
}

// Add takes the next record of the log. After an error nothing more is taken.
func (w *Walk) Add(rec *tlog.Record) error {
	if w.err == nil {
		w.err = w.add(rec)
	}
	return w.err
}

func (w *Walk) add(rec *tlog.Record) error {
	p := Point{w.at.record.Sequence + 1, tlog.ChainNext(w.at.chain, rec)}
	next := w.r.sent[p]
	if next == nil || rec.Sequence != p.Sequence {
		return w.r.fail("record %d of the log (its number is %d) was not sent behind record %d", p.Sequence, rec.Sequence, w.at.record.Sequence)
	}
	if rec.Timestamp < w.at.record.Timestamp {
		return w.r.fail("record %d of the log: its time %d is before %d", rec.Sequence, rec.Timestamp, w.at.record.Timestamp)
	}
	w.at = next
	apply(w.disk, rec)
	apply(w.want, &next.record)
	return nil
}

// End says that the log ends here, and where that is.
func (w *Walk) End() (Point, error) {
	switch {
	case w.err != nil:
	case !bytes.Equal(w.disk, w.want):
		w.err = w.r.fail("the disk restored up to record %d is not the one that was written", w.at.record.Sequence)
	case !w.at.above(w.r.durable):
		w.err = w.r.fail("the log ends at record %d and lacks record %d, or has another: it was acknowledged", w.at.record.Sequence, w.r.durable.record.Sequence)
	}
	return w.at.point(), w.err
}

// Path is one history of those that were sent.
type Path struct {
	size  int
	nodes []*node // of the records 1, 2, 3 …
}

// Path is the history that ends with to; nil if it was not sent.
func (r *Recorder) Path(to Point) *Path {
	n := r.sent[to]
	if n == nil {
		return nil
	}
	return r.pathTo(n)
}

func (r *Recorder) pathTo(n *node) *Path {
	p := &Path{size: r.size, nodes: make([]*node, n.record.Sequence)}
	for ; n != r.root; n = n.before {
		p.nodes[n.record.Sequence-1] = n
	}
	return p
}

// Len is its last sequence.
func (p *Path) Len() tlog.Sequence { return tlog.Sequence(len(p.nodes)) }

// Record is the record of a sequence from 1 to Len. It is shared: not to be changed.
func (p *Path) Record(s tlog.Sequence) *tlog.Record { return &p.nodes[s-1].record }

// Image is the disk after the record s; 0: the empty disk.
func (p *Path) Image(s tlog.Sequence) []byte {
	disk := make([]byte, p.size)
	for _, n := range p.nodes[:s] {
		apply(disk, &n.record)
	}
	return disk
}

// At is the last record that is not younger than a time in nanoseconds since
// 1970; 0 if there is none.
func (p *Path) At(time uint64) tlog.Sequence {
	return tlog.Sequence(sort.Search(len(p.nodes), func(i int) bool { return p.nodes[i].record.Timestamp > time }))
}
