package file

import (
	"encoding/json"
	"slices"

	"tlog"
	"tlog/stor"
)

// place is where a frame begins.
type place struct {
	segment uint64
	off     int64
}

// index is what the frames add up to. It is the same for a writer, which
// applies frames that it has just made durable, and for a replay.
//
// A position costs 16 bytes: its digest, and a length that three bytes do not
// hold, stay in the frame's header on disk.
type index struct {
	cookie   tlog.UUID
	manifest *stor.Manifest // nil: not initialised
	vdisks   map[tlog.UUID]*vdisk
}

// vdisk is one vdisk's owner and positions.
type vdisk struct {
	control stor.Control
	epochs  []tlog.Epoch // that entries refer to; ascending, as owners are
	pages   []page       // ascending
}

// page holds the entries of pagePositions consecutive positions, of which
// some may be absent. Positions are mostly consecutive, so pages are mostly
// full; pages far apart cost a kilobyte each.
type page struct {
	number  uint64 // of its first position, divided by pagePositions
	entries *[pagePositions]entry
}

const pagePositions = 64

// entry is one position; the zero entry is absent, as no frame is at offset 0.
type entry struct {
	segment uint32
	unit    uint32 // offset in its segment, in units of frameAlign
	epoch   uint32 // index of vdisk.epochs
	index   uint8
	length  [3]byte // of its data, little-endian; zero: the frame's header has it
}

// held is an entry with its position, as read from the index.
type held struct {
	position tlog.Position
	epoch    tlog.Epoch
	index    int
	length   int // of its data, in bytes; 0: the frame's header has it
	place    place
}

func newIndex() *index { return &index{vdisks: make(map[tlog.UUID]*vdisk)} }

// get gives the vdisk, or nil.
func (x *index) get(id tlog.UUID) *vdisk { return x.vdisks[id] }

func (x *index) make(id tlog.UUID) *vdisk {
	v := x.vdisks[id]
	if v == nil {
		v = &vdisk{}
		x.vdisks[id] = v
	}
	return v
}

// apply takes in one frame. data is the manifest of an init frame, and nil
// otherwise. An error means that the log contradicts itself.
func (x *index) apply(h *header, data []byte, at place) error {
	switch h.kind {
	case kindInit:
		m := new(stor.Manifest)
		if err := json.Unmarshal(data, m); err != nil {
			return tlog.Corruptf("frame %d: manifest: %w", h.lsn, err)
		}
		x.cookie, x.manifest = h.vdisk, m
	case kindFence:
		x.make(h.vdisk).control.Owner = stor.Owner{Epoch: h.epoch, ID: h.owner}
	case kindShard:
		v := x.make(h.vdisk)
		v.set(h, at)
		v.hint(h)
	case kindRenew:
		v := x.make(h.vdisk)
		v.hint(h)
		e := v.entry(h.position)
		if e == nil || e.index != h.index {
			return tlog.Corruptf("frame %d: renews position %d of %v, which is not held", h.lsn, h.position, h.vdisk)
		}
		e.epoch = v.epochRef(h.epoch)
	}
	return nil
}

func (v *vdisk) hint(h *header) {
	v.control.Head = max(v.control.Head, h.position)
	v.control.Commit = max(v.control.Commit, h.commit)
}

func (v *vdisk) set(h *header, at place) {
	n := uint64(h.position) / pagePositions
	i, ok := v.search(n)
	if !ok {
		v.pages = slices.Insert(v.pages, i, page{number: n, entries: new([pagePositions]entry)})
	}
	v.pages[i].entries[h.position%pagePositions] = entry{
		segment: uint32(at.segment), unit: uint32(at.off / frameAlign), epoch: v.epochRef(h.epoch), index: h.index, length: short(h.length),
	}
}

// short is a length in three bytes, zero if it does not fit.
func short(n uint32) [3]byte {
	if n >= 1<<24 {
		return [3]byte{}
	}
	return [3]byte{byte(n), byte(n >> 8), byte(n >> 16)}
}

func (v *vdisk) search(number uint64) (int, bool) {
	if n := len(v.pages); n > 0 && v.pages[n-1].number == number { // the usual append
		return n - 1, true
	}
	return slices.BinarySearchFunc(v.pages, number, func(p page, n uint64) int {
		switch {
		case p.number < n:
			return -1
		case p.number > n:
			return 1
		}
		return 0
	})
}

// entry gives the entry of a position that is held, or nil.
func (v *vdisk) entry(pos tlog.Position) *entry {
	i, ok := v.search(uint64(pos) / pagePositions)
	if !ok {
		return nil
	}
	e := &v.pages[i].entries[pos%pagePositions]
	if e.unit == 0 {
		return nil
	}
	return e
}

// epochRef gives the number of an epoch in v.epochs. Only the last one is
// looked for: owners only ascend.
func (v *vdisk) epochRef(epoch tlog.Epoch) uint32 {
	if n := len(v.epochs); n == 0 || v.epochs[n-1] != epoch {
		v.epochs = append(v.epochs, epoch)
	}
	return uint32(len(v.epochs) - 1)
}

func (v *vdisk) held(pos tlog.Position, e *entry) held {
	return held{
		position: pos, epoch: v.epochs[e.epoch], index: int(e.index),
		length: int(e.length[0]) | int(e.length[1])<<8 | int(e.length[2])<<16,
		place:  place{uint64(e.segment), int64(e.unit) * frameAlign},
	}
}

// find gives what is held of a position.
func (x *index) find(id tlog.UUID, pos tlog.Position) (held, bool) {
	v := x.get(id)
	if v == nil {
		return held{}, false
	}
	e := v.entry(pos)
	if e == nil {
		return held{}, false
	}
	return v.held(pos, e), true
}

// span gives what is held of positions from…to, ascending.
func (x *index) span(id tlog.UUID, from, to tlog.Position) []held {
	v := x.get(id)
	if v == nil || from > to {
		return nil
	}
	var all []held
	i, _ := v.search(uint64(from) / pagePositions)
	for _, p := range v.pages[i:] {
		first := tlog.Position(p.number * pagePositions)
		if first > to {
			break
		}
		for j := range p.entries {
			pos := first + tlog.Position(j)
			if e := &p.entries[j]; e.unit != 0 && pos >= from && pos <= to {
				all = append(all, v.held(pos, e))
			}
		}
	}
	return all
}
