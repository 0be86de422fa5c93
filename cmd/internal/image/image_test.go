package image

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content is an image of about size bytes: runs of data and of zeroes, of odd
// lengths, from odd places.
func content(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for at := 0; at < size; {
		n := min(size-at, 1+rng.IntN(3*window/2))
		if rng.IntN(3) == 0 {
			n = min(size-at, 1+rng.IntN(3*unit))
		}
		if rng.IntN(2) == 0 {
			for i := range n {
				b[at+i] = byte(rng.Uint32())
			}
		}
		at += n
	}
	return b
}

// write makes a file of b; sparse: with holes where b is zero.
func write(t testing.TB, b []byte, sparse bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(b); at += unit {
		block := b[at:min(at+unit, len(b))]
		if sparse && bytes.Equal(block, zeroes[:len(block)]) {
			continue
		}
		if _, err := f.WriteAt(block, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(int64(len(b))), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func pieces(t testing.TB, path string) []Piece {
	t.Helper()
	m, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var list []Piece
	for p, err := range m.Pieces(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Piece{p.Off, bytes.Clone(p.Data)})
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestPieces reads images with and without holes: the pieces are the same, in
// order, hold no block of zeroes, and make the image again.
func TestPieces(t *testing.T) {
	for seed, size := range []int{1, 511, unit, unit + 1, window, window + 1, 3*window - 5, 9*window + 77, 20 * window} {
		want := content(uint64(seed), size)
		list := pieces(t, write(t, want, false))
		got, end := make([]byte, size), int64(0)
		for _, p := range list {
			if p.Off < end || p.Off%unit != 0 || len(p.Data) == 0 || len(p.Data) > window {
				t.Fatalf("size %d: a piece of %d bytes at %d, behind %d", size, len(p.Data), p.Off, end)
			}
			for at := 0; at < len(p.Data); at += unit {
				if b := p.Data[at:min(at+unit, len(p.Data))]; bytes.Equal(b, zeroes[:len(b)]) {
					t.Fatalf("size %d: zeroes in the piece at %d", size, p.Off)
				}
			}
			end = p.Off + int64(copy(got[p.Off:], p.Data))
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("size %d: the pieces are not the image", size)
		}
		sparse := pieces(t, write(t, want, true))
		if len(sparse) != len(list) {
			t.Fatalf("size %d: %d pieces, and with holes %d", size, len(list), len(sparse))
		}
		for i, p := range sparse {
			if p.Off != list[i].Off || !bytes.Equal(p.Data, list[i].Data) {
				t.Fatalf("size %d: piece %d depends on holes", size, i)
			}
		}
	}
}

// TestHolesAreNotRead wants that an image of 64 GiB of nothing is read at once.
func TestHolesAreNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("data"), 40<<30)
	if err := errors.Join(err, f.Truncate(64<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	m, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	reads := &counting{origin: m.from}
	m.from = reads
	n := 0
	for p, err := range m.Pieces(t.Context()) {
		if n++; err != nil || p.Off != 40<<30 {
			t.Fatalf("piece at %d, %v", p.Off, err)
		}
	}
	if n != 1 || reads.n != 1 {
		t.Errorf("%d pieces, %d reads; want one of each", n, reads.n)
	}
}

type counting struct {
	origin
	n int
}

func (c *counting) read(off int64, b []byte) error {
	c.n++ // one window in this image
	return c.origin.read(off, b)
}

// TestChanged writes to an image, or cuts it, while it is read.
func TestChanged(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(path string) error
		says   string
	}{
		{"written", func(path string) error { return appendTo(path, "x") }, "was written to"},
		{"cut", func(path string) error { return os.Truncate(path, window) }, "became shorter"},
	} {
		path := write(t, content(3, 40*window), false)
		m, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		var failed error
		first := true
		for _, err := range m.Pieces(t.Context()) {
			failed = errors.Join(failed, err)
			if first {
				first = false
				if err := c.change(path); err != nil {
					t.Fatal(err)
				}
			}
		}
		if failed == nil || !strings.Contains(failed.Error(), c.says) {
			t.Errorf("%s while it is read: %v", c.name, failed)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// TestEnded ends the context, and stops asking, in the midst of an image.
func TestEnded(t *testing.T) {
	m, err := Open(t.Context(), write(t, content(4, 40*window), false))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var failed error
	for _, err := range m.Pieces(ctx) {
		cancel()
		failed = errors.Join(failed, err)
	}
	if !errors.Is(failed, context.Canceled) {
		t.Errorf("a context that ended: %v", failed)
	}
	for range m.Pieces(t.Context()) {
		break
	}
}

// TestFormats refuses images that are not raw, and says what to do.
func TestFormats(t *testing.T) {
	for _, k := range formats {
		_, err := Open(t.Context(), write(t, append([]byte(k.magic), make([]byte, 5000)...), false))
		if err == nil || !strings.Contains(err.Error(), "is a "+k.name+" image") || !strings.Contains(err.Error(), "qemu-nbd") {
			t.Errorf("a %s image: %v", k.name, err)
		}
	}
	pieces(t, write(t, []byte("QFI"), false)) // which is short, and raw
}

func TestOpenRefuses(t *testing.T) {
	for _, name := range []string{t.TempDir(), os.DevNull, filepath.Join(t.TempDir(), "none")} {
		if m, err := Open(t.Context(), name); err == nil {
			t.Errorf("%s is taken for an image of %d bytes", name, m.Size)
		}
	}
}

// TestRuns cuts data at odd offsets: blocks of zeroes are those of the disk.
func TestRuns(t *testing.T) {
	disk := bytes.Repeat([]byte("data"), 40*unit/4)
	for _, n := range []int{3, 5, 6, 11, 39} {
		clear(disk[n*unit : (n+1)*unit])
	}
	for off := 0; off < len(disk); off += 777 {
		for _, n := range []int{1, 100, unit, 2*unit + 1, 7 * unit} {
			part := disk[off:min(len(disk), off+n)]
			got := bytes.Repeat([]byte{0}, len(part))
			end := off
			for p := range Runs(int64(off), part) {
				at := int(p.Off)
				for b := (at + unit - 1) / unit * unit; b+unit <= at+len(p.Data); b += unit {
					if bytes.Equal(disk[b:b+unit], zeroes[:]) {
						t.Fatalf("%d bytes at %d: the block at %d is zero, and in a run", len(part), off, b)
					}
				}
				if at < end || len(p.Data) == 0 {
					t.Fatalf("%d bytes at %d: a run of %d at %d", len(part), off, len(p.Data), at)
				}
				end = at + copy(got[at-off:], p.Data)
			}
			if !bytes.Equal(got, part) {
				t.Fatalf("%d bytes at %d: the runs are not the data", len(part), off)
			}
		}
	}
}
