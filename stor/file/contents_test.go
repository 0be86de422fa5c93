package file

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"os"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"tlog"
)

// sealContents gives a contents file that was changed its checksum.
func sealContents(b []byte) {
	if len(b) < contentsHeaderSize+contentsSum {
		return
	}
	body := b[:len(b)-contentsSum]
	seed := seedOf(tlog.UUID(b[24:40]), binary.LittleEndian.Uint64(b[16:]))
	binary.LittleEndian.PutUint32(b[len(body):], crc32.Update(seed, castagnoli, body))
}

// drawDraft is a segment's frames as a scan would find them, of a few vdisks.
func drawDraft(t *rapid.T) (*draft, []found) {
	d := newDraft(&segmentHeader{number: rapid.Uint64Range(1, 1<<31).Draw(t, "number"),
		first: rapid.Uint64Range(1, 1<<62).Draw(t, "first"), store: tlog.UUID{7}})
	var all []found
	for range rapid.IntRange(1, 40).Draw(t, "frames") {
		h := drawHeader(t)
		h.lsn, h.durable, h.vdisk = d.next, 0, tlog.UUID{rapid.ByteRange(1, 3).Draw(t, "vdisk")}
		if near := rapid.Bool().Draw(t, "near"); near {
			h.position, h.epoch, h.commit = tlog.Position(h.lsn), 3, tlog.Position(h.lsn-1)
		}
		h.length %= 100_000
		f := found{header: h, at: place{d.number, d.end}}
		d.add(&f.header, f.at)
		all = append(all, f)
	}
	return d, all
}

// said is what a contents file says of a frame.
func said(f found) found {
	h := header{kind: f.kind, lsn: f.lsn, length: f.length}
	switch f.kind {
	case kindFence:
		h.vdisk, h.epoch, h.owner = f.vdisk, f.epoch, f.owner
	case kindShard, kindRenew:
		h.vdisk, h.epoch, h.position, h.index, h.commit = f.vdisk, f.epoch, f.position, f.index, f.commit
	}
	return found{header: h, at: f.at}
}

// TestContents writes and reads contents files, and damages them in every way.
func TestContents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, want := drawDraft(t)
		b := d.image(d.end + 4096)
		var c contents
		if !c.decode(b) || c.behind() != d.next || c.end != d.end || c.size != d.end+4096 {
			t.Fatalf("decoded %+v", c)
		}
		n := 0
		err := c.each(func(f *found) error {
			if *f != said(want[n]) {
				t.Fatalf("frame %d: got %+v, want %+v", n, *f, said(want[n]))
			}
			n++
			return nil
		})
		if err != nil || n != len(want) {
			t.Fatalf("%d of %d frames, %v", n, len(want), err)
		}
		if got := c.encode(); !bytes.Equal(got, b) {
			t.Fatal("it is not encoded as it was")
		}
		for i := range b {
			b[i] ^= 1 << (i % 8)
			if c.decode(b) {
				t.Fatalf("valid with byte %d of %d changed", i, len(b))
			}
			b[i] ^= 1 << (i % 8)
			if c.decode(b[:i]) {
				t.Fatalf("valid with %d bytes of %d", i, len(b))
			}
		}
		if c.decode(append(b, 0)) {
			t.Fatal("valid with a byte behind it")
		}
	})
}

// TestContentsGap has frames that do not follow one another: there is no file.
func TestContentsGap(t *testing.T) {
	h := segmentHeader{number: 2, first: 10, store: tlog.UUID{1}}
	if newDraft(&h).image(1<<20) != nil {
		t.Error("a file without frames")
	}
	for name, f := range map[string]found{
		"number":  {header{kind: kindMark, lsn: 11}, place{2, segmentHeaderSize}},
		"offset":  {header{kind: kindMark, lsn: 10}, place{2, segmentHeaderSize + frameAlign}},
		"segment": {header{kind: kindMark, lsn: 10}, place{3, segmentHeaderSize}},
	} {
		d := newDraft(&h)
		d.add(&f.header, f.at)
		d.add(&header{kind: kindMark, lsn: 10}, place{2, segmentHeaderSize})
		if d.image(1<<20) != nil {
			t.Errorf("%s: it has a file", name)
		}
	}
}

// TestContentsLimits has contents whose checksum is right and whose fields are
// impossible: they are refused, by decode or by each, and nothing is allocated
// for what they promise.
func TestContentsLimits(t *testing.T) {
	le := binary.LittleEndian
	d := newDraft(&segmentHeader{number: 1, first: 1, store: tlog.UUID{1}})
	for lsn := uint64(1); lsn <= 4; lsn++ {
		d.add(&header{kind: kindShard, lsn: lsn, vdisk: testVdisk, position: tlog.Position(lsn), epoch: 1, length: 1000}, place{1, d.end})
	}
	whole := d.image(1 << 20)
	first := contentsHeaderSize // kind, length (2), vdisk (1+16), index, position, epoch, commit; then the same without the vdisk
	for name, change := range map[string]func(b []byte) []byte{
		"magic":           func(b []byte) []byte { b[0]++; return b },
		"newer":           func(b []byte) []byte { b[8]++; return b },
		"no frames":       func(b []byte) []byte { le.PutUint64(b[48:], 0); return b },
		"fewer frames":    func(b []byte) []byte { le.PutUint64(b[48:], 3); return b },
		"more frames":     func(b []byte) []byte { le.PutUint64(b[48:], 5); return b },
		"endless frames":  func(b []byte) []byte { le.PutUint64(b[48:], 1<<63); return b },
		"LSN 0":           func(b []byte) []byte { le.PutUint64(b[40:], 0); return b },
		"LSNs overflow":   func(b []byte) []byte { le.PutUint64(b[40:], 1<<64-2); return b },
		"last elsewhere":  func(b []byte) []byte { b[56] += frameAlign; return b },
		"end elsewhere":   func(b []byte) []byte { b[64] += frameAlign; return b },
		"kind 0":          func(b []byte) []byte { b[first] = 0; return b },
		"kind unknown":    func(b []byte) []byte { b[first] = kindLast + 1; return b },
		"vdisk unknown":   func(b []byte) []byte { b[first+3] = 1; return b },
		"another length":  func(b []byte) []byte { b[first+1] ^= 0x40; return b },
		"too long":        func(b []byte) []byte { return lengthened(b, first+1, maxData+1) },
		"no length":       func(b []byte) []byte { return lengthened(b, first+1, 1<<64-1) },
		"entries cut":     func(b []byte) []byte { return append(b[:len(b)-contentsSum-1], 0, 0, 0, 0) },
		"entries behind":  func(b []byte) []byte { return append(b, 0) },
		"number unending": func(b []byte) []byte { b[len(b)-contentsSum-1] |= 0x80; return b },
	} {
		b := change(bytes.Clone(whole))
		sealContents(b)
		var c contents
		if c.decode(b) && c.each(func(*found) error { return nil }) == nil {
			t.Errorf("%s: valid", name)
		}
	}
}

// lengthened puts another length into an entry that has one of two bytes.
func lengthened(b []byte, at int, length uint64) []byte {
	return append(binary.AppendUvarint(bytes.Clone(b[:at]), length), b[at+2:]...)
}

const goldenContentsPath = "testdata/golden-contents-v1.toc"

// TestGoldenContents holds the format to the bytes of its first version, of a
// segment with a frame of each kind.
func TestGoldenContents(t *testing.T) {
	dir := goldenLog(t)
	s, err := open("golden", dir, Options{ReadOnly: true, EveryFrame: true})
	if err != nil {
		t.Fatal(err)
	}
	got := s.scan.draft.image(256 << 10)
	if *update {
		if err := os.WriteFile(goldenContentsPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenContentsPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the format changed; got\n%s", hex.Dump(got))
	}
	var c contents
	kinds := map[byte]int{}
	if !c.decode(want) || c.each(func(f *found) error { kinds[f.kind]++; return nil }) != nil {
		t.Fatal("it cannot be read")
	}
	if want := map[byte]int{kindInit: 1, kindFence: 2, kindShard: 1, kindRenew: 1, kindMark: 2}; !reflect.DeepEqual(kinds, want) {
		t.Fatalf("kinds of frames: %v, want %v", kinds, want)
	}
}

// FuzzContents reads arbitrary bytes as the contents file of a segment. With a
// right checksum they are believed as far as they fit the segment: that must
// end, and ask for no more than there is. Without, the log is as if there was none.
func FuzzContents(f *testing.F) {
	golden, err := os.ReadFile(goldenContentsPath)
	if err != nil {
		f.Fatal(err)
	}
	whole := filled(f, 40, sizes)
	own := whole.names[contentsName(1)].data
	f.Add(golden, true)
	f.Add(own, false)
	f.Add(own, true)
	f.Add(own[:contentsHeaderSize], true)
	f.Add([]byte{}, false)
	want := replayed(f, whole, Options{ReadOnly: true, EveryFrame: true})
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if b = bytes.Clone(b); reseal {
			sealContents(b)
		}
		dir := whole.restart()
		dir.names[contentsName(1)] = &inode{data: b}
		s, err := open("fuzz", dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if !reseal && !reflect.DeepEqual(s.index, want) {
			t.Fatal("the log is another one")
		}
		read(t, s)
		if c := new(contents); c.decode(b) {
			next := c.first
			c.each(func(f *found) error {
				if f.lsn != next || f.length > maxData || f.at.off >= maxOffset {
					t.Fatalf("frame %d: %+v", next, f)
				}
				next++
				return nil
			})
		}
	})
}
