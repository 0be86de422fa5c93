package file

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"tlog"
	"tlog/stor"
)

// TestTornContents loses sectors of a contents file, and of its segment's end:
// whatever is left of either, nothing that was durable is absent.
func TestTornContents(t *testing.T) {
	const n = 60
	whole := filled(t, n, sizes)
	want := replayed(t, whole, Options{ReadOnly: true, EveryFrame: true})
	rapid.Check(t, func(t *rapid.T) {
		dir := whole.restart()
		number := rapid.Uint64Range(1, 3).Draw(t, "segment")
		toc := lose(t, dir, contentsName(number), 0)
		seg := 0
		if rapid.Bool().Draw(t, "segment too") {
			seg = lose(t, dir, segmentName(number), len(dir.names[segmentName(number)].data)-20<<10)
		}
		s, err := open("torn", dir, Options{ReadOnly: rapid.Bool().Draw(t, "read only")})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		good := checkNoneAbsent(t, s, n, sizes)
		if seg == 0 && (good != n || s.damage != nil || !reflect.DeepEqual(s.index, want)) {
			t.Fatalf("%d sectors of the contents are lost: %d positions are whole, %v", toc, good, s.damage)
		}
	})
}

// lose zeroes some sectors of a file from off on, or cuts them off.
func lose(t *rapid.T, dir *crashFS, name string, off int) (lost int) {
	i := *dir.names[name]
	i.data = bytes.Clone(i.data)
	dir.names[name] = &i
	for at := max(off, 0); at < len(i.data); at += sector {
		if rapid.Bool().Draw(t, "lost") {
			clear(i.data[at:min(at+sector, len(i.data))])
			lost++
		}
	}
	if rapid.Bool().Draw(t, "cut") {
		i.data = i.data[:rapid.IntRange(max(off, 0), len(i.data)).Draw(t, "left")]
		lost++
	}
	return lost
}

// TestSealCrash loses power at each step of a writer that seals segments:
// everything answered is there, whatever became of the contents files, and
// those that are there say what the frames say.
func TestSealCrash(t *testing.T) {
	whole := filled(t, 20, sizes)
	before := len(listed(whole))
	found := map[string]int{}
	for n := 1; n <= 60; n++ {
		for round := range 4 {
			dir := whole.restart()
			s := mustOpen(t, dir)
			dir.dieAfter(n)
			last := tlog.Position(20)
			for err := error(nil); err == nil && last < 60; {
				if err = appendOne(s, testRequest(last+1, sizes(last+1))); err == nil {
					last++
				}
				for round%2 == 0 && !caughtUp(dir) {
					runtime.Gosched()
				}
			}
			s.Close()
			dir = dir.powerLoss()
			numbers, _ := segmentNumbers(dir)
			switch left := dir.names[newContents]; {
			case left != nil:
				found["half made"]++
			case len(listed(dir)) == len(numbers)-1 && len(numbers)-1 > before:
				found["all"]++
			case len(listed(dir)) < len(numbers)-1:
				found["missing"]++
			}
			replayed(t, dir, Options{ReadOnly: true, EveryFrame: true})
			s = mustOpen(t, dir)
			if got := checkNoneAbsent(t, s, last, sizes); got != int(last) || s.damage != nil {
				t.Fatalf("power lost at step %d: %d of %d positions are whole, %v", n, got, last, s.damage)
			}
			s.Close()
			replayed(t, dir, Options{ReadOnly: true, EveryFrame: true})
			numbers, _ = segmentNumbers(dir)
			if got := listed(dir); len(got) != len(numbers)-1 || dir.names[newContents] != nil {
				t.Fatalf("power lost at step %d: then contents of %v, segments %v", n, got, numbers)
			}
		}
	}
	if found["half made"] == 0 || found["all"] == 0 || found["missing"] == 0 {
		t.Fatalf("found after power loss: %v: not everything was met", found)
	}
}

// caughtUp reports whether whoever makes contents files has no more to do: all are
// there, or the power is gone.
func caughtUp(dir *crashFS) bool {
	dir.mu.Lock()
	dead := dir.dead
	dir.mu.Unlock()
	numbers, _ := segmentNumbers(dir)
	return dead || len(listed(dir)) >= len(numbers)-1
}

// slowFS is a directory in which contents files cannot be made, or take long.
type slowFS struct {
	*crashFS
	err  error
	hung chan struct{}
}

func (d *slowFS) create(name string) (file, error) {
	if name == newContents {
		<-d.hung
		if d.err != nil {
			return nil, d.err
		}
	}
	return d.crashFS.create(name)
}

// TestContentsFail has no contents file be made: the server goes on, and so
// does the next one, which makes them.
func TestContentsFail(t *testing.T) {
	for _, failure := range []error{errMedia, errNoSpace} {
		d := &slowFS{crashFS: newCrashFS(1), err: failure, hung: make(chan struct{})}
		close(d.hung)
		s, err := open("full", d, Options{SegmentBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		initialise(t, s)
		for p := tlog.Position(1); p <= 60; p++ {
			if err := appendOne(s, testRequest(p, sizes(p))); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil || listed(d.crashFS) != nil {
			t.Fatalf("closed with %v, contents of %v", err, listed(d.crashFS))
		}
		replayed(t, d.crashFS, Options{})
		if numbers, _ := segmentNumbers(d); len(listed(d.crashFS)) != len(numbers)-1 {
			t.Fatalf("contents of %v, segments %v", listed(d.crashFS), numbers)
		}
	}
}

// TestContentsHang has the writing of contents files hang: nobody waits for it
// but Close.
func TestContentsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const last = 600
		d := &slowFS{crashFS: newCrashFS(1), hung: make(chan struct{})}
		s, err := open("hung", d, Options{SegmentBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		initialise(t, s)
		for p := tlog.Position(1); p <= last; p++ {
			if err := appendOne(s, testRequest(p, sizes(p))); err != nil {
				t.Fatal(err)
			}
		}
		if s.log.segment < sealedKept+5 {
			t.Fatalf("segment %d is the last: too few", s.log.segment)
		}
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if len(closed) > 0 {
			t.Fatal("closed while a contents file was being written")
		}
		if _, err := open("second", d, Options{}); !errors.Is(err, ErrLocked) {
			t.Fatalf("opened meanwhile: %v", err)
		}
		close(d.hung)
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if got := len(listed(d.crashFS)); got < sealedKept || got > sealedKept+1 {
			t.Errorf("%d contents files, want those that waited", got)
		}
		checkNoneAbsent(t, mustOpen(t, d.crashFS), last, sizes)
	})
}

// TestReadersComeAndGo opens readers while segments are sealed beside them.
func TestReadersComeAndGo(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir, Options{SegmentBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	initialise(t, w)
	const n = 400
	errs := make(chan error, n)
	go func() {
		for p := tlog.Position(1); p <= n; p++ {
			w.Append(bg, testRequest(p, sizes(p)), func(_ stor.Meta, err error) { errs <- err })
			if p%8 == 0 {
				w.do(bg, func(*bench) verdict { return verdict{} }) // let the queue run empty
			}
		}
	}()
	for head := tlog.Position(0); head < n; {
		r, err := Open(dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Control(bg, testVdisk)
		if err != nil || c.Head < head {
			t.Fatalf("head %d after %d, %v", c.Head, head, err)
		}
		head = c.Head
		if got := checkNoneAbsent(t, r, head, sizes); got != int(head) {
			t.Fatalf("%d of %d positions are whole", got, head)
		}
		r.Close()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}
