package file

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"tlog/stor"
)

// crashFS is a directory in memory that can lose power: what was not synced
// survives in part, sector by sector, and directory changes as a prefix. A
// fuse makes one operation fail, done or not done, or ends everything.
type crashFS struct {
	mu     sync.Mutex
	rng    *rand.Rand
	names  map[string]*inode
	synced map[string]*inode
	undone []func(map[string]*inode) // directory changes since the last sync
	locked bool

	room int64 // left to allocate; negative: no limit

	fuse int // operations until it blows; 0: never
	blow func() error
	dead bool
}

const sector = 512

var (
	errPower = errors.New("power lost")
	errMedia = errors.New("input/output error")

	errNoSpace error = unix.ENOSPC
)

// inode is a file: what a process sees, and what the disk has.
type inode struct {
	data, disk []byte
	dirty      []extent
	bad        map[int64]bool // sectors that the medium does not give
}

type extent struct{ from, to int64 }

func newCrashFS(seed uint64) *crashFS {
	return &crashFS{
		rng: rand.New(rand.NewPCG(seed, 1)), names: map[string]*inode{}, synced: map[string]*inode{}, room: -1,
	}
}

// step counts one operation that changes something, which runs as do.
func (d *crashFS) step(do func()) error {
	if d.dead {
		return errPower
	}
	if d.fuse > 0 {
		if d.fuse--; d.fuse == 0 {
			if d.rng.IntN(2) == 0 {
				do()
			}
			return d.blow()
		}
	}
	do()
	return nil
}

// failAfter lets the n-th operation from now on fail with err.
func (d *crashFS) failAfter(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fuse, d.blow = n, func() error { return err }
}

// dieAfter lets the power go at the n-th operation from now on.
func (d *crashFS) dieAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fuse, d.blow = n, func() error { d.dead = true; return errPower }
}

// restart is what another process finds after this one ended.
func (d *crashFS) restart() *crashFS {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := newCrashFS(d.rng.Uint64())
	n.names, n.synced, n.undone = maps.Clone(d.names), maps.Clone(d.synced), slices.Clone(d.undone)
	n.room = d.room
	d.dead = true
	return n
}

// powerLoss is what is there after the machine lost power.
func (d *crashFS) powerLoss() *crashFS {
	n := d.restart()
	for _, f := range n.undone[:n.rng.IntN(len(n.undone)+1)] {
		f(n.synced)
	}
	n.undone = nil
	kept := map[*inode]*inode{}
	for _, i := range n.synced {
		kept[i] = i.survive(n.rng)
	}
	n.names = map[string]*inode{}
	for name, i := range n.synced {
		n.names[name], n.synced[name] = kept[i], kept[i]
	}
	return n
}

// survive keeps any subset of the sectors that were not synced.
func (i *inode) survive(rng *rand.Rand) *inode {
	i.persist(func() bool { return rng.IntN(2) == 0 })
	return &inode{data: bytes.Clone(i.disk), disk: i.disk, bad: i.bad}
}

// persist writes the dirty sectors to disk that keep says.
func (i *inode) persist(keep func() bool) {
	for _, e := range i.dirty {
		for from := e.from; from < e.to; {
			to := min(e.to, from&^(sector-1)+sector)
			if keep() {
				if grow := to - int64(len(i.disk)); grow > 0 {
					i.disk = append(i.disk, make([]byte, grow)...)
				}
				copy(i.disk[from:to], i.data[from:to])
			}
			from = to
		}
	}
	i.dirty = nil
}

func (d *crashFS) lock() (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, ErrLocked
	}
	d.locked = true
	return closer(func() { d.mu.Lock(); d.locked = false; d.mu.Unlock() }), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

// change does one directory change, now, and durably at the next sync.
func (d *crashFS) change(f func(map[string]*inode)) error {
	return d.step(func() {
		f(d.names)
		d.undone = append(d.undone, f)
	})
}

func (d *crashFS) create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := &inode{}
	if err := d.change(func(m map[string]*inode) { m[name] = i }); err != nil {
		return nil, err
	}
	return &crashFile{d, i}, nil
}

func (d *crashFS) open(name string, _ bool) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.names[name]
	if i == nil {
		return nil, fs.ErrNotExist
	}
	return &crashFile{d, i}, nil
}

func (d *crashFS) rename(old, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.change(func(m map[string]*inode) { m[name] = m[old]; delete(m, old) })
}

func (d *crashFS) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	return d.change(func(m map[string]*inode) { delete(m, name) })
}

func (d *crashFS) list() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.names)), nil
}

func (d *crashFS) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.step(func() { d.synced, d.undone = maps.Clone(d.names), nil })
}

func (d *crashFS) space() (stor.Space, error) { return stor.Space{}, nil }

type crashFile struct {
	d *crashFS
	i *inode
}

func (f *crashFile) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if off >= int64(len(f.i.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.i.data[off:])
	for s := range f.i.bad {
		if s*sector < off+int64(n) && (s+1)*sector > off {
			return 0, errMedia
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) Close() error { return nil }

func (f *crashFile) writeAt(bufs [][]byte, off int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	b := bytes.Join(bufs, nil)
	return f.d.step(func() { f.i.write(b, off) })
}

func (i *inode) write(b []byte, off int64) {
	end := off + int64(len(b))
	if grow := end - int64(len(i.data)); grow > 0 {
		i.data = append(i.data, make([]byte, grow)...)
	}
	copy(i.data[off:], b)
	i.dirty = append(i.dirty, extent{off, end})
}

func (f *crashFile) allocate(off, n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.room >= 0 {
		if n > f.d.room {
			return unix.ENOSPC
		}
		f.d.room -= n
	}
	return f.d.step(func() {
		if grow := off + n - int64(len(f.i.data)); grow > 0 {
			f.i.write(make([]byte, grow), int64(len(f.i.data)))
		}
	})
}

// sync that fails leaves the kernel with pages that it takes for clean and
// that the disk has or has not.
func (f *crashFile) sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	done := false
	err := f.d.step(func() { done = true; f.i.persist(func() bool { return true }) })
	if err != nil && !done && !f.d.dead {
		f.i.persist(func() bool { return f.d.rng.IntN(2) == 0 })
	}
	return err
}

func (f *crashFile) size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.i.data)), nil
}
