// Package check tells whether a vdisk's log keeps its promises
// (docs/durability.md), by what was seen from outside of it.
//
// A Recorder is told every record a client gave out, every acknowledgement and
// every handshake answer; and, as often as the caller likes, what a restore
// gave. It believes nobody: it keeps records by their chain value, so that the
// histories of several clients, which may part after a crash, form a tree, of
// which the log must be one path. What it asserts:
//
//   - an acknowledgement names a record that was sent, of that history;
//   - all acknowledgements are on one path, for good: none is taken back, and a
//     restore contains every one of them (P1, P2, P6);
//   - a restore is a path: sequences 1, 2, 3 …, each byte as it was sent, and
//     timestamps never decrease (P2, P3, P7, P9);
//   - a server acknowledges nothing beyond what a higher epoch took over, and
//     a client believes no lower epoch after a higher one (P4);
//   - a handshake answer is on the path of the acknowledgements (P5).
//
// A Recorder is not safe for concurrent use. It keeps copies of what it is given.
package check

import (
	"fmt"

	"tlog"
)

// Point is a moment of a history: the records up to Sequence, and the chain
// value after them.
type Point struct {
	Sequence tlog.Sequence
	Chain    tlog.Hash
}

// node is a record that was sent, and the one before it.
type node struct {
	before *node // nil: it is the first
	record tlog.Record
	chain  tlog.Hash
	sons   int
}

func (n *node) point() Point { return Point{n.record.Sequence, n.chain} }

// ack is an acknowledgement or a handshake answer.
type ack struct {
	epoch tlog.Epoch
	point Point
}

// Recorder is the history of one vdisk.
type Recorder struct {
	root    *node // stands for the empty history
	size    int   // of the disk, bytes
	sent    map[Point]*node
	order   []*node // as sent
	durable *node   // the highest acknowledgement, or handshake answer
	acks    []ack
	answers []ack
	believe map[int]tlog.Epoch // by client: the highest epoch it took an answer of
	found   []error
}

// New makes the recorder of a vdisk with an empty log.
func New(vdisk tlog.VdiskID, size int) *Recorder {
	root := &node{chain: tlog.ChainStart(vdisk)}
	r := &Recorder{root: root, size: size, sent: map[Point]*node{}, durable: root, believe: map[int]tlog.Epoch{}}
	r.sent[root.point()] = root
	return r
}

// Violations are the promises that were found broken, in the order of finding.
func (r *Recorder) Violations() []error { return r.found }

func (r *Recorder) fail(format string, a ...any) error {
	err := fmt.Errorf("check: "+format, a...)
	r.found = append(r.found, err)
	return err
}

// Sent notes a record that a client gave out behind the history that ends with
// the chain value before. The same record may be noted again.
func (r *Recorder) Sent(before tlog.Hash, rec *tlog.Record) error {
	p := Point{rec.Sequence, tlog.ChainNext(before, rec)}
	if r.sent[p] != nil {
		return nil
	}
	prev := r.sent[Point{rec.Sequence - 1, before}]
	if prev == nil {
		return r.fail("record %d follows a history that nobody sent", rec.Sequence)
	}
	if rec.Timestamp < prev.record.Timestamp {
		return r.fail("record %d: its time %d is before %d", rec.Sequence, rec.Timestamp, prev.record.Timestamp)
	}
	n := &node{before: prev, record: *rec, chain: p.Chain}
	n.record.Data = append([]byte(nil), rec.Data...)
	prev.sons++
	r.sent[p] = n
	r.order = append(r.order, n)
	return nil
}

// above reports whether n is m or follows it.
func (n *node) above(m *node) bool {
	for n.record.Sequence > m.record.Sequence {
		n = n.before
	}
	return n == m
}

// raise makes n part of what is durable for good.
func (r *Recorder) raise(what string, n *node) error {
	switch {
	case n.above(r.durable):
		r.durable = n
	case !r.durable.above(n):
		return r.fail("%s of record %d is of another history than that of record %d: one of them was taken back", what, n.record.Sequence, r.durable.record.Sequence)
	}
	return nil
}

// Acknowledged notes a FlushOK that a server gave, whether or not it arrived.
func (r *Recorder) Acknowledged(epoch tlog.Epoch, p Point) error {
	n := r.sent[p]
	if n == nil {
		return r.fail("FlushOK of record %d, epoch %d: no such history was sent", p.Sequence, epoch)
	}
	for _, a := range r.answers {
		if a.epoch > epoch && a.point.Sequence < p.Sequence {
			return r.fail("FlushOK of record %d in epoch %d, but epoch %d took the log over at record %d", p.Sequence, epoch, a.epoch, a.point.Sequence)
		}
	}
	r.acks = append(r.acks, ack{epoch, p})
	return r.raise("FlushOK", n)
}

// Answered notes a handshake answer OK that a server gave.
func (r *Recorder) Answered(epoch tlog.Epoch, p Point) error {
	n := r.sent[p]
	if n == nil {
		return r.fail("handshake answer at record %d, epoch %d: no such history was sent", p.Sequence, epoch)
	}
	for _, a := range r.acks {
		if a.epoch <= epoch && a.point.Sequence > p.Sequence {
			return r.fail("handshake answer of epoch %d ends at record %d, and epoch %d acknowledged record %d", epoch, p.Sequence, a.epoch, a.point.Sequence)
		}
	}
	r.answers = append(r.answers, ack{epoch, p})
	return r.raise("handshake answer", n)
}

// Believed notes that a client took p, told by a server of that epoch, for
// durable.
func (r *Recorder) Believed(client int, epoch tlog.Epoch, p Point) error {
	n := r.sent[p]
	switch {
	case n == nil || !r.durable.above(n):
		return r.fail("client %d holds record %d for durable, and nobody acknowledged it", client, p.Sequence)
	case epoch < r.believe[client]:
		return r.fail("client %d believes epoch %d after %d", client, epoch, r.believe[client])
	}
	r.believe[client] = epoch
	return nil
}

// Durable is the last record known to be durable.
func (r *Recorder) Durable() Point { return r.durable.point() }

// Restored compares the records of a log, in its order, with what was sent.
func (r *Recorder) Restored(records []tlog.Record) error {
	w := r.Walk()
	for i := range records {
		if err := w.Add(&records[i]); err != nil {
			return err
		}
	}
	_, err := w.End()
	return err
}

// Disk finds a history that contains everything acknowledged and gives this
// disk, and returns its last record.
func (r *Recorder) Disk(image []byte) (Point, error) {
	for i := len(r.order); i >= 0; i-- {
		n := r.root
		if i > 0 {
			n = r.order[i-1]
		}
		if n.above(r.durable) && string(r.image(n)) == string(image) {
			return n.point(), nil
		}
	}
	return Point{}, r.fail("the disk is that of no prefix at or behind record %d", r.durable.record.Sequence)
}

// Image is the disk after a point that was sent; nil if none was.
func (r *Recorder) Image(p Point) []byte {
	n := r.sent[p]
	if n == nil {
		return nil
	}
	return r.image(n)
}

func (r *Recorder) image(n *node) []byte {
	return r.pathTo(n).Image(n.record.Sequence)
}

func apply(disk []byte, rec *tlog.Record) {
	end := min(rec.End(), uint64(len(disk)))
	if rec.Offset >= end {
		return
	}
	extent := disk[rec.Offset:end]
	switch rec.Operation {
	case tlog.OpWrite:
		copy(extent, rec.Data)
	case tlog.OpTrim, tlog.OpZero:
		clear(extent)
	}
}
