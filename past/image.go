package past

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"tlog"
)

// image is a sparse file that holds some blocks of a disk, and says which:
//
//	0          header, 512 bytes
//	4096       map, a sector for each 2032 blocks
//	dataStart  the disk: byte i of it at dataStart + i
//
// In memory the map is up to date, on disk it is as of the last flush. A block
// becomes part of the stored map only when its content is durable, and what the
// map says of it is changed in the same way: so a crash leaves each block as it
// was at the last flush or later. That a sector is written whole or not at all
// is all that is asked of the disk.
type image struct {
	file  file
	path  string // "": the file has no name
	head  header
	start int64 // of the data

	asked   atomic.Int64 // flushes
	flushes sync.Mutex   // held by the one under way
	done    int64        // of those asked for; guarded by flushes

	mu     sync.RWMutex
	states blockMap
	broken error // nothing that is in the file can be trusted any more
}

const (
	mapStart  = 4096
	dataAlign = 1 << 20 // so that the data can be mapped as a device of its own
)

func dataStart(size int64) int64 {
	return (mapStart + mapSectors(size)*sectorSize + dataAlign - 1) / dataAlign * dataAlign
}

func fileLength(size int64) int64 { return dataStart(size) + blocksOf(size)*blockSize }

// openImage opens the image of a moment, or makes it.
func openImage(path string, want header) (*image, error) {
	if err := want.moment.check(); err != nil {
		return nil, err
	}
	f, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = createFile(path, want.encode(), fileLength(want.moment.Size))
	}
	if err != nil {
		return nil, err
	}
	im, err := loadImage(osFile{f}, path)
	if err == nil {
		err = im.fits(want)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return im, nil
}

// unnamedImage makes an image in a directory that nobody else can see.
func unnamedImage(dir string, head header) (*image, error) {
	if err := head.moment.check(); err != nil {
		return nil, err
	}
	f, err := createUnnamed(dir, fileLength(head.moment.Size))
	if err != nil {
		return nil, err
	}
	return newImage(osFile{f}, "", head), nil
}

func newImage(f file, path string, head header) *image {
	return &image{file: f, path: path, head: head, start: dataStart(head.moment.Size), states: newBlockMap()}
}

// loadImage reads header and map.
func loadImage(f file, path string) (*image, error) {
	b := make([]byte, sectorSize)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	h, err := decodeHeader(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	im := newImage(f, path, *h)
	_, err = f.ReadAt(b[:1], fileLength(h.moment.Size)-1)
	if err != nil {
		err = im.cut(err)
	} else {
		err = im.loadMap()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	return im, nil
}

func (im *image) loadMap() error {
	end := mapStart + mapSectors(im.head.moment.Size)*sectorSize
	buf := make([]byte, 1<<20)
	for at := int64(mapStart); ; {
		from, to, err := im.file.stretch(at, end)
		if err != nil {
			return err
		}
		if from >= end {
			return nil
		}
		from = from / sectorSize * sectorSize
		to = min(from+int64(len(buf)), (to+sectorSize-1)/sectorSize*sectorSize, end)
		if err := im.loadSectors(buf[:to-from], from); err != nil {
			return err
		}
		at = to
	}
}

func (im *image) loadSectors(buf []byte, off int64) error {
	if _, err := im.file.ReadAt(buf, off); err != nil {
		return im.cut(err)
	}
	for i := 0; i < len(buf); i += sectorSize {
		if err := im.states.load((off-mapStart)/sectorSize+int64(i/sectorSize), buf[i:i+sectorSize]); err != nil {
			return err
		}
	}
	return nil
}

// fits says whether an image is the one wanted.
func (im *image) fits(want header) error {
	switch have := im.head; {
	case have.kind != want.kind:
		return fmt.Errorf("%w: %s is the %v of %v, not an %v", ErrFile, im.path, have.kind, have.moment, want.kind)
	case have.moment.same(want.moment):
		return nil
	case have.moment.Vdisk == want.moment.Vdisk && have.moment.UUID == want.moment.UUID:
		return fmt.Errorf("%w: %s is the %v of %v, and this is %v: say --at seq:%d --snap-to any to go on with it",
			ErrFile, im.path, have.kind, have.moment, want.moment, have.moment.Sequence)
	default:
		return fmt.Errorf("%w: %s is the %v of %v (%v), and this is %v (%v)",
			ErrFile, im.path, have.kind, have.moment, have.moment.UUID, want.moment, want.moment.UUID)
	}
}

func (im *image) name() string {
	if im.path == "" {
		return "the temporary file of the " + im.head.kind.String()
	}
	return im.path
}

// run is the state of block `at`, and where before end another begins.
func (im *image) run(at, end int64) (state, int64) {
	im.mu.RLock()
	defer im.mu.RUnlock()
	return im.states.run(at, end)
}

// mark gives blocks a state. Of stateData all must have been written before.
func (im *image) mark(from, to int64, s state) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.states.set(from, to, s)
}

// usable is why the image cannot be used any more, or nil.
func (im *image) usable() error {
	im.mu.RLock()
	defer im.mu.RUnlock()
	return im.broken
}

// breakBy ends all use of the image, for good.
func (im *image) breakBy(err error) error {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.broken == nil {
		im.broken = fmt.Errorf("past: %s: what was written to it may be lost: %w", im.name(), err)
	}
	return im.broken
}

func (im *image) read(p []byte, off int64) error {
	_, err := im.file.ReadAt(p, im.start+off)
	if err == nil {
		return nil
	}
	return im.cut(err)
}

func (im *image) cut(err error) error {
	if err == io.EOF {
		return tlog.Corruptf("past: %s ends within the disk: it was cut by someone else", im.name())
	}
	return fmt.Errorf("past: %w", err)
}

func (im *image) write(p []byte, off int64) error {
	if _, err := im.file.WriteAt(p, im.start+off); err != nil {
		return fmt.Errorf("past: %w", err)
	}
	return nil
}

// flush makes durable what was written and marked before it was called. Those
// who wait for one under way share the next. After a failed sync the kernel may
// drop what it could not write and report success the next time, so nothing is
// read from the image any more either.
func (im *image) flush() error {
	mine := im.asked.Add(1)
	im.flushes.Lock()
	defer im.flushes.Unlock()
	if im.done >= mine {
		return nil // by one that began after this was called
	}
	all := im.asked.Load()
	err := im.flushNow()
	if err == nil {
		im.done = all
	}
	return err
}

func (im *image) flushNow() error {
	if err := im.usable(); err != nil {
		return err
	}
	// The map as it is now, whose blocks the sync makes durable. What is marked
	// later belongs to the next flush.
	im.mu.Lock()
	sectors := im.states.take()
	im.mu.Unlock()
	if err := im.sync(); err != nil || len(sectors) == 0 {
		return err
	}
	if err := im.storeMap(sectors); err != nil {
		im.mu.Lock()
		im.states.putBack(sectors)
		im.mu.Unlock()
		return fmt.Errorf("past: map of %s: %w", im.name(), err)
	}
	return im.sync()
}

// storeMap writes sectors, which are in order, neighbours at once.
func (im *image) storeMap(sectors []mapSector) error {
	var buf []byte
	for i := range sectors {
		buf = append(buf, sectors[i].bytes[:]...)
		if i+1 < len(sectors) && sectors[i+1].number == sectors[i].number+1 && len(buf) < 1<<20 {
			continue
		}
		first := sectors[i].number + 1 - int64(len(buf)/sectorSize)
		if _, err := im.file.WriteAt(buf, mapStart+first*sectorSize); err != nil {
			return err
		}
		buf = buf[:0]
	}
	return nil
}

// sync makes durable what was written, not the map.
func (im *image) sync() error {
	if err := im.usable(); err != nil {
		return err
	}
	if err := im.file.sync(); err != nil {
		return im.breakBy(err)
	}
	return nil
}

func (im *image) close() error { return im.file.Close() }
