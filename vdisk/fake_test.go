package vdisk

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tlog"
	"tlog/client"
)

// store is the log as a server would keep it, beyond the life of a client.
type store struct {
	mu     sync.Mutex
	vdisk  tlog.VdiskID
	uuid   tlog.UUID
	gen    tlog.Generation
	taken  []taken // every record given a sequence; taken[i] is record i+1
	stable int     // how many of them are durable
	attach func(client.Config) error
}

// taken is a record with what proves that its data was not touched since.
type taken struct {
	rec   tlog.Record
	sum   uint32
	chain tlog.Hash // after it
}

func newStore(vdisk tlog.VdiskID) *store {
	return &store{vdisk: vdisk, uuid: tlog.UUID{1: 7, 6: 0x50, 8: 0x80}}
}

func (s *store) point(n int) client.Point {
	if n == 0 {
		return client.Point{Chain: tlog.ChainStart(s.vdisk)}
	}
	return client.Point{Sequence: tlog.Sequence(n), Chain: s.taken[n-1].chain}
}

// connect is an attachFunc. What earlier clients left behind becomes durable.
func (s *store) connect(t testing.TB, fl **fakeLog) attachFunc {
	return func(_ context.Context, cfg client.Config) (history, client.Point, client.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.attach != nil {
			if err := s.attach(cfg); err != nil {
				return nil, client.Point{}, client.Session{}, err
			}
		}
		if !cfg.Adopt || cfg.ID.IsZero() || cfg.Vdisk != s.vdisk || cfg.Generation > s.gen {
			t.Errorf("attach with %+v", cfg)
		}
		s.stable = len(s.taken)
		s.gen++
		cfg.OnAttach(client.Session{VdiskUUID: s.uuid, Generation: s.gen})
		*fl = &fakeLog{t: t, s: s, cfg: cfg, changed: make(chan struct{}), auto: true, start: len(s.taken)}
		return *fl, s.point(s.stable), client.Session{VdiskUUID: s.uuid, Generation: s.gen}, nil
	}
}

// catchUp is a Config.CatchUp.
func (s *store) catchUp(ctx context.Context, after, to client.Point, fn func(*tlog.Record) error) error {
	s.mu.Lock()
	records := s.taken[after.Sequence:to.Sequence]
	same := s.point(int(after.Sequence)) == after && s.point(int(to.Sequence)) == to
	s.mu.Unlock()
	if !same {
		return tlog.Corruptf("fake: other history")
	}
	for _, r := range records {
		rec := r.rec
		rec.Data = bytes.Clone(rec.Data)
		if err := fn(&rec); err != nil {
			return err
		}
		clear(rec.Data) // valid during the call only
	}
	return ctx.Err()
}

// image is the disk after the first n records.
func (s *store) image(n int, size int64) image {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(image, size)
	for _, r := range s.taken[:n] {
		m.apply(&pending{op: r.rec.Operation, off: int64(r.rec.Offset), end: int64(r.rec.End()), data: r.rec.Data})
	}
	return m
}

func (s *store) durable() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stable
}

// fakeLog is one client of a store. It fails the test on misuse.
type fakeLog struct {
	t   testing.TB
	s   *store
	cfg client.Config

	mu      sync.Mutex // order of OnFlushed
	start   int
	auto    bool          // FlushTo makes durable by itself; else someone calls flush
	closed  bool          //
	err     error         // permanent
	full    chan struct{} // if set, AppendStamped waits for it
	late    func()        // if set, called between taking a record and returning
	changed chan struct{} // closed and renewed at every change
}

func (l *fakeLog) AppendStamped(ctx context.Context, at client.Stamp, op tlog.Operation, offset uint64, size uint32, data []byte) (tlog.Sequence, error) {
	if l.full != nil {
		select {
		case <-l.full:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	l.s.mu.Lock()
	if l.err != nil || l.closed {
		defer l.s.mu.Unlock()
		return 0, errors.Join(l.err, errors.New("fake: closed"))
	}
	r := tlog.Record{Sequence: tlog.Sequence(len(l.s.taken) + 1), Offset: offset, Size: size, Operation: op, Data: data, Timestamp: at.Time, Group: uint64(at.Group)}
	if err := r.Check(); err != nil || r.End() > l.cfg.DiskSize {
		l.t.Errorf("record %+v: %v", r, err)
	}
	chain := tlog.ChainNext(l.s.point(len(l.s.taken)).Chain, &r)
	l.s.taken = append(l.s.taken, taken{r, crc32.ChecksumIEEE(data), chain})
	l.s.mu.Unlock()
	if l.late != nil {
		l.late()
	}
	return r.Sequence, nil
}

// flush makes the first n records durable and says so.
func (l *fakeLog) flush(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s.mu.Lock()
	n = min(n, len(l.s.taken))
	if n <= l.s.stable {
		l.s.mu.Unlock()
		return
	}
	for _, r := range l.s.taken[l.s.stable:n] {
		if crc32.ChecksumIEEE(r.rec.Data) != r.sum {
			l.t.Errorf("data of record %d changed before it was durable", r.rec.Sequence)
		}
	}
	l.s.stable = n
	l.s.mu.Unlock()
	l.cfg.OnFlushed(tlog.Sequence(n))
	l.change()
}

func (l *fakeLog) change() {
	l.s.mu.Lock()
	close(l.changed)
	l.changed = make(chan struct{})
	l.s.mu.Unlock()
}

// break fails every call from now on.
func (l *fakeLog) breakWith(err error) {
	l.s.mu.Lock()
	l.err = err
	l.s.mu.Unlock()
	l.change()
}

func (l *fakeLog) FlushTo(ctx context.Context, s tlog.Sequence) error {
	if l.auto {
		l.flush(int(s))
	}
	for {
		l.s.mu.Lock()
		done, err, changed, n := l.s.stable >= int(s), l.err, l.changed, len(l.s.taken)
		if l.closed && err == nil {
			err = errors.New("fake: closed")
		}
		l.s.mu.Unlock()
		if int(s) > n {
			l.t.Errorf("flush to %d of %d", s, n)
		}
		if done {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *fakeLog) Flushed() client.Point {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.point(l.s.stable)
}

func (l *fakeLog) Close(ctx context.Context) error {
	l.s.mu.Lock()
	if l.closed {
		l.t.Error("log closed twice")
	}
	l.closed = true
	lost := len(l.s.taken) - l.s.stable
	l.s.mu.Unlock()
	l.change()
	if lost > 0 {
		return client.ErrNotFlushed
	}
	return ctx.Err()
}

const testSize = 1 << 20

// rig is a disk on a fake log.
type rig struct {
	*Disk
	log   *fakeLog
	store *store
	logs  *bytes.Buffer
	cfg   Config
}

func testConfig(t testing.TB, s *store) Config {
	return Config{
		Vdisk: s.vdisk, Size: testSize, Base: filepath.Join(t.TempDir(), "disk.img"),
		Servers: []string{"fake"}, CatchUp: s.catchUp, MarkerInterval: time.Hour,
	}
}

func openRig(t testing.TB, s *store, cfg Config) *rig {
	t.Helper()
	r := &rig{store: s, logs: new(bytes.Buffer), cfg: cfg}
	cfg.Logger = slog.New(slog.NewTextHandler(r.logs, nil))
	var err error
	if r.Disk, err = open(context.Background(), cfg, s.connect(t, &r.log)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) mustClose(t testing.TB) {
	t.Helper()
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// read is the whole disk.
func (r *rig) read(t testing.TB) image {
	t.Helper()
	b := make(image, r.Size())
	if _, err := r.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *rig) write(t testing.TB, off int64, n int, with byte) {
	t.Helper()
	p := bytes.Repeat([]byte{with}, n)
	if err := r.WriteAt(context.Background(), p, off); err != nil {
		t.Fatal(err)
	}
	clear(p) // the caller's slice is the caller's again
}
