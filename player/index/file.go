package index

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"

	"tlog"
)

// File is an open index.
type File struct {
	f      *os.File
	key    cipher.AEAD
	vdisk  tlog.UUID
	frames []head
	adding Page   // not yet a frame
	sealed []byte // reused
}

// Name is the file name of a vdisk's index in a directory of indexes.
func Name(vdisk tlog.UUID) string { return vdisk.String() + ".index" }

// Open opens, or creates, a vdisk's index in dir, and cuts off what was not
// written whole. One that another process adds to is waited for, until ctx ends;
// of one that others read, which may take them long, a copy without a name is
// opened: what is added to it is gone when it is closed. So is all of a file in
// an empty dir.
func Open(ctx context.Context, dir string, key cipher.AEAD, vdisk tlog.UUID) (*File, error) {
	f, err := openFile(dir, vdisk)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	x := &File{f: f, key: key, vdisk: vdisk}
	err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		if err = lock(ctx, f, unix.LOCK_SH); err == nil {
			err = x.part()
		}
	}
	if err == nil {
		err = x.load()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("index: %w", err), x.f.Close())
	}
	return x, nil
}

// part goes on with a copy of the file, which nobody writes to at the moment.
func (x *File) part() error {
	own, err := openFile("", x.vdisk)
	if err != nil {
		return err
	}
	shared := x.f
	x.f = own
	_, err = io.Copy(own, shared)
	return errors.Join(err, shared.Close())
}

// Exists reports whether dir has an index of the vdisk that is not empty.
func Exists(dir string, vdisk tlog.UUID) bool {
	st, err := os.Stat(filepath.Join(dir, Name(vdisk)))
	return err == nil && st.Size() > 0
}

func openFile(dir string, vdisk tlog.UUID) (*os.File, error) {
	if dir == "" {
		f, err := os.CreateTemp("", Name(vdisk)+"-*")
		if err != nil {
			return nil, err
		}
		return f, os.Remove(f.Name())
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, Name(vdisk)), os.O_RDWR|os.O_CREATE, 0o600)
}

// lock waits for a lock of the file. A wait that is given up goes on behind,
// until it has the lock, or the file is closed with the process.
func lock(ctx context.Context, f *os.File, how int) error {
	done := make(chan error, 1)
	go func() {
		err := flock(f, how)
		for errors.Is(err, unix.EINTR) {
			err = flock(f, how)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func flock(f *os.File, how int) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Flock(int(fd), how) })
	return errors.Join(err, failed)
}

// load reads the heads of all frames, and checks their seals.
func (x *File) load() error {
	st, err := x.f.Stat()
	if err != nil {
		return err
	}
	var at int64
	b, body, plain := make([]byte, headSize), []byte(nil), []byte(nil)
	for at+headSize <= st.Size() {
		if _, err := x.f.ReadAt(b, at); err != nil {
			return err
		}
		h := head{offset: at}
		if h.parse(b) != nil || h.vdisk != x.vdisk || !h.follows(x.last()) || h.end() > st.Size() {
			break
		}
		if body, err = x.body(&h, body); err != nil {
			return err
		}
		if plain, err = h.unseal(plain, body, x.key); err != nil {
			break
		}
		x.frames = append(x.frames, h)
		at = h.end()
	}
	if at == st.Size() {
		return nil
	}
	return x.f.Truncate(at)
}

// body reads what follows a head, into b's memory.
func (x *File) body(h *head, b []byte) ([]byte, error) {
	b = resize(b, int(h.body))
	if _, err := x.f.ReadAt(b, h.offset+headSize); err != nil {
		return nil, err
	}
	return b, nil
}

func (x *File) last() *head {
	if len(x.frames) == 0 {
		return nil
	}
	return &x.frames[len(x.frames)-1]
}

// ErrMoved says that another process got the file while its lock was changed.
var ErrMoved = errors.New("the index was changed meanwhile")

// Share lets other readers in; nothing may be added any more. Another writer may
// be quicker while the lock is changed: then it is ErrMoved, and the file is to
// be opened again.
func (x *File) Share(ctx context.Context) error {
	err := lock(ctx, x.f, unix.LOCK_SH)
	if err == nil {
		err = x.unmoved()
	}
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// unmoved compares the end of the file with what is known of it.
func (x *File) unmoved() error {
	st, err := x.f.Stat()
	if err != nil {
		return err
	}
	h, b := x.last(), make([]byte, headSize)
	if st.Size() != x.Size() {
		return ErrMoved
	}
	if h == nil {
		return nil
	}
	if _, err := x.f.ReadAt(b, h.offset); err != nil {
		return err
	}
	if !bytes.Equal(b, h.encode()) { // its nonce is no other frame's
		return ErrMoved
	}
	return nil
}

// Close gives the file back. What was added and not committed is lost.
func (x *File) Close() error { return x.f.Close() }

// Size is the length of the file in bytes.
func (x *File) Size() int64 {
	if h := x.last(); h != nil {
		return h.end()
	}
	return 0
}

// End is the last position of the committed frames, its chain digest, and the
// sequence and time of the last record; all zero for an empty index.
func (x *File) End() (pos tlog.Position, digest tlog.Hash, last tlog.Sequence, time uint64) {
	h := x.last()
	if h == nil {
		return 0, tlog.Hash{}, 0, 0
	}
	return h.lastPosition(), h.digest, h.lastSequence(), h.lastTime
}

// Cut drops the last frame: the log is not what it says.
func (x *File) Cut() error {
	h := x.last()
	if h == nil {
		return nil
	}
	if err := x.f.Truncate(h.offset); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	x.frames = x.frames[:len(x.frames)-1]
	return nil
}

// pageRecords is how many records make Add write a frame, and pagePositions how
// many positions; a last frame with less than a quarter is written anew, longer.
const (
	pageRecords   = 64 << 10
	pagePositions = 8 << 10
)

// Add appends a position and its records, of which there are p.Count. They are
// in the file after Commit.
func (x *File) Add(p Position, records []Record) error {
	if len(x.adding.Positions) == 0 {
		if err := x.begin(p); err != nil {
			return err
		}
	}
	if next := x.next(); p.Position != next.Position || p.First != next.First || int(p.Count) != len(records) {
		return tlog.Fatalf("index: position %d with record %d is added where %d with %d follows", p.Position, p.First, next.Position, next.First)
	}
	x.adding.Positions = append(x.adding.Positions, p)
	x.adding.Records = append(x.adding.Records, records...)
	if len(x.adding.Records) >= pageRecords || len(x.adding.Positions) >= pagePositions {
		return x.Commit()
	}
	return nil
}

// begin starts the page that is added to: with what a short last frame has.
func (x *File) begin(p Position) error {
	x.adding.First = p.First
	h := x.last()
	if h == nil || h.records >= pageRecords/4 || h.positions >= pagePositions/4 {
		return nil
	}
	if err := x.read(len(x.frames)-1, &x.adding); err != nil {
		return err
	}
	return x.Cut()
}

// next is the place behind everything that was added.
func (x *File) next() Position {
	if n := len(x.adding.Positions); n > 0 {
		p := &x.adding.Positions[n-1]
		return Position{Position: p.Position + 1, First: p.Last() + 1}
	}
	pos, _, last, _ := x.End()
	return Position{Position: pos + 1, First: max(last+1, x.adding.First)}
}

// Commit writes what was added as a frame. The frame is not made durable: what
// a crash takes is read from the log again.
func (x *File) Commit() error {
	p := &x.adding
	if len(p.Positions) == 0 {
		return nil
	}
	_, prev, _, time := x.End()
	end := p.Positions[len(p.Positions)-1]
	h := head{
		vdisk: x.vdisk, firstPosition: p.Positions[0].Position, positions: uint32(len(p.Positions)), records: uint32(len(p.Records)),
		firstSequence: p.Positions[0].First, firstTime: time, lastTime: time, prev: prev, digest: end.Digest, offset: x.Size(),
	}
	if n := len(p.Records); n > 0 {
		h.firstTime, h.lastTime = p.Records[0].Time, p.Records[n-1].Time
	}
	if !h.follows(x.last()) {
		return tlog.Fatalf("index: frame of positions %d to %d does not follow", h.firstPosition, h.lastPosition())
	}
	b := h.seal(p, x.key)
	if _, err := x.f.WriteAt(b, h.offset); err != nil {
		return errors.Join(fmt.Errorf("index: %w", err), x.f.Truncate(h.offset))
	}
	x.frames = append(x.frames, h)
	p.Positions, p.Records = p.Positions[:0], p.Records[:0]
	return nil
}

// Pages is how many pages the index has.
func (x *File) Pages() int { return len(x.frames) }

// Page reads a page into p, whose memory it uses. Pages are numbered from 0.
// Errors: class tlog.Corrupt, if its seal is broken.
func (x *File) Page(i int, p *Page) error { return x.read(i, p) }

func (x *File) read(i int, p *Page) error {
	h := &x.frames[i]
	var err error
	if x.sealed, err = x.body(h, x.sealed); errors.Is(err, io.EOF) {
		err = tlog.Corruptf("cut: %w", err)
	}
	if err == nil {
		err = h.open(p, x.sealed, x.key)
	}
	if err != nil {
		return fmt.Errorf("index: frame at byte %d of %s: %w", h.offset, x.f.Name(), err)
	}
	return nil
}

// PageOf is the number of the page with a record, or of the last one that begins
// before it; the sequence must not be above the last.
func (x *File) PageOf(s tlog.Sequence) int {
	return max(0, sort.Search(len(x.frames), func(i int) bool { return x.frames[i].lastSequence() >= s }))
}

// PageAt is the number of the page that holds a position; Pages if none does.
func (x *File) PageAt(pos tlog.Position) int {
	return sort.Search(len(x.frames), func(i int) bool { return x.frames[i].lastPosition() >= pos })
}

// PageAfter is the number of the first page that ends after a time; Pages if
// none does.
func (x *File) PageAfter(time uint64) int {
	return sort.Search(len(x.frames), func(i int) bool { return x.frames[i].lastTime > time })
}

// Remove deletes the index of a vdisk in dir, if there is one.
func Remove(dir string, vdisk tlog.UUID) error {
	err := os.Remove(filepath.Join(dir, Name(vdisk)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
