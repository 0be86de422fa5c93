package past

import (
	"math/rand/v2"
	"testing"
)

// FuzzImage opens what may be anything as an image: it is refused, or all of it
// can be read.
func FuzzImage(f *testing.F) {
	head := header{kindOverlay, testMoment(5 * blockSize)}
	file := newCrashFile(rand.New(rand.NewPCG(1, 1)), head)
	im, err := loadImage(file, "overlay")
	if err != nil {
		f.Fatal(err)
	}
	o := newOverlay(im, newLogged(file.rng, head.moment.Size, 3))
	if err := o.WriteAt(bg, make([]byte, 5000), 3000); err != nil {
		f.Fatal(err)
	}
	if err := o.Flush(); err != nil {
		f.Fatal(err)
	}
	f.Add(file.data[:sectorSize], file.data[mapStart:mapStart+sectorSize], len(file.data))
	f.Fuzz(func(t *testing.T, head, states []byte, length int) {
		if length < 0 || length > 4<<20 {
			return
		}
		data := make([]byte, length)
		copy(data, head)
		if length > mapStart {
			copy(data[mapStart:], states)
		}
		im, err := loadImage(&crashFile{data: data}, "fuzzed")
		if err != nil {
			return
		}
		size := im.head.moment.Size
		if fileLength(size) > int64(length) {
			t.Fatalf("a file of %d bytes is taken for a disk of %d", length, size)
		}
		if _, err := readAll(newOverlay(im, newLogged(file.rng, size, 0)), 0, size); err != nil {
			t.Fatal(err)
		}
	})
}
