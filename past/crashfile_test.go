package past

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
)

// crashFile is a file in memory on a disk that can lose power: of what was not
// synced the disk has any sectors, in any of the versions that they had. A fuse
// makes one operation fail, done or not done, or ends everything.
type crashFile struct {
	rng        *rand.Rand
	data, disk []byte // what a process sees, and what the disk has
	dirty      map[int64]bool

	fuse int // operations until it blows; 0: never
	err  error
	dead bool
	full bool // no write is taken
	lost bool // the kernel has dropped what it could not write; the next sync says so

	synced func() // called when a sync is done, and has not returned
}

var (
	errPower = errors.New("power lost")
	errMedia = errors.New("input/output error")
)

func newCrashFile(rng *rand.Rand, head header) *crashFile {
	f := &crashFile{rng: rng, data: make([]byte, fileLength(head.moment.Size)), dirty: map[int64]bool{}}
	copy(f.data, head.encode())
	f.disk = append([]byte(nil), f.data...)
	return f
}

// after blows the fuse at the n-th operation from now on. errPower is the end.
func (f *crashFile) after(n int, err error) { f.fuse, f.err = n, err }

func (f *crashFile) step(do func()) error {
	f.writeBack(8) // the kernel does it when it likes
	if f.dead {
		return errPower
	}
	if f.fuse > 0 {
		if f.fuse--; f.fuse == 0 {
			if f.rng.IntN(2) == 0 {
				do()
			}
			f.dead = f.err == errPower
			return f.err
		}
	}
	do()
	return nil
}

// writeBack writes one in n of the dirty sectors.
func (f *crashFile) writeBack(n int) {
	for _, s := range slices.Sorted(maps.Keys(f.dirty)) {
		if f.rng.IntN(n) == 0 {
			copy(f.disk[s*sectorSize:(s+1)*sectorSize], f.data[s*sectorSize:])
			delete(f.dirty, s)
		}
	}
}

// restart is what another process finds after this one was killed.
func (f *crashFile) restart() *crashFile {
	f.dead = true
	return &crashFile{rng: f.rng, data: f.data, disk: f.disk, dirty: f.dirty}
}

// powerLoss is what is there after the machine lost power.
func (f *crashFile) powerLoss() *crashFile {
	f.writeBack(2)
	f.dead = true
	return &crashFile{rng: f.rng, data: append([]byte(nil), f.disk...), disk: f.disk, dirty: map[int64]bool{}}
}

func (f *crashFile) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	if n := copy(b, f.data[off:]); n < len(b) {
		return n, io.EOF
	}
	return len(b), nil
}

func (f *crashFile) put(off, n int64, write func(to []byte)) {
	write(f.data[off : off+n])
	for s := off / sectorSize; s*sectorSize < off+n; s++ {
		f.dirty[s] = true
	}
}

func (f *crashFile) WriteAt(b []byte, off int64) (int, error) {
	if f.full {
		return 0, syscall.ENOSPC
	}
	return len(b), f.step(func() { f.put(off, int64(len(b)), func(to []byte) { copy(to, b) }) })
}

// punch zeroes, or does nothing, as the file system likes.
func (f *crashFile) punch(off, n int64) error {
	return f.step(func() {
		if f.rng.IntN(2) == 0 {
			f.put(off, n, func(to []byte) { clear(to) })
		}
	})
}

// sync that fails leaves the kernel with pages that it drops, and then reads
// from the disk again.
func (f *crashFile) sync() error {
	done := false
	err := f.step(func() {
		done = true
		f.writeBack(1)
	})
	if f.synced != nil {
		f.synced()
	}
	if err != nil && !done && !f.dead {
		f.writeBack(2)
		f.drop(1)
	}
	if f.lost && err == nil {
		f.lost, err = false, errMedia
	}
	return err
}

// drop loses one in n of the dirty sectors, which are read from the disk again.
func (f *crashFile) drop(n int) {
	for _, s := range slices.Sorted(maps.Keys(f.dirty)) {
		if f.rng.IntN(n) == 0 {
			copy(f.data[s*sectorSize:(s+1)*sectorSize], f.disk[s*sectorSize:])
			delete(f.dirty, s)
			f.lost = true
		}
	}
}

func (f *crashFile) stretch(off, end int64) (from, to int64, err error) { return off, end, nil }

func (f *crashFile) Close() error { return nil }
