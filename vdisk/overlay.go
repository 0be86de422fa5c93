package vdisk

import (
	"iter"
	"slices"
	"sort"

	"tlog"
)

// pending is one record of the log that the base image may not hold yet. It
// does not change once it was registered.
type pending struct {
	seq       tlog.Sequence
	time      uint64 // of a disk in a group; else 0
	off       int64
	end       int64
	data      []byte // of a write; the Disk's until the record is applied
	cost      int    // what it takes of the Disk's room
	op        tlog.Operation
	withdrawn bool // was refused, and is not part of the disk
	lent      bool // data is a caller's, who is told when it is not used any more
	keep      bool // zeroes that should stay allocated in the base
	last      bool // a watermark after which the disk acknowledges nothing
}

// extent is the part [off, end) of a record that no newer record hides.
type extent struct {
	off, end int64
	rec      *pending
}

// bytes is the data of a write's extent.
func (e extent) bytes() []byte { return e.rec.data[e.off-e.rec.off : e.end-e.rec.off] }

// zero reports whether the extent reads as zeroes.
func (e extent) zero() bool { return e.rec.op != tlog.OpWrite }

// maxChunk bounds what one insertion moves.
const maxChunk = 128

// overlay maps offsets to the newest record there. Extents lie sorted and
// disjoint in chunks of at most maxChunk: one long slice would move hundreds of
// kilobytes for each write while readers wait.
type overlay struct {
	chunks  [][]extent // none is empty
	scratch []extent
}

// place is an extent's chunk and its index in it.
type place struct{ c, i int }

// seek finds the first extent that ends after off.
func (o *overlay) seek(off int64) place {
	c := sort.Search(len(o.chunks), func(c int) bool {
		ch := o.chunks[c]
		return ch[len(ch)-1].end > off
	})
	if c == len(o.chunks) {
		return place{c, 0}
	}
	ch := o.chunks[c]
	return place{c, sort.Search(len(ch), func(i int) bool { return ch[i].end > off })}
}

// at is the extent at p, if there is one.
func (o *overlay) at(p place) (extent, bool) {
	if p.c == len(o.chunks) {
		return extent{}, false
	}
	return o.chunks[p.c][p.i], true
}

// next is the place after p.
func (o *overlay) next(p place) place {
	if p.i++; p.i == len(o.chunks[p.c]) {
		return place{p.c + 1, 0}
	}
	return p
}

// within yields the parts of extents that lie in [off, end), in order.
func (o *overlay) within(off, end int64) iter.Seq[extent] {
	return func(yield func(extent) bool) {
		for p := o.seek(off); ; p = o.next(p) {
			e, ok := o.at(p)
			if !ok || e.off >= end {
				return
			}
			if !yield(extent{max(e.off, off), min(e.end, end), e.rec}) {
				return
			}
		}
	}
}

// all yields every extent in order.
func (o *overlay) all() iter.Seq[extent] { return o.within(0, 1<<63-1) }

// insert puts p where no newer record lies. Concurrent writers come back from
// the log in any order, so p may be older than what it meets.
func (o *overlay) insert(p *pending) {
	if p.off == p.end {
		return
	}
	lo, at := o.seek(p.off), p.off
	hi := lo
	items := o.scratch[:0]
	var right extent
	for ; ; hi = o.next(hi) {
		e, ok := o.at(hi)
		if !ok || e.off >= p.end {
			break
		}
		if e.off < p.off {
			items = join(items, extent{e.off, p.off, e.rec})
		}
		if e.rec.seq > p.seq {
			from, to := max(e.off, p.off), min(e.end, p.end)
			items = join(items, extent{at, from, p})
			items = join(items, extent{from, to, e.rec})
			at = to
		}
		if e.end > p.end {
			right = extent{p.end, e.end, e.rec}
		}
	}
	items = join(items, extent{at, p.end, p})
	items = join(items, right)
	o.splice(lo, hi, items)
}

// remove takes out what is left of p.
func (o *overlay) remove(p *pending) {
	if p.off == p.end {
		return
	}
	lo := o.seek(p.off)
	hi := lo
	items := o.scratch[:0]
	for ; ; hi = o.next(hi) {
		e, ok := o.at(hi)
		if !ok || e.off >= p.end {
			break
		}
		if e.rec != p {
			items = append(items, e)
		}
	}
	o.splice(lo, hi, items)
}

// join appends e unless it is empty; neighbours of one record become one.
func join(items []extent, e extent) []extent {
	if e.off >= e.end {
		return items
	}
	if n := len(items); n > 0 && items[n-1].rec == e.rec && items[n-1].end == e.off {
		items[n-1].end = e.end
		return items
	}
	return append(items, e)
}

// splice replaces the extents in [lo, hi) by items, which is o.scratch's.
func (o *overlay) splice(lo, hi place, items []extent) {
	first := lo.c
	switch {
	case lo.c == len(o.chunks):
		if len(items) == 0 {
			return
		}
		if first > 0 && len(o.chunks[first-1]) < maxChunk {
			first-- // writes at rising offsets fill chunks up
			o.chunks[first] = append(o.chunks[first], items...)
			break
		}
		o.chunks = append(o.chunks, slices.Clone(items))
	case lo.c == hi.c:
		o.chunks[first] = slices.Replace(o.chunks[first], lo.i, hi.i, items...)
	default:
		merged := append(o.chunks[first][:lo.i:lo.i], items...)
		last := hi.c
		if hi.c < len(o.chunks) {
			merged = append(merged, o.chunks[hi.c][hi.i:]...)
			last++
		}
		o.chunks = slices.Replace(o.chunks, first, last, merged)
	}
	clear(items)
	o.scratch = items[:0]
	o.level(first)
}

// level removes the chunk when it is empty, and cuts it when it is too long.
func (o *overlay) level(c int) {
	ch := o.chunks[c]
	switch {
	case len(ch) == 0:
		o.chunks = slices.Delete(o.chunks, c, c+1)
	case len(ch) > maxChunk:
		var cut [][]extent
		for part := range slices.Chunk(ch, maxChunk/2) {
			cut = append(cut, slices.Clone(part))
		}
		o.chunks = slices.Replace(o.chunks, c, c+1, cut...)
	}
}
