package file

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tlog"
)

// replayed opens a directory without damage, and gives what is in it.
func replayed(t testing.TB, dir fsys, opt Options) *index {
	t.Helper()
	s, err := open("replayed", dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.damage != nil {
		t.Fatalf("damaged: %v", s.damage)
	}
	return s.index
}

// readsFS counts what is read of sealed segments.
type readsFS struct {
	*crashFS
	last         string
	reads, bytes atomic.Int64
}

type readsFile struct {
	file
	d *readsFS
}

func (d *readsFS) open(name string, write bool) (file, error) {
	f, err := d.crashFS.open(name, write)
	if err != nil || !strings.HasSuffix(name, segmentSuffix) || name == d.last {
		return f, err
	}
	return &readsFile{f, d}, nil
}

func (f *readsFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(b, off)
	f.d.reads.Add(1)
	f.d.bytes.Add(int64(n))
	return n, err
}

// TestSealedAreNotScanned opens a log of many segments: of each but the last a
// few reads are enough, and what is found is what a scan finds.
func TestSealedAreNotScanned(t *testing.T) {
	dir := filled(t, 300, sizes)
	numbers, _ := segmentNumbers(dir)
	for _, opt := range []Options{{ReadOnly: true}, {}} {
		counted := &readsFS{crashFS: dir.restart(), last: segmentName(numbers[len(numbers)-1])}
		got := replayed(t, counted, opt)
		sealed, reads, size := int64(len(numbers)-1), counted.reads.Load(), counted.bytes.Load()
		if reads > 4*sealed || size > sealed*20<<10 {
			t.Errorf("read only %v: %d reads, %d bytes of %d sealed segments", opt.ReadOnly, reads, size, sealed)
		}
		opt.EveryFrame = true
		if want := replayed(t, dir.restart(), opt); !reflect.DeepEqual(got, want) {
			t.Errorf("read only %v: not what a scan finds", opt.ReadOnly)
		}
	}
}

// listed are the segments that have a contents file.
func listed(dir *crashFS) (numbers []int64) {
	names, _ := dir.list()
	for _, name := range names {
		if n := contentsNumber(name); n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// TestContentsMade has an old log, without contents files: a reader makes none,
// the next writer all of them, and what it seals later goes on with that.
func TestContentsMade(t *testing.T) {
	dir := filled(t, 60, sizes)
	want := listed(dir)
	if numbers, _ := segmentNumbers(dir); len(want) != len(numbers)-1 || len(want) < 3 {
		t.Fatalf("contents of %v, segments %v", want, numbers)
	}
	written := map[string][]byte{}
	for _, n := range want {
		name := contentsName(uint64(n))
		written[name] = dir.names[name].data
		delete(dir.names, name)
	}
	replayed(t, dir, Options{ReadOnly: true})
	if got := listed(dir); got != nil {
		t.Fatalf("a reader made contents of %v", got)
	}
	for _, opt := range []Options{{SegmentBytes: 1}, {SegmentBytes: 1, EveryFrame: true}} {
		replayed(t, dir, opt)
		if got := listed(dir); !slices.Equal(got, want) {
			t.Fatalf("contents of %v, want %v", got, want)
		}
	}
	for name, b := range written {
		if !bytes.Equal(dir.names[name].data, b) {
			t.Errorf("%s is not what it was when it was written beside the frames", name)
		}
	}
	dir.names[newContents] = &inode{data: []byte("half made")}
	s := mustOpen(t, dir)
	if dir.names[newContents] != nil {
		t.Error("a contents file that was half made is left")
	}
	for p := tlog.Position(61); p <= 90; p++ {
		if err := appendOne(s, testRequest(p, sizes(p))); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if numbers, _ := segmentNumbers(dir); len(listed(dir)) != len(numbers)-1 {
		t.Fatalf("contents of %v, segments %v", listed(dir), numbers)
	}
	if !reflect.DeepEqual(replayed(t, dir, Options{ReadOnly: true}), replayed(t, dir, Options{ReadOnly: true, EveryFrame: true})) {
		t.Fatal("contents of a segment that was gone on with are not what a scan finds")
	}
}

// TestContentsDamaged has contents files that are not to be believed: the log
// is what it is without them, and the next writer makes them again.
func TestContentsDamaged(t *testing.T) {
	whole, alien := filled(t, 60, sizes), filled(t, 60, sizes)
	want := replayed(t, whole, Options{ReadOnly: true, EveryFrame: true})
	own := whole.names[contentsName(2)].data
	for name, b := range map[string][]byte{
		"empty":                {},
		"cut in the header":    own[:contentsHeaderSize-1],
		"cut behind it":        own[:contentsHeaderSize],
		"cut":                  own[:len(own)-1],
		"longer":               append(bytes.Clone(own), 0),
		"zeroes":               make([]byte, len(own)),
		"half of it zeroes":    append(bytes.Clone(own[:len(own)/2]), make([]byte, len(own)/2)...),
		"flipped":              flipped(own, len(own)/2),
		"of another segment":   whole.names[contentsName(1)].data,
		"of another store":     alien.names[contentsName(2)].data,
		"of a newer version":   resealed(own, func(b []byte) { b[8]++ }),
		"of a longer segment":  resealed(own, func(b []byte) { b[73]++ }),
		"another first frame":  resealed(own, func(b []byte) { b[80]++ }),
		"another last frame":   resealed(own, func(b []byte) { b[84]++ }),
		"another first number": resealed(own, func(b []byte) { b[40]-- }),
		"not all frames":       staleContents(whole, 2),
		"another init frame":   resealed(whole.names[contentsName(1)].data, func(b []byte) { b[contentsHeaderSize] = kindMark }),
		"larger than its log":  make([]byte, 1<<20),
		"a segment":            whole.names[segmentName(2)].data,
	} {
		dir := whole.restart()
		dir.names[contentsName(2)] = &inode{data: b}
		if got := replayed(t, dir, Options{ReadOnly: true}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the log is another one", name)
		}
		if got := replayed(t, dir, Options{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the log is another one to a writer", name)
		}
		if !bytes.Equal(dir.names[contentsName(2)].data, own) {
			t.Errorf("%s: it was not made again", name)
		}
	}
}

// hugeFS has contents files that say they are large.
type hugeFS struct {
	*crashFS
	t testing.TB
}

type hugeFile struct {
	file
	t testing.TB
}

func (d *hugeFS) open(name string, write bool) (file, error) {
	f, err := d.crashFS.open(name, write)
	if err != nil || contentsNumber(name) < 0 {
		return f, err
	}
	return &hugeFile{f, d.t}, nil
}

func (f *hugeFile) size() (int64, error) { return 1 << 50, nil }

func (f *hugeFile) ReadAt(b []byte, off int64) (int, error) {
	f.t.Errorf("%d bytes at %d are read", len(b), off)
	return f.file.ReadAt(b, off)
}

// TestContentsHuge has contents files larger than their segments: they are not
// read, whatever they hold.
func TestContentsHuge(t *testing.T) {
	dir := filled(t, 60, sizes)
	want := replayed(t, dir, Options{ReadOnly: true, EveryFrame: true})
	if got := replayed(t, &hugeFS{dir, t}, Options{ReadOnly: true}); !reflect.DeepEqual(got, want) {
		t.Error("the log is another one")
	}
}

func flipped(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// resealed are contents that were changed by somebody who knows how.
func resealed(b []byte, change func([]byte)) []byte {
	b = bytes.Clone(b)
	change(b)
	sealContents(b)
	return b
}

// staleContents are those of a segment when it had fewer frames.
func staleContents(dir *crashFS, number uint64) []byte {
	var c contents
	c.decode(dir.names[contentsName(number)].data)
	d := newDraft(&segmentHeader{number: c.number, first: c.first, store: c.store})
	r := frameReader{window: window{f: &crashFile{dir, dir.names[segmentName(number)]}}, number: number, seed: seedOf(c.store, number)}
	for range c.count - 3 {
		f, _ := r.header(d.end)
		d.add(&f.header, f.at)
	}
	return d.image(c.size)
}

// rotIn damages the header of the n-th frame of a kind in a segment.
func rotIn(t testing.TB, dir *crashFS, number uint64, kind byte, n int) {
	t.Helper()
	i := *dir.names[segmentName(number)]
	i.data = bytes.Clone(i.data)
	dir.names[segmentName(number)] = &i
	for off := segmentHeaderSize; off+frameHeaderSize <= len(i.data); off += frameAlign {
		var h header
		if h.decode(i.data[off:], seedOf(storeOf(t, dir), number)) && h.kind == kind {
			if n--; n == 0 {
				i.data[off+30] ^= 1
				return
			}
		}
	}
	t.Fatalf("segment %d has no such frame", number)
}

// atOpen and onReading say whether damage is known.
func atOpen(t testing.TB, dir *crashFS, opt Options) (atOpen, onReading bool) {
	t.Helper()
	s, err := open("damaged", dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	atOpen = s.damage != nil
	if _, err := s.Metas(bg, testVdisk, 1, 1000); err != nil && tlog.ClassOf(err) != tlog.Corrupt {
		t.Fatal(err)
	}
	return atOpen, s.damage != nil
}

// TestSegmentDamaged damages segments that have contents files. What is not
// found when the directory is opened is found when it is read, and by who looks
// at every frame; nothing is ever absent.
func TestSegmentDamaged(t *testing.T) {
	const n = 60
	cut := func(left int) func(*crashFS) {
		return func(dir *crashFS) {
			i := *dir.names[segmentName(2)]
			i.data = i.data[:left]
			dir.names[segmentName(2)] = &i
		}
	}
	for name, c := range map[string]struct {
		harm            func(*crashFS)
		atOpen, reading bool
	}{
		"a shard":            {func(d *crashFS) { rotIn(t, d, 2, kindShard, 4) }, false, true},
		"the first":          {func(d *crashFS) { rotIn(t, d, 2, kindShard, 1) }, true, true},
		"the first manifest": {func(d *crashFS) { rotIn(t, d, 1, kindInit, 1) }, true, true},
		"a fence":            {func(d *crashFS) { rotIn(t, d, 1, kindFence, 1) }, false, false},
		"the end":            {lastOf(2, func(b []byte) { clear(b) }), true, true},
		"the last":           {lastOf(2, func(b []byte) { b[40] ^= 1 }), true, true},
		"cut":                {cut(40 << 10), true, true},
		"cut by a byte":      {func(d *crashFS) { cut(len(d.names[segmentName(2)].data) - 1)(d) }, false, false},
		"emptied":            {cut(0), true, true},
		"gone":               {func(d *crashFS) { delete(d.names, segmentName(2)) }, true, true},
		"exchanged":          {func(d *crashFS) { d.names[segmentName(2)] = d.names[segmentName(3)] }, true, true},
		"rolled back":        {rolledBack, true, true},
		"nothing":            {func(*crashFS) {}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t, n, sizes)
			c.harm(dir)
			for _, opt := range []Options{{ReadOnly: true}, {}} {
				if opened, read := atOpen(t, dir.restart(), opt); opened != c.atOpen || read != c.reading {
					t.Errorf("read only %v: known when opened %v, when read %v; want %v, %v", opt.ReadOnly, opened, read, c.atOpen, c.reading)
				}
			}
			all, _ := atOpen(t, dir.restart(), Options{ReadOnly: true, EveryFrame: true})
			if want := c.reading || name == "a fence"; all != want {
				t.Errorf("every frame: damage %v, want %v", all, want)
			}
			s := mustOpen(t, dir.restart())
			if c, _ := s.Control(bg, testVdisk); c.Owner != testOwner {
				t.Errorf("the owner is %+v", c.Owner)
			}
			checkNoneAbsent(t, s, n, sizes)
			checkRefusesIfDamaged(t, s, n)
		})
	}
}

// TestLaterManifest has a manifest in the midst of a segment with a contents
// file: the file names it, and the segment must have it.
func TestLaterManifest(t *testing.T) {
	dir := filled(t, 6, sizes)
	s := mustOpen(t, dir)
	later := *testManifest
	later.ConfigVersion = 2
	if err := s.Init(bg, testCookie, &later); err != nil {
		t.Fatal(err)
	}
	for p := tlog.Position(7); p <= 40; p++ {
		r := testRequest(p, sizes(p))
		r.ConfigVersion = 2
		if err := appendOne(s, r); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if x := replayed(t, dir, Options{ReadOnly: true}); x.manifest.ConfigVersion != 2 || len(listed(dir)) == 0 {
		t.Fatalf("the manifest is of version %d, contents of %v", x.manifest.ConfigVersion, listed(dir))
	}
	for name, harm := range map[string]func(*crashFS){
		"header": func(d *crashFS) { rotIn(t, d, 1, kindInit, 2) },
		"data": func(d *crashFS) {
			i := d.names[segmentName(1)]
			i.data = bytes.Clone(i.data)
			i.data[bytes.LastIndex(i.data, []byte("config_version"))] ^= 1
		},
	} {
		d := dir.restart()
		i := *d.names[segmentName(1)]
		d.names[segmentName(1)] = &i
		harm(d)
		if opened, _ := atOpen(t, d, Options{ReadOnly: true}); !opened {
			t.Errorf("its %s is damaged, and nobody says so", name)
		}
	}
}

// lastOf changes the header of the last frame of a segment.
func lastOf(number uint64, change func([]byte)) func(*crashFS) {
	return func(dir *crashFS) {
		var c contents
		c.decode(dir.names[contentsName(number)].data)
		i := *dir.names[segmentName(number)]
		i.data = bytes.Clone(i.data)
		change(i.data[c.last:c.end][:frameHeaderSize])
		dir.names[segmentName(number)] = &i
	}
}

// rolledBack puts a segment back to when it had half of its frames.
func rolledBack(dir *crashFS) {
	var c contents
	c.decode(dir.names[contentsName(2)].data)
	i := *dir.names[segmentName(2)]
	i.data = bytes.Clone(i.data)
	clear(i.data[c.end/2:])
	dir.names[segmentName(2)] = &i
}

// TestContentsThatLie has a contents file that fits its segment and says
// something else: who looks at every frame says so.
func TestContentsThatLie(t *testing.T) {
	dir := filled(t, 60, sizes)
	b := bytes.Clone(dir.names[contentsName(2)].data)
	at := bytes.Index(b, testVdisk[:]) + len(testVdisk) // the index of the first shard
	b[at]++
	sealContents(b)
	dir.names[contentsName(2)] = &inode{data: b}
	if opened, read := atOpen(t, dir.restart(), Options{ReadOnly: true}); opened || !read {
		t.Errorf("known when opened %v, when read %v", opened, read)
	}
	if opened, _ := atOpen(t, dir.restart(), Options{ReadOnly: true, EveryFrame: true}); !opened {
		t.Error("every frame was looked at, and nothing found")
	}
}

// TestContentsOfAYoungerLog has a directory put back to when its second segment
// was the last, all but the contents files, and written otherwise than before.
func TestContentsOfAYoungerLog(t *testing.T) {
	dir := filled(t, 60, sizes)
	numbers, _ := segmentNumbers(dir)
	for _, n := range numbers[2:] {
		delete(dir.names, segmentName(n))
	}
	stale := maps.Clone(dir.names)
	s := mustOpen(t, dir)
	if got := listed(dir); !slices.Equal(got, []int64{1}) {
		t.Fatalf("contents of %v are left", got)
	}
	c, _ := s.Control(bg, testVdisk)
	last := c.Head + 40
	size := func(p tlog.Position) int {
		if p > c.Head {
			return 777
		}
		return sizes(p)
	}
	for p := c.Head + 1; p <= last; p++ {
		if err := appendOne(s, testRequest(p, size(p))); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	for _, again := range []bool{false, true} { // and if nobody had removed them
		if again {
			for name, i := range stale {
				if contentsNumber(name) > 1 {
					dir.names[name] = i
				}
			}
		}
		r, err := open("reader", dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := checkNoneAbsent(t, r, last, size); got != int(last) || r.damage != nil {
			t.Fatalf("%d of %d positions are whole, %v", got, last, r.damage)
		}
	}
}
