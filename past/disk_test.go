package past

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openDisk(t *testing.T, src *logged, change func(*Config)) *Disk {
	t.Helper()
	cfg := Config{Moment: testMoment(src.Size()), Source: src, TempDir: t.TempDir()}
	change(&cfg)
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func closeDisk(t *testing.T, d *Disk) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// Overlay and kept cache are gone on with; the moment below stays as it was.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	src := newLogged(rand.New(rand.NewPCG(1, 1)), 300*blockSize+sectorSize, 200)
	want := bytes.Clone(src.content)
	files := func(c *Config) {
		c.Overlay, c.Cache, c.Hydrate = filepath.Join(dir, "overlay"), filepath.Join(dir, "cache"), true
	}
	for round := range 3 {
		whole := make(chan struct{})
		d := openDisk(t, src, func(c *Config) {
			files(c)
			c.Progress = func(p Progress) {
				if p.Done == p.Total {
					close(whole)
				}
			}
		})
		if round == 0 {
			<-whole
		}
		got, err := readAll(d, 0, d.Size())
		if err != nil {
			t.Fatal(err)
		}
		if diff := differ(got, want); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
		p := bytes.Repeat([]byte{byte(round) + 1}, 5000)
		off := int64(round) * 100_000
		if err := d.WriteAt(bg, p, off); err != nil {
			t.Fatal(err)
		}
		copy(want[off:], p)
		if err := d.Zero(bg, off+50_000, 20_000); err != nil {
			t.Fatal(err)
		}
		clear(want[off+50_000 : off+70_000])
		closeDisk(t, d)
	}
	live := openDisk(t, src, func(c *Config) { c.Cache, c.Hydrate = filepath.Join(dir, "cache"), true })
	defer closeDisk(t, live)
	if live.Writable() || !errors.Is(live.WriteAt(bg, want, 0), ErrReadOnly) || !errors.Is(live.Zero(bg, 0, 1), ErrReadOnly) || live.Flush() != nil {
		t.Error("a disk without an overlay is written")
	}
	got, err := readAll(live, 0, live.Size())
	if err != nil {
		t.Fatal(err)
	}
	if diff := differ(got, src.content); diff != "" {
		t.Errorf("the moment has changed: %s", diff)
	}
}

func TestDiskRange(t *testing.T) {
	src := newLogged(rand.New(rand.NewPCG(1, 1)), 4*blockSize, 4)
	d := openDisk(t, src, func(c *Config) { c.Overlay = filepath.Join(t.TempDir(), "o") })
	defer closeDisk(t, d)
	p := make([]byte, 10)
	for _, off := range []int64{-1, src.Size() - 9, src.Size(), 1<<63 - 5} {
		_, err := d.Extents(off, 10, false)
		for _, err := range []error{d.ReadAt(bg, p, off), d.WriteAt(bg, p, off), d.Zero(bg, off, 10), err} {
			if !errors.Is(err, ErrRange) {
				t.Errorf("10 bytes at %d of %d: %v", off, src.Size(), err)
			}
		}
	}
	if err := errors.Join(d.ReadAt(bg, nil, src.Size()), d.WriteAt(bg, nil, src.Size()), d.Zero(bg, src.Size(), 0)); err != nil {
		t.Error(err)
	}
}

// What is not the overlay, or the cache, of this moment is refused, and left as
// it is.
func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	src := newLogged(rand.New(rand.NewPCG(1, 1)), 64*blockSize, 20)
	mine := testMoment(src.Size())
	with := func(change func(*Moment)) Moment {
		m := mine
		change(&m)
		return m
	}
	image := func(k kind, m Moment, spoil func([]byte) []byte) []byte {
		b := make([]byte, fileLength(m.Size))
		copy(b, (&header{k, m}).encode())
		return spoil(b)
	}
	same := func(b []byte) []byte { return b }
	raw := bytes.Repeat([]byte("disk"), 1000)
	for i, c := range []struct {
		content []byte
		says    string
	}{
		{image(kindOverlay, with(func(m *Moment) { m.Sequence = 8 }), same), "the overlay of vdisk v at seq:8 (2001-09-09T01:46:40.000000005Z), and this is vdisk v at seq:7 (2001-09-09T01:46:40.000000005Z): say --at seq:8 --snap-to any"},
		{image(kindOverlay, with(func(m *Moment) { m.Vdisk = "w" }), same), "the overlay of vdisk w at seq:7"},
		{image(kindOverlay, with(func(m *Moment) { m.UUID[15] = 1 }), same), "01000000-0000-0000-0000-000000000001"},
		{image(kindOverlay, with(func(m *Moment) { m.Digest[0]++ }), same), "and this is vdisk v"},
		{image(kindOverlay, with(func(m *Moment) { m.Size += blockSize }), same), "and this is vdisk v"},
		{image(kindCache, mine, same), "is the cache of vdisk v at seq:7"},
		{raw, "neither an overlay nor a cache"},
		{nil, "neither an overlay nor a cache"},
		{image(kindOverlay, mine, func(b []byte) []byte { b[8]++; return b }), "later version"},
		{image(kindOverlay, mine, func(b []byte) []byte { b[60]++; return b }), "checksum of the header"},
		{image(kindOverlay, mine, func(b []byte) []byte { return b[:len(b)-1] }), "cut by someone else"},
		{image(kindOverlay, mine, func(b []byte) []byte { return b[:300] }), "checksum of the header"},
		{image(kindOverlay, mine, func(b []byte) []byte { b[mapStart] = 1; return b }), "map of bytes 0 to 8323072 of the disk has a wrong checksum"},
	} {
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Config{Moment: mine, Source: src, Overlay: path})
		if !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%d: %v; want %q", i, err, c.says)
		}
		if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, c.content) {
			t.Errorf("%d: the file was changed, %v", i, err)
		}
		if o, err := OpenOverlay(path); err == nil {
			err = o.Close()
			if i > 4 || err != nil {
				t.Errorf("%d: opened as any overlay, %v", i, err)
			}
		} else if !errors.Is(err, ErrFile) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, err := OpenOverlay(filepath.Join(dir, "none")); !errors.Is(err, ErrFile) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(Config{Moment: mine, Source: src, Overlay: filepath.Join(dir, "no", "dir")}); !errors.Is(err, ErrFile) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := Open(Config{Moment: with(func(m *Moment) { m.Size++ }), Source: src}); tlog.ClassOf(err) != tlog.Corrupt {
		t.Errorf("another size than the log's: %v", err)
	}
}

// Two mounts never share a file, and leave nothing beside it.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	src := newLogged(rand.New(rand.NewPCG(1, 1)), 64*blockSize, 20)
	cfg := Config{Moment: testMoment(src.Size()), Source: src, Overlay: filepath.Join(dir, "o"), Hydrate: true, Cache: filepath.Join(dir, "c")}
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Config){func(c *Config) { c.Overlay = "" }, func(c *Config) { c.Hydrate = false }} {
		other := cfg
		change(&other)
		if _, err := Open(other); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("opened twice: %v", err)
		}
	}
	if _, err := OpenOverlay(cfg.Overlay); !errors.Is(err, ErrFile) {
		t.Errorf("opened twice: %v", err)
	}
	closeDisk(t, d)
	o, err := OpenOverlay(cfg.Overlay)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Moment().same(cfg.Moment) || !o.Moment().Time.Equal(cfg.Moment.Time) {
		t.Errorf("moment %v, want %v", o.Moment(), cfg.Moment)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A disk that cannot be made durable at its end says so.
func TestCloseNotFlushed(t *testing.T) {
	src := newLogged(rand.New(rand.NewPCG(1, 1)), 8*blockSize, 4)
	file := newCrashFile(rand.New(rand.NewPCG(1, 2)), header{kindOverlay, testMoment(src.Size())})
	im, err := loadImage(file, "overlay")
	if err != nil {
		t.Fatal(err)
	}
	d := &Disk{moment: im.head.moment, src: src, below: src, over: newOverlay(im, src), stop: func() {}}
	if err := d.WriteAt(bg, []byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	file.after(1, errMedia)
	if err := d.Close(); !errors.Is(err, ErrNotFlushed) || !errors.Is(err, errMedia) {
		t.Errorf("closed with %v", err)
	}
	if err := errors.Join(d.WriteAt(bg, []byte{1}, 0), d.Flush()); !errors.Is(err, errMedia) {
		t.Errorf("used after a failed sync: %v", err)
	}
	if err := d.ReadAt(bg, make([]byte, 1), 0); !errors.Is(err, errMedia) {
		t.Errorf("read after a failed sync: %v", err)
	}
}

// A damaged log fails the reads that need what is damaged, and hydration with
// a warning.
func TestHydrationEnds(t *testing.T) {
	src := newLogged(rand.New(rand.NewPCG(1, 1)), 64*blockSize, 20)
	src.damaged = 9
	var log bytes.Buffer
	d := openDisk(t, src, func(c *Config) { c.Hydrate, c.Logger = true, slog.New(slog.NewTextHandler(&log, nil)) })
	d.wg.Wait()
	got, err := readAll(d, 0, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	if diff := differ(got, src.content); diff != "" {
		t.Error(diff)
	}
	closeDisk(t, d)
	if !strings.Contains(log.String(), "hydration ended early") || !strings.Contains(log.String(), "position 9 is damaged") {
		t.Errorf("log: %s", log.String())
	}
	// Hydration waits at its first piece for the disk, and then ends it.
	begun, opened := make(chan struct{}), make(chan struct{})
	src.damaged, src.between = 0, func() { close(begun); <-opened; d.stop() }
	log.Reset()
	d = openDisk(t, src, func(c *Config) { c.Hydrate, c.Logger = true, slog.New(slog.NewTextHandler(&log, nil)) })
	close(opened)
	<-begun
	closeDisk(t, d)
	if log.Len() > 0 {
		t.Errorf("closed meanwhile, and the log says: %s", log.String())
	}
}

// TestFormat fixes the bytes of docs/format-overlay.md.
func TestFormat(t *testing.T) {
	h := header{kindOverlay, Moment{Vdisk: "disk", UUID: tlog.UUID{0: 1, 15: 2}, Sequence: 0x0304, Position: 0x0506,
		Digest: tlog.Hash{0: 7, 31: 8}, Size: 0x090a00, Time: time.Unix(0, 0x0b0c)}}
	b := h.encode()
	want := "544c4f47504153540100000000100000010000000000000001000000000000000000000000000002" +
		"04030000000000000605000000000000" + "0700000000000000000000000000000000000000000000000000000000000008" +
		"000a0900000000000c0b000000000000040000006469736b"
	if got := hex.EncodeToString(b[:112]); got != want {
		t.Errorf("header\n%s, want\n%s", got, want)
	}
	back, err := decodeHeader(b)
	if err != nil || !back.moment.same(h.moment) || !back.moment.Time.Equal(h.moment.Time) || back.kind != h.kind {
		t.Errorf("read back as %+v, %v", back, err)
	}
	for i := range b { // every byte is covered
		b[i] ^= 0x40
		if _, err := decodeHeader(b); err == nil {
			t.Errorf("byte %d changed, and accepted", i)
		}
		b[i] ^= 0x40
	}
	m := newBlockMap()
	m.set(2032, 2034, stateData)
	m.set(2035, 2036, stateZero)
	sectors := m.take()
	if len(sectors) != 1 || sectors[0].number != 1 || sectors[0].bytes[0] != 0b10000101 {
		t.Fatalf("map %+v", sectors)
	}
	if got := hex.EncodeToString(sectors[0].bytes[508:]); got != "13e3f54e" {
		t.Errorf("checksum %s", got)
	}
	for _, size := range []struct{ disk, data, length int64 }{{512, 1 << 20, 1<<20 + 4096}, {1 << 40, 65 << 20, 65<<20 + 1<<40}} {
		if dataStart(size.disk) != size.data || fileLength(size.disk) != size.length {
			t.Errorf("a disk of %d: data at %d of %d", size.disk, dataStart(size.disk), fileLength(size.disk))
		}
	}
}
