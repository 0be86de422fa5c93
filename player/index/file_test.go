package index_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tlog"
	"tlog/player/index"
)

var vdisk = tlog.UUID{1, 2, 3}

func key(t testing.TB) cipher.AEAD {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

func open(t testing.TB, dir string) *index.File {
	t.Helper()
	x, err := index.Open(context.Background(), dir, key(t), vdisk)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// log is what was added: the model.
type log struct {
	positions []index.Position
	records   []index.Record
}

// add adds a position with n records to a file and the model.
func (l *log) add(x *index.File, rng *rand.Rand, n int) error {
	p := index.Position{Position: tlog.Position(len(l.positions) + 1), First: tlog.Sequence(len(l.records) + 1), Count: uint32(n), Stored: rng.Uint32()}
	binary.LittleEndian.PutUint64(p.Digest[:], rng.Uint64())
	if rng.IntN(3) > 0 {
		p.Layout = index.Layout{Salt: [32]byte{byte(rng.Uint32())}, Head: uint16(rng.Uint32()), K: 4, Hash: tlog.HashAlgorithm(1 + rng.IntN(2))}
	}
	at := 100 + rng.Uint32N(100)
	var records []index.Record
	for range n {
		r := index.Record{Offset: rng.Uint64N(1<<40) &^ 511, Size: uint32(1+rng.IntN(1<<13)) << 9, Operation: tlog.Operation(1 + rng.IntN(4)), Time: 5}
		if k := len(l.records); k > 0 {
			r.Time = l.records[k-1].Time + rng.Uint64N(1<<20)
		}
		switch rng.IntN(8) {
		case 0:
			r.Offset, r.Size = rng.Uint64N(1<<62), rng.Uint32()
		case 1:
			r.Group = rng.Uint64()
		}
		if r.Operation == tlog.OpFlush {
			r.Offset, r.Size = 0, 0
		}
		if p.K > 0 && r.Operation == tlog.OpWrite {
			r.At, r.Sum = at, index.Sum{byte(rng.Uint32()), 15: byte(rng.Uint32())}
			at += r.Size + rng.Uint32N(2)*40
		}
		records, l.records = append(records, r), append(l.records, r)
	}
	l.positions = append(l.positions, p)
	return x.Add(p, records)
}

// read is all that a file has.
func read(x *index.File) (l log, err error) {
	for i := range x.Pages() {
		var p index.Page
		if err := x.Page(i, &p); err != nil {
			return l, err
		}
		l.positions = append(l.positions, p.Positions...)
		l.records = append(l.records, p.Records...)
	}
	return l, nil
}

// TestFileKeepsAll adds any positions, in any number of openings, with commits
// anywhere, and reads them back.
func TestFileKeepsAll(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp("", "index")
		if err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // scratch
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		var want log
		for range rapid.IntRange(1, 4).Draw(r, "openings") {
			x := open(t, dir)
			for range rapid.IntRange(0, 30).Draw(r, "positions") {
				if err := want.add(x, rng, rapid.SampledFrom([]int{0, 1, 7, 3000}).Draw(r, "records")); err != nil {
					r.Fatal(err)
				}
				if rng.IntN(5) == 0 {
					if err := x.Commit(); err != nil {
						r.Fatal(err)
					}
				}
			}
			if err := errors.Join(x.Commit(), x.Close()); err != nil {
				r.Fatal(err)
			}
		}
		x := open(t, dir)
		defer x.Close() //nolint:errcheck // only read
		got, err := read(x)
		if err != nil || !slices.Equal(got.positions, want.positions) || !slices.Equal(got.records, want.records) {
			r.Fatalf("read %d positions and %d records, %v, want %d and %d", len(got.positions), len(got.records), err, len(want.positions), len(want.records))
		}
	})
}

// TestSearch finds pages of a file of several by record, position and time.
func TestSearch(t *testing.T) {
	x := open(t, t.TempDir())
	defer x.Close() //nolint:errcheck // only read
	rng := rand.New(rand.NewPCG(1, 2))
	var want log
	for range 70 {
		if err := want.add(x, rng, 4000); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Commit(); err != nil {
		t.Fatal(err)
	}
	if x.Pages() < 4 {
		t.Fatalf("%d pages, want several", x.Pages())
	}
	var page index.Page
	for i := range x.Pages() {
		if err := x.Page(i, &page); err != nil {
			t.Fatal(err)
		}
		first, last := page.Records[0].Time, page.Records[len(page.Records)-1].Time
		for _, s := range []tlog.Sequence{page.First, page.Last()} {
			if got := x.PageOf(s); got != i {
				t.Errorf("record %d is said to be in page %d, want %d", s, got, i)
			}
		}
		if got := x.PageAt(page.Positions[len(page.Positions)-1].Position); got != i {
			t.Errorf("the last position of page %d is said to be in %d", i, got)
		}
		if before, after := x.PageAfter(last-1), x.PageAfter(last); before != i || after != i+1 {
			t.Errorf("page %d ends at its time: just before it %d, at it %d ends after", i, before, after)
		}
		if i > 0 && first <= 5 {
			t.Errorf("page %d begins at time %d", i, first)
		}
	}
	perRecord := float64(x.Size()) / float64(len(want.records))
	t.Logf("%.1f bytes a record", perRecord)
	if perRecord > 32 {
		t.Errorf("%.1f bytes a record", perRecord)
	}
}

// TestAnotherKeyAndVdisk open nothing of a file.
func TestAnotherKeyAndVdisk(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	var l log
	if err := errors.Join(l.add(x, rand.New(rand.NewPCG(1, 1)), 10), x.Commit(), x.Close()); err != nil {
		t.Fatal(err)
	}
	other := tlog.UUID{9}
	if err := os.Link(filepath.Join(dir, index.Name(vdisk)), filepath.Join(dir, index.Name(other))); err != nil {
		t.Fatal(err)
	}
	x, err := index.Open(t.Context(), dir, key(t), other)
	if err != nil {
		t.Fatal(err)
	}
	if pos, _, _, _ := x.End(); pos != 0 || x.Pages() != 0 {
		t.Errorf("another vdisk's index opens with %d positions", pos)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOneUser has a second opening wait for the first, and give up with its
// context.
func TestOneUser(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := index.Open(ctx, dir, key(t), vdisk); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second opening: %v, want the context's end", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReadersKeepNobodyWaiting adds to an index that another one reads, for as
// long as it likes: neither sees the other.
func TestReadersKeepNobodyWaiting(t *testing.T) {
	dir := t.TempDir()
	reader := open(t, dir)
	var want log
	rng := rand.New(rand.NewPCG(5, 5))
	add := func(x *index.File) {
		t.Helper()
		if err := errors.Join(want.add(x, rng, 100), x.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	same := func(x *index.File, n int) {
		t.Helper()
		got, err := read(x)
		if err != nil || !slices.Equal(got.positions, want.positions[:n]) || !slices.Equal(got.records, want.records[:100*n]) {
			t.Errorf("read %d positions, %v, want %d", len(got.positions), err, n)
		}
	}
	add(reader)
	if err := reader.Share(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		x := open(t, dir)
		same(x, 1)
		add(x)
		if err := x.Share(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(x, 2)
		same(reader, 1)
		want.positions, want.records = want.positions[:1], want.records[:100]
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	x := open(t, dir)
	defer x.Close() //nolint:errcheck // only read
	same(x, 1)
	add(x)
	same(x, 2)
}

// TestSplicedFrame puts the last frame of one file behind the first of another
// that has the same positions and records, but other digests.
func TestSplicedFrame(t *testing.T) {
	var begin, end [2][]byte
	for i := range begin {
		dir := t.TempDir()
		var l log
		x := open(t, dir)
		for range 5000 {
			if err := l.add(x, rand.New(rand.NewPCG(uint64(i), 1)), 4); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Commit(); err != nil {
			t.Fatal(err)
		}
		first := x.Size()
		if err := errors.Join(l.add(x, rand.New(rand.NewPCG(3, 1)), 4), x.Commit(), x.Close()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, index.Name(vdisk)))
		if err != nil {
			t.Fatal(err)
		}
		begin[i], end[i] = b[:first], b[first:]
	}
	for i := range 4 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, index.Name(vdisk)), slices.Concat(begin[i/2], end[i%2]), 0o600); err != nil {
			t.Fatal(err)
		}
		want := tlog.Position(5000)
		if i/2 == i%2 {
			want++
		}
		x := open(t, dir)
		if pos, _, _, _ := x.End(); pos != want {
			t.Errorf("file %d with the end of %d ends at position %d, want %d", i/2, i%2, pos, want)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMoved has another process change the file before its lock is shared.
func TestMoved(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for name, change := range map[string]func(b []byte) []byte{
		"nothing":      func(b []byte) []byte { return b },
		"longer":       func(b []byte) []byte { return append(b, 0) },
		"shorter":      func(b []byte) []byte { return b[:len(b)-1] },
		"another tail": func(b []byte) []byte { b[135]++; return b },
	} {
		dir := t.TempDir()
		x := open(t, dir)
		var l log
		if err := errors.Join(l.add(x, rng, 10), x.Commit()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, index.Name(vdisk))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := x.Share(t.Context()); errors.Is(err, index.ErrMoved) != (name != "nothing") {
			t.Errorf("%s: %v", name, err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
