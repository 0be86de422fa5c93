package past

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

var bg = context.Background()

// world is an overlay over a moment, and what it should hold.
type world struct {
	*rapid.T
	rng  *rand.Rand
	src  *logged
	file *crashFile
	o    *Overlay
	disk []byte          // what is read now
	low  int64           // the tests write, and look, from here on
	may  map[int64][]any // by sector: what a crash may leave, as [sectorSize]byte, besides what is in disk
	next byte
}

func newWorld(t *rapid.T) *world {
	w := &world{T: t, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2)), may: map[int64][]any{}}
	size := sectorSize * rapid.Int64Range(1, 3*64).Draw(t, "sectors")
	if rapid.IntRange(0, 7).Draw(t, "many") == 7 { // over a border of the map's sectors
		size += sectorBlocks * blockSize
	}
	w.src = newLogged(w.rng, size, 20)
	w.disk = bytes.Clone(w.src.content)
	w.low = max(0, blocksOf(size)-40) * blockSize
	w.file = newCrashFile(w.rng, header{kindOverlay, testMoment(size)})
	w.open()
	return w
}

func (w *world) open() {
	im, err := loadImage(w.file, "overlay")
	if err != nil {
		w.Fatal(err)
	}
	w.o = newOverlay(im, w.src)
}

// extent draws a range of the disk, most often a small one at the same places.
func (w *world) extent() (off, n int64) {
	unit := rapid.SampledFrom([]int64{1, sectorSize, sectorSize, blockSize}).Draw(w.T, "unit")
	size := int64(len(w.disk))
	off = rapid.Int64Range(w.low, size-1).Draw(w.T, "off") / unit * unit
	n = min(size-off, unit*rapid.Int64Range(1, 12).Draw(w.T, "n"))
	return off, n
}

// change does what may be lost until it is flushed.
func (w *world) change(zero bool) error {
	off, n := w.extent()
	for s := off / sectorSize; s*sectorSize < off+n; s++ {
		w.may[s] = append(w.may[s], [sectorSize]byte(w.disk[s*sectorSize:]))
	}
	p := w.disk[off : off+n]
	clear(p)
	if !zero {
		w.next = w.next%250 + 1
		for i := range p {
			p[i] = w.next
		}
	}
	if zero {
		return w.o.Zero(bg, off, n)
	}
	return w.o.WriteAt(bg, bytes.Clone(p), off)
}

// flush flushes; now and then something is written meanwhile, which it does
// not promise.
func (w *world) flush() error {
	before, failed := w.may, error(nil)
	w.may = map[int64][]any{}
	if rapid.IntRange(0, 3).Draw(w.T, "meanwhile") == 3 {
		w.file.synced = func() {
			w.file.synced = nil
			failed = w.change(rapid.Bool().Draw(w.T, "zero"))
		}
	}
	err := w.o.Flush()
	if w.file.synced = nil; err == nil {
		err = failed
	}
	if err != nil {
		for s, list := range before {
			w.may[s] = append(list, w.may[s]...)
		}
	}
	return err
}

// read is the disk as the overlay has it.
func (w *world) read() []byte {
	all := bytes.Clone(w.disk[:w.low])
	got, err := readAll(w.o, w.low, int64(len(w.disk)))
	if err != nil {
		w.Fatal(err)
	}
	return append(all, got...)
}

// accept takes what a crash left for what is there from now on, if it may be.
func (w *world) accept() {
	got := w.read()
	for s := w.low / sectorSize; s < int64(len(got)/sectorSize); s++ {
		have := [sectorSize]byte(got[s*sectorSize:])
		ok := have == [sectorSize]byte(w.disk[s*sectorSize:])
		for _, m := range w.may[s] {
			ok = ok || m == have
		}
		if !ok {
			w.Fatalf("sector %d (block %d) has %x…: neither what was flushed nor what was written since", s, s/8, have[:8])
		}
	}
	w.disk = got
	clear(w.may)
	if err := w.flush(); err != nil { // what was read must not go back
		w.Fatal(err)
	}
}

func (w *world) check() {
	if d := differ(w.read(), w.disk); d != "" {
		w.Fatal(d)
	}
}

// Whatever is written, flushed and opened again: an overlay is a disk, and its
// changes over the moment make the same one.
func TestOverlayAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		ok := func(err error) {
			if err != nil {
				w.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write":  func(t *rapid.T) { w.T = t; ok(w.change(false)) },
			"zero":   func(t *rapid.T) { w.T = t; ok(w.change(true)) },
			"flush":  func(t *rapid.T) { w.T = t; ok(w.flush()) },
			"reopen": func(t *rapid.T) { w.T = t; ok(w.o.Flush()); w.file = w.file.restart(); w.open() },
			"":       func(t *rapid.T) { w.T = t; w.check(); w.checkChanges(); w.checkExtents() },
		})
	})
}

func (w *world) checkChanges() {
	disk, last := bytes.Clone(w.src.content), int64(0)
	err := w.o.Changes(func(off, n int64, data []byte, zero bool) error {
		if off < last || zero == (data != nil) || !zero && int64(len(data)) != n {
			w.Fatalf("change of %d bytes at %d after %d: %d of data, zero %t", n, off, last, len(data), zero)
		}
		clear(disk[off : off+n])
		copy(disk[off:], data)
		last = off + n
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	if d := differ(disk[w.low:], w.disk[w.low:]); d != "" {
		w.Fatalf("moment and changes: %s", d)
	}
}

func (w *world) checkExtents() {
	d := &Disk{moment: w.o.Moment(), src: w.src, over: w.o}
	off, n := w.extent()
	for end := off + n; off < end; {
		list, err := d.Extents(off, end-off, w.rng.IntN(2) == 0)
		if err != nil || len(list) == 0 {
			w.Fatalf("%d extents, %v", len(list), err)
		}
		for _, e := range list {
			if e.Offset != off || e.Length <= 0 || e.Offset+e.Length > end {
				w.Fatalf("extent %+v at %d of %d", e, off, end)
			}
			if part := w.disk[off : off+e.Length]; e.Hole && !bytes.Equal(part, make([]byte, e.Length)) {
				w.Fatalf("hole %+v with data", e)
			}
			off += e.Length
		}
	}
}

// Power is lost, the process killed, or an operation fails, at any moment: what
// was flushed is there, the rest by sectors, and nothing else.
func TestOverlayCrash(t *testing.T) {
	for range 4 { // rapid's usual 100 runs are few for this
		rapid.Check(t, func(t *rapid.T) {
			w := newWorld(t)
			for range rapid.IntRange(1, 8).Draw(t, "rounds") {
				w.round()
			}
		})
	}
}

func (w *world) round() {
	how := rapid.SampledFrom([]string{"power", "power", "kill", "fail"}).Draw(w.T, "how")
	blow := map[string]error{"power": errPower, "kill": errPower, "fail": errMedia}[how]
	w.file.after(rapid.IntRange(1, 25).Draw(w.T, "after"), blow)
	var err error
	for range 40 {
		switch rapid.IntRange(0, 5).Draw(w.T, "what") {
		case 0:
			err = w.flush()
		case 1:
			err = w.change(true)
		default:
			err = w.change(false)
		}
		if err != nil {
			break
		}
	}
	if how == "fail" && errors.Is(err, errMedia) && w.o.im.usable() == nil {
		w.acceptFailed()
		return
	}
	if how == "power" || w.rng.IntN(2) == 0 {
		w.file = w.file.powerLoss()
	} else {
		w.file = w.file.restart()
	}
	w.open()
	w.accept()
}

// acceptFailed goes on after a write that failed, whose sectors have any of
// what they may.
func (w *world) acceptFailed() {
	w.file.after(0, nil)
	w.accept()
}

// slow is a Source whose reads take long enough for others to come between.
type slow struct{ *logged }

func (s slow) ReadAt(ctx context.Context, p []byte, off int64) error {
	err := s.logged.ReadAt(ctx, p, off)
	for range 20 {
		runtime.Gosched()
	}
	return err
}

// Writers of different sectors of one block must not undo each other's, nor
// those of a flush, a trim or a read.
func TestOverlayParallel(t *testing.T) {
	const blocks = 64
	rng := rand.New(rand.NewPCG(1, 2))
	src := newLogged(rng, blocks*blockSize, 40)
	o, err := openOverlay(t.TempDir()+"/o", testMoment(src.Size()), slow{src})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var wg sync.WaitGroup
	for sector := range int64(8) {
		wg.Go(func() {
			for round := range 3 {
				for b := range int64(blocks) {
					p := bytes.Repeat([]byte{byte(sector<<4) + byte(round) + 1}, sectorSize)
					if err := o.WriteAt(bg, p, b*blockSize+sector*sectorSize); err != nil {
						t.Error(err)
					}
					if sector == 0 && b%16 == 0 {
						if err := o.Flush(); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	got, err := readAll(o, 0, src.Size())
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, src.Size())
	for i := range want {
		want[i] = byte(i/sectorSize%8<<4) + 3
	}
	if d := differ(got, want); d != "" {
		t.Error(d)
	}
}

// A block that is written while a flush is under way is not that flush's: its
// data may be lost, and then the map must not say that it is there.
func TestWrittenDuringFlush(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 8))
		src := newLogged(rng, 64*blockSize, 400)
		file := newCrashFile(rng, header{kindOverlay, testMoment(src.Size())})
		im, err := loadImage(file, "overlay")
		if err != nil {
			t.Fatal(err)
		}
		o := newOverlay(im, src)
		write := func(block int64) {
			if err := o.WriteAt(bg, bytes.Repeat([]byte{0xaa}, blockSize), block*blockSize); err != nil {
				t.Error(err)
			}
		}
		write(1)
		next := int64(2)
		file.synced = func() { write(next); next++ }
		if err := o.Flush(); err != nil {
			t.Fatal(err)
		}
		if im, err = loadImage(file.powerLoss(), "overlay"); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(newOverlay(im, src), 0, src.Size())
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(src.content)
		copy(want[blockSize:], bytes.Repeat([]byte{0xaa}, blockSize))
		if d := differ(got, want); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
	}
}

// Those who wait for a flush share the next one, and none returns before one
// that began after it was called.
func TestFlushShared(t *testing.T) {
	src := newLogged(rand.New(rand.NewPCG(1, 2)), 64*blockSize, 4)
	file := newCrashFile(rand.New(rand.NewPCG(1, 3)), header{kindOverlay, testMoment(src.Size())})
	im, err := loadImage(file, "overlay")
	if err != nil {
		t.Fatal(err)
	}
	o := newOverlay(im, src)
	var wg sync.WaitGroup
	const others = 9
	syncs := 0
	file.synced = func() {
		if syncs++; syncs > 1 {
			return
		}
		if err := o.WriteAt(bg, []byte{1}, 0); err != nil {
			t.Error(err)
		}
		for range others {
			wg.Go(func() {
				if err := o.Flush(); err != nil {
					t.Error(err)
				}
			})
		}
		for im.asked.Load() < others+1 {
			runtime.Gosched()
		}
	}
	if err := o.Flush(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if syncs != 3 { // the first, of nothing; then data and map
		t.Errorf("%d syncs", syncs)
	}
	if _, to := im.states.run(0, 1); to != 1 || len(file.dirty) > 0 {
		t.Errorf("%d sectors are not durable", len(file.dirty))
	}
}
