package vdisk

import "io"

// ReadAt reads what the disk holds now: every write that was acknowledged
// before, in the base or not. It implements io.ReaderAt.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if off == d.cfg.Size && len(p) > 0 {
		return 0, io.EOF
	}
	if err := d.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	var few [16]extent
	over, pin := d.pinned(few[:0], off, int64(len(p)))
	defer d.pins.leave(pin)
	// The base is read once, over all that no record hides: system calls cost
	// more than the bytes that are then overwritten. A record that moves to the
	// base meanwhile is in the snapshot, or newer than this read.
	if from, to := uncovered(over, off, off+int64(len(p))); from < to {
		if d.lost.Load() {
			return 0, d.broken.get()
		}
		if err := d.base.read(p[from-off:to-off], from); err != nil {
			return 0, err
		}
	}
	for _, e := range over {
		part := p[e.off-off : e.end-off]
		if e.zero() {
			clear(part)
		} else {
			copy(part, e.bytes())
		}
	}
	return len(p), nil
}

// pinned is snapshot for one that reads the records' data, until it leaves.
func (d *Disk) pinned(buf []extent, off, n int64) ([]extent, pin) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.snapshot(buf, off, n), d.pins.enter()
}

// snapshot appends the records' extents in [off, off+n) to buf. The caller
// holds mu.
func (d *Disk) snapshot(buf []extent, off, n int64) []extent {
	for e := range d.waiting.overlay.within(off, off+n) {
		buf = append(buf, e)
	}
	return buf
}

// uncovered is the smallest range that has all of [off, end) that lies under
// none of the extents, which are sorted.
func uncovered(over []extent, off, end int64) (from, to int64) {
	for len(over) > 0 && over[0].off == off {
		off, over = over[0].end, over[1:]
	}
	for n := len(over); n > 0 && over[n-1].end == end; n-- {
		end = over[n-1].off
		over = over[:n-1]
	}
	return off, end
}

// Extent is a part of the disk as NBD's block status tells it.
type Extent struct {
	Offset, Length int64
	Hole           bool // takes no space
	Zero           bool // reads as zeroes
}

// maxExtents bounds one answer, and so its time.
const maxExtents = 512

// Extents describes the disk from off on, without gap, up to off+n or less:
// at least one extent, and only one if one is set.
func (d *Disk) Extents(off, n int64, one bool) ([]Extent, error) {
	if err := d.check(off, n); err != nil || n == 0 {
		return nil, err
	}
	var out []Extent
	add := func(e Extent) bool {
		if k := len(out); k > 0 && out[k-1].Hole == e.Hole && out[k-1].Zero == e.Zero {
			out[k-1].Length += e.Length
			return true
		}
		if len(out) == maxExtents || one && len(out) == 1 {
			return false
		}
		out = append(out, e)
		return true
	}
	end := off + n
	d.mu.RLock()
	over := d.snapshot(nil, off, n)
	d.mu.RUnlock()
	for _, e := range append(over, extent{end, end, nil}) {
		if more, err := d.base.extents(off, e.off, add); err != nil || !more {
			return out, err
		}
		if e.rec != nil && !add(Extent{e.off, e.end - e.off, e.zero() && !e.rec.keep, e.zero()}) {
			break
		}
		off = e.end
	}
	return out, nil
}

// extents describes the file in [off, end) until add wants no more.
func (b *base) extents(off, end int64, add func(Extent) bool) (more bool, err error) {
	for off < end {
		data, to, err := b.segment(off, end)
		if err != nil {
			data, to = true, end // not knowing, it may be data
		}
		if !add(Extent{off, to - off, !data, !data}) {
			return false, nil
		}
		off = to
	}
	return true, nil
}
