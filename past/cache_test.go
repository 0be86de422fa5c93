package past

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

func newCache(f file, path string, src *logged) (*cache, error) {
	im, err := loadImage(f, path)
	if err != nil {
		return nil, err
	}
	im.path = path
	return &cache{im: im, src: src, log: slog.New(slog.DiscardHandler), progress: func(Progress) {}}, nil
}

// A cache gives what the log has, however far it is and whatever fails; it
// fetches nothing twice; it goes on where it was; and when it is whole it needs
// the log for zeroes at most.
func TestCacheAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 3))
		size := sectorSize * rapid.Int64Range(1, 3*64).Draw(t, "sectors")
		src := newLogged(rng, size, 40)
		file := newCrashFile(rng, header{kindCache, testMoment(size)})
		path := rapid.SampledFrom([]string{"", "kept"}).Draw(t, "path")
		for last := false; !last; {
			last = rapid.IntRange(0, 2).Draw(t, "last") == 0
			c, err := newCache(file, path, src)
			if err != nil {
				t.Fatal(err)
			}
			src.damaged = 0
			var want error
			if !last {
				want = spoil(t, src, file)
			}
			fillAndRead(t, c, last, want)
			if last {
				break
			}
			src.between = func() {}
			if rapid.Bool().Draw(t, "power") {
				file = file.powerLoss()
			} else {
				file = file.restart()
			}
			if path == "" { // it is gone
				file = newCrashFile(rng, header{kindCache, testMoment(size)})
			}
		}
		if path == "" {
			return
		}
		file = file.powerLoss()
		c, err := newCache(file, path, src)
		if err != nil {
			t.Fatal(err)
		}
		clear(src.fetched)
		src.between = func() {}
		if err := c.fill(bg); err != nil || len(src.fetched) > 0 {
			t.Fatalf("a whole cache fetched %d pieces, %v", len(src.fetched), err)
		}
	})
}

// spoil lets something fail while a cache fills, and returns what.
func spoil(t *rapid.T, src *logged, f *crashFile) error {
	switch rapid.SampledFrom([]string{"damage", "full", "media", "power"}).Draw(t, "fails") {
	case "damage":
		src.damaged = 1 + rapid.IntRange(0, len(src.pieces)-1).Draw(t, "piece")
		return nil
	case "full":
		f.after(rapid.IntRange(1, 9).Draw(t, "after"), syscall.ENOSPC)
		return syscall.ENOSPC
	case "media":
		f.after(rapid.IntRange(1, 9).Draw(t, "after"), errMedia)
		return errMedia
	}
	f.after(rapid.IntRange(1, 9).Draw(t, "after"), errPower)
	return errPower
}

func fillAndRead(t *rapid.T, c *cache, last bool, want error) {
	src := c.src.(*logged)
	clear(src.fetched)
	check := func() {
		got, err := readAll(c, 0, src.Size())
		if err != nil {
			t.Fatal(err)
		}
		if d := differ(got, src.content); d != "" {
			t.Fatal(d)
		}
	}
	src.between = func() {
		if c.im.file.(*crashFile).rng.IntN(8) == 0 {
			if err := c.write(); err == nil { // as if the arena were full
				_ = c.commit()
			}
			check()
		}
	}
	for _, p := range src.pieces {
		if src.fetched[p.off] = -1; c.wants(p.off, int64(p.n)) {
			src.fetched[p.off] = 0
		}
	}
	err := c.fill(bg)
	if last && err != nil || want != nil && err != nil && !errors.Is(err, want) {
		t.Fatalf("filling: %v, want %v", err, want)
	}
	for off, n := range src.fetched {
		if n > 1 || n >= 0 && n != 1 && err == nil {
			t.Fatalf("the piece at %d was fetched %d times", off, n)
		}
		if n == 0 && last {
			t.Fatalf("the piece at %d was not fetched", off)
		}
	}
	before := src.reads.Load()
	check()
	if n := src.reads.Load() - before; err == nil && n > 0 {
		t.Fatalf("%d bytes of data were read from the log when all is here", n)
	}
}

// What a file system took and then lost is not read from the cache, whether a
// sync has said so yet or not.
func TestCacheLost(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		src := newLogged(rng, 40*blockSize, 40)
		file := newCrashFile(rng, header{kindCache, testMoment(src.Size())})
		c, err := newCache(file, "", src)
		if err != nil {
			t.Fatal(err)
		}
		check := func() {
			got, err := readAll(c, 0, src.Size())
			if err != nil {
				t.Fatal(err)
			}
			if d := differ(got, src.content); d != "" {
				t.Fatalf("seed %d: %s", seed, d)
			}
		}
		src.between = func() {
			switch rng.IntN(8) {
			case 0:
				_ = c.commit()
			case 1:
				_ = c.write()
			case 2:
				file.drop(2)
			}
			check()
		}
		lost := c.fill(bg)
		if check(); lost != nil && !errors.Is(lost, errMedia) {
			t.Fatal(lost)
		}
	}
}

// A full disk ends hydration, and reads go on, and what was there is used.
func TestCacheDiskFull(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	src := newLogged(rng, 64*blockSize, 60)
	file := newCrashFile(rng, header{kindCache, testMoment(src.Size())})
	c, err := newCache(file, "", src)
	if err != nil {
		t.Fatal(err)
	}
	pieces := 0
	src.between = func() {
		if pieces++; pieces == 20 {
			if err := c.commit(); err != nil {
				t.Fatal(err)
			}
			file.full = true
		}
	}
	if err := c.fill(bg); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling a full disk: %v", err)
	}
	got, err := readAll(c, 0, src.Size())
	if err != nil {
		t.Fatal(err)
	}
	if d := differ(got, src.content); d != "" {
		t.Error(d)
	}
	data := int64(0)
	for _, is := range src.written {
		if is {
			data++
		}
	}
	if n := src.reads.Load(); n == 0 || n >= data {
		t.Errorf("%d of %d bytes were read from the log: the cache was not used, or all was in it", n, data)
	}
}
