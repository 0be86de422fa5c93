package vdisk

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"tlog"
)

// image is the plain model: a disk as bytes.
type image []byte

func (m image) apply(p *pending) {
	if p.op == tlog.OpWrite {
		copy(m[p.off:p.end], p.data)
	} else {
		clear(m[p.off:p.end])
	}
}

// check fails unless the extents are sorted, disjoint, not empty, within their
// record, and the chunks are neither empty nor too long.
func (o *overlay) check(t *rapid.T) {
	last := int64(0)
	for _, ch := range o.chunks {
		if len(ch) == 0 || len(ch) > maxChunk {
			t.Fatalf("chunk of %d extents", len(ch))
		}
		for _, e := range ch {
			if e.off < last || e.off >= e.end || e.off < e.rec.off || e.end > e.rec.end {
				t.Fatalf("extent [%d,%d) of record [%d,%d) after %d", e.off, e.end, e.rec.off, e.rec.end, last)
			}
			last = e.end
		}
	}
}

func drawRecord(t *rapid.T, seq tlog.Sequence, size int64) *pending {
	p := &pending{seq: seq}
	p.op = rapid.SampledFrom([]tlog.Operation{tlog.OpWrite, tlog.OpWrite, tlog.OpWrite, tlog.OpTrim, tlog.OpZero, tlog.OpFlush}).Draw(t, "op")
	if p.op == tlog.OpFlush {
		return p
	}
	p.off = rapid.Int64Range(0, size-1).Draw(t, "off")
	p.end = min(size, p.off+rapid.Int64Range(1, size/4).Draw(t, "len"))
	if p.op == tlog.OpWrite {
		p.data = bytes.Repeat([]byte{byte(seq)}, int(p.end-p.off))
		p.data[0] ^= 0x80 // so that a shift of data is seen
	}
	return p
}

// Any interleaving of writers, of what the log takes and makes durable, of
// applying and reading: readers see the newest registered record everywhere,
// the log gets every record once, and the base exactly the durable prefix, in
// order.
func TestUnappliedAgainstImage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 600
		u := startUnapplied(7)
		base := make(image, size) // what the applier wrote
		want := make(image, size) // records ≤ applied, in order of sequence
		var back []*pending       // registered, not applied
		last, logged, flushed := tlog.Sequence(7), tlog.Sequence(7), tlog.Sequence(7)
		t.Repeat(map[string]func(*rapid.T){
			"register": func(t *rapid.T) {
				last++
				p := drawRecord(t, last, size)
				p.seq = 0
				if u.register(p); p.seq != last {
					t.Fatalf("record %d registered as %d", last, p.seq)
				}
				back = append(back, p)
			},
			"log": func(t *rapid.T) {
				batch := u.unlogged(make([]*pending, 0, rapid.IntRange(1, 5).Draw(t, "records")))
				if len(batch) == 0 && logged < last {
					t.Fatalf("nothing to log of %d to %d", logged+1, last)
				}
				for _, p := range batch {
					if logged++; p.seq != logged {
						t.Fatalf("record %d is logged as %d", p.seq, logged)
					}
				}
				u.loggedTo(logged)
			},
			"withdraw": func(t *rapid.T) {
				if last > logged {
					u.withdraw(back[len(back)-1])
					back, last = back[:len(back)-1], last-1
				}
			},
			"flushed": func(t *rapid.T) {
				s := tlog.Sequence(rapid.Uint64Range(0, uint64(last)).Draw(t, "to"))
				u.flushedTo(s)
				logged = max(logged, s)
				flushed = max(flushed, s)
			},
			"apply": func(t *rapid.T) {
				batch := u.next(nil, rapid.IntRange(1, 9).Draw(t, "records"), rapid.IntRange(1, size).Draw(t, "bytes"))
				if u.ready() != (len(batch) > 0) {
					t.Fatalf("ready %v, batch of %d", u.ready(), len(batch))
				}
				var merged overlay
				for i, p := range batch {
					if p.seq != u.applied+1+tlog.Sequence(i) || p.seq > flushed {
						t.Fatalf("record %d applied after %d+%d, durable %d", p.seq, u.applied, i, flushed)
					}
					merged.insert(p)
					want.apply(p)
				}
				merged.check(t)
				for e := range merged.all() {
					if e.zero() {
						clear(base[e.off:e.end])
					} else {
						copy(base[e.off:e.end], e.bytes())
					}
				}
				u.done(len(batch))
				kept := back[:0]
				for _, p := range back {
					if p.seq > u.applied {
						kept = append(kept, p)
					}
				}
				back = kept
			},
			"": func(t *rapid.T) {
				u.overlay.check(t)
				if !bytes.Equal(base, want) {
					t.Fatal("the base is not the disk at the applied record")
				}
				got, read := bytes.Clone(base), bytes.Clone(want)
				for s := u.applied + 1; s <= last; s++ {
					for _, p := range back {
						if p.seq == s {
							image(read).apply(p)
						}
					}
				}
				for e := range u.overlay.within(0, size) {
					if e.zero() {
						clear(got[e.off:e.end])
					} else {
						copy(got[e.off:e.end], e.bytes())
					}
				}
				if !bytes.Equal(got, read) {
					t.Fatal("readers do not see the newest records")
				}
			},
		})
	})
}

// Many small extents: chunks are cut, filled and removed.
func TestOverlayOfManyExtents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 4000
		var o overlay
		owner := make([]*pending, size)
		var all []*pending
		for seq := range tlog.Sequence(600) {
			p := &pending{seq: seq + 1, op: tlog.OpZero}
			p.off = rapid.Int64Range(0, size-1).Draw(t, "off")
			p.end = min(size, p.off+rapid.SampledFrom([]int64{1, 2, 3, 5, 1000}).Draw(t, "len"))
			o.insert(p)
			all = append(all, p)
			for i := p.off; i < p.end; i++ {
				owner[i] = p
			}
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				old := rapid.SampledFrom(all).Draw(t, "old")
				o.remove(old)
				for i := old.off; i < old.end; i++ {
					if owner[i] == old {
						owner[i] = nil
					}
				}
			}
		}
		o.check(t)
		got := make([]*pending, size)
		for e := range o.all() {
			for i := e.off; i < e.end; i++ {
				got[i] = e.rec
			}
		}
		for i := range got {
			if got[i] != owner[i] {
				t.Fatalf("byte %d belongs to another record", i)
			}
		}
	})
}

func BenchmarkOverlayInsert(b *testing.B) {
	b.ReportAllocs()
	u := startUnapplied(0)
	seq := tlog.Sequence(0)
	x := uint64(1)
	for b.Loop() {
		seq++
		x = x*6364136223846793005 + 1442695040888963407
		off := int64(x>>33) % (10 << 30) &^ 4095
		u.register(&pending{seq: seq, op: tlog.OpZero, off: off, end: off + 4096})
		if len(u.queue) > 8192 {
			u.flushedTo(seq)
			u.done(256)
		}
	}
}
