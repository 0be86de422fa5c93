package stor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"tlog"
	"tlog/stor"
)

// The stored shards of these tests: head = vdisk, position, k, m, previous
// digest, one SHA-256 a shard; then the index trailer and the body.

const fakeFixed = 16 + 8 + 2 + 32

func fakeCheck(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	c := stor.Checked{Index: -1}
	if len(b) < fakeFixed {
		return c, tlog.Corruptf("fake: short")
	}
	c.K, c.M = int(b[24]), int(b[25])
	end := fakeFixed + 32*(c.K+c.M)
	if len(b) < end || !bytes.Equal(b[:16], vdisk[:]) || binary.LittleEndian.Uint64(b[16:]) != uint64(pos) {
		return c, tlog.Corruptf("fake: head")
	}
	c.Head = b[:end:end]
	c.Digest = sha256.Sum256(c.Head)
	copy(c.Prev[:], b[26:])
	if headOnly {
		return c, nil
	}
	if len(b) < end+8 || int(b[end]) >= c.K+c.M {
		return c, tlog.Corruptf("fake: trailer")
	}
	c.Index, c.Body = int(b[end]), b[end+8:]
	if sum := sha256.Sum256(c.Body); !bytes.Equal(sum[:], b[fakeFixed+32*c.Index:][:32]) {
		return c, tlog.Corruptf("fake: shard %d is damaged", c.Index)
	}
	return c, nil
}

// sealed is a position made by a test.
type sealed struct {
	t        testing.TB
	digest   tlog.Hash
	head     []byte
	bodies   [][]byte
	mu       sync.Mutex
	released int
}

func seal(t testing.TB, p *stor.Pool, vdisk tlog.UUID, pos tlog.Position, prev tlog.Hash, data []byte) *sealed {
	m := p.Manifest()
	size := max((len(data)+m.K-1)/m.K, 1)
	s := &sealed{t: t}
	for i := range m.N() {
		body := make([]byte, size)
		if i < m.K {
			copy(body, data[min(i*size, len(data)):])
		}
		s.bodies = append(s.bodies, body)
	}
	if err := p.Encode(s.bodies); err != nil {
		t.Fatal(err)
	}
	s.head = append(s.head, vdisk[:]...)
	s.head = binary.LittleEndian.AppendUint64(s.head, uint64(pos))
	s.head = append(s.head, byte(m.K), byte(m.M))
	s.head = append(s.head, prev[:]...)
	for _, b := range s.bodies {
		sum := sha256.Sum256(b)
		s.head = append(s.head, sum[:]...)
	}
	s.digest = sha256.Sum256(s.head)
	return s
}

func (s *sealed) Shard(i int) (head, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released > 0 {
		s.t.Errorf("shard %d taken after release", i)
	}
	return append(append([]byte(nil), s.head...), byte(i), 0, 0, 0, 0, 0, 0, 0), s.bodies[i]
}

func (s *sealed) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released++; s.released > 1 {
		s.t.Error("released twice")
	}
}

func (s *sealed) free() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.released == 1
}

// fakeServer keeps the contract of stor.Server in memory, and has faults.
type fakeServer struct {
	t    testing.TB
	name string

	mu       sync.Mutex
	cookie   tlog.UUID
	manifest *stor.Manifest
	ctl      map[tlog.UUID]stor.Control
	stored   map[tlog.UUID]map[tlog.Position]*fakeShard
	closed   bool
	trusting bool // of a benchmark: shards are not checked, and not kept
	appends  int

	// Faults; each is read under mu.
	down     error                                       // every call answers it, nothing is done
	hang     bool                                        // every call waits for its context
	hangData bool                                        // only Append and Shard do
	refuse   func(*stor.AppendRequest) error             // instead of storing
	after    func(*stor.AppendRequest) error             // stored, but this comes back
	metas    func([]stor.Meta) ([]stor.Meta, error)      // instead of the truth
	badMetas map[tlog.Position]bool                      // that are none, until they are replaced
	corrupt  func(pos tlog.Position, b []byte) []byte    // what is read
	onAppend func(*stor.AppendRequest, stor.Meta, error) // observes
}

type fakeShard struct {
	meta stor.Meta
	data []byte
}

func newFake(t testing.TB, name string) *fakeServer {
	f := &fakeServer{t: t, name: name}
	f.wipe()
	return f
}

func (f *fakeServer) wipe() {
	f.cookie, f.manifest = tlog.UUID{}, nil
	f.ctl, f.stored = map[tlog.UUID]stor.Control{}, map[tlog.UUID]map[tlog.Position]*fakeShard{}
}

// set changes faults.
func (f *fakeServer) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// enter is the beginning of each call.
func (f *fakeServer) enter(ctx context.Context, data bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.New("fake: closed")
	}
	if f.hang || f.hangData && data {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return ctx.Err()
	}
	return f.down
}

func (f *fakeServer) Name() string { return f.name }

func (f *fakeServer) refusal(code stor.Code) *stor.Refusal {
	return &stor.Refusal{Code: code, Server: f.name, Err: fmt.Errorf("fake: refusal %d", code)}
}

func (f *fakeServer) identity(id stor.Identity) error {
	switch {
	case f.manifest == nil || id.Cookie != f.cookie:
		return f.refusal(stor.WrongStore)
	case id.ConfigVersion < f.manifest.ConfigVersion:
		return f.refusal(stor.OldConfig)
	}
	return nil
}

func (f *fakeServer) fenced(held stor.Owner) error {
	r := f.refusal(stor.Fenced)
	r.Owner = held
	return r
}

func (f *fakeServer) Fence(ctx context.Context, r *stor.FenceRequest) (stor.Control, error) {
	if err := f.enter(ctx, false); err != nil {
		return stor.Control{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.identity(r.Identity); err != nil {
		return stor.Control{}, err
	}
	c := f.ctl[r.Vdisk]
	if r.Epoch < c.Epoch || r.Epoch == c.Epoch && r.Owner != c.Owner {
		return c, f.fenced(c.Owner)
	}
	if r.Epoch == 0 || r.ID.IsZero() {
		f.t.Errorf("%s: fence without owner: %+v", f.name, r)
	}
	c.Owner = r.Owner
	f.ctl[r.Vdisk] = c
	return c, nil
}

func (f *fakeServer) Append(ctx context.Context, r *stor.AppendRequest, done func(stor.Meta, error)) {
	if f.hanging() {
		go func() {
			<-ctx.Done()
			done(stor.Meta{}, ctx.Err())
		}()
		return
	}
	if err := f.enter(ctx, true); err != nil {
		done(stor.Meta{}, err)
		return
	}
	f.mu.Lock()
	f.appends++
	meta, err := f.store(r)
	if err == nil && f.after != nil {
		err = f.after(r)
	}
	if f.onAppend != nil {
		f.onAppend(r, meta, err)
	}
	f.mu.Unlock()
	done(meta, err)
}

func (f *fakeServer) hanging() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hang || f.hangData
}

func (f *fakeServer) store(r *stor.AppendRequest) (stor.Meta, error) {
	if f.refuse != nil {
		if err := f.refuse(r); err != nil {
			return stor.Meta{}, err
		}
	}
	if err := f.identity(r.Identity); err != nil {
		return stor.Meta{}, err
	}
	c := f.ctl[r.Vdisk]
	if r.Owner != c.Owner {
		return stor.Meta{}, f.fenced(c.Owner)
	}
	if f.trusting && r.Position > 1 {
		return stor.Meta{Position: r.Position, Epoch: r.Epoch, Digest: r.Digest, Index: r.Index}, nil
	}
	data := slices.Concat(r.Head, r.Body)
	if f.stored[r.Vdisk] == nil {
		f.stored[r.Vdisk] = map[tlog.Position]*fakeShard{}
	}
	old := f.stored[r.Vdisk][r.Position]
	meta := stor.Meta{Position: r.Position, Epoch: r.Epoch, Digest: r.Digest, Index: r.Index}
	same := old != nil && old.meta.Digest == r.Digest
	switch {
	case old != nil && !same && old.meta.Epoch >= r.Epoch:
		return old.meta, f.refusal(stor.Conflict)
	case same && !r.Replace:
		old.meta.Epoch = r.Epoch
		f.hint(r)
		if old.meta.Index != r.Index {
			e := f.refusal(stor.HasIndex)
			e.Index = old.meta.Index
			return old.meta, e
		}
		return old.meta, nil
	case len(data) == 0:
		return stor.Meta{}, f.refusal(stor.NoData)
	}
	if c, err := fakeCheck(data, r.Vdisk, r.Position, false); !f.trusting && (err != nil || c.Digest != r.Digest || c.Index != r.Index) {
		f.t.Errorf("%s: position %d: bad shard for index %d: %v", f.name, r.Position, r.Index, err)
	}
	f.stored[r.Vdisk][r.Position] = &fakeShard{meta, data}
	if r.Replace {
		delete(f.badMetas, r.Position)
	}
	f.hint(r)
	return meta, nil
}

func (f *fakeServer) hint(r *stor.AppendRequest) {
	c := f.ctl[r.Vdisk]
	c.Head, c.Commit = max(c.Head, r.Position), max(c.Commit, r.Commit)
	if r.Commit >= r.Position {
		f.t.Errorf("%s: commit hint %d with position %d", f.name, r.Commit, r.Position)
	}
	f.ctl[r.Vdisk] = c
}

func (f *fakeServer) Control(ctx context.Context, vdisk tlog.UUID) (stor.Control, error) {
	err := f.enter(ctx, false)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		return stor.Control{}, err
	}
	return f.ctl[vdisk], nil
}

func (f *fakeServer) Metas(ctx context.Context, vdisk tlog.UUID, from, to tlog.Position) ([]stor.Meta, error) {
	if err := f.enter(ctx, false); err != nil {
		return nil, err
	}
	if to < from || to-from >= 1024 {
		f.t.Errorf("%s: metas %d…%d", f.name, from, to)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []stor.Meta
	var bad stor.BadMetas
	for pos := from; pos <= to; pos++ {
		if f.badMetas[pos] {
			bad.Positions = append(bad.Positions, pos)
			bad.Err = tlog.Corruptf("%s: position %d", f.name, pos)
		} else if s := f.stored[vdisk][pos]; s != nil {
			list = append(list, s.meta)
		}
	}
	if f.metas != nil {
		return f.metas(list)
	}
	if bad.Err != nil {
		return list, &bad
	}
	return list, nil
}

func (f *fakeServer) Shard(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, limit int) ([]byte, error) {
	if err := f.enter(ctx, true); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stored[vdisk][pos]
	if s == nil {
		return nil, stor.ErrAbsent
	}
	b := slices.Clone(s.data)
	if f.corrupt != nil {
		b = f.corrupt(pos, b)
	}
	if limit > 0 && len(b) > limit {
		b = b[:limit]
	}
	return b, nil
}

// Fill is Shard into memory of the caller's. What it was given for nothing it
// writes to before it answers, be that long behind the read's end: nobody else
// may have it.
func (f *fakeServer) Fill(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, buf []byte) (shard, memory []byte, err error) {
	b, err := f.Shard(ctx, vdisk, pos, 0)
	if err != nil {
		for i := range buf[:cap(buf)] {
			buf[:cap(buf)][i] ^= 0xa5
		}
		return nil, nil, err
	}
	buf = append(buf[:0], b...)
	return buf, buf, nil
}

func (f *fakeServer) Vdisks(ctx context.Context) ([]tlog.UUID, error) {
	if err := f.enter(ctx, false); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []tlog.UUID
	for v := range f.ctl {
		list = append(list, v)
	}
	return list, nil
}

func (f *fakeServer) Identify(ctx context.Context) (tlog.UUID, *stor.Manifest, error) {
	if err := f.enter(ctx, false); err != nil {
		return tlog.UUID{}, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.manifest == nil {
		return tlog.UUID{}, nil, stor.ErrEmpty
	}
	return f.cookie, f.manifest, nil
}

func (f *fakeServer) Init(ctx context.Context, cookie tlog.UUID, m *stor.Manifest) error {
	if err := f.enter(ctx, false); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.manifest == nil:
	case cookie != f.cookie:
		return f.refusal(stor.WrongStore)
	case m.ConfigVersion < f.manifest.ConfigVersion:
		return f.refusal(stor.OldConfig)
	case m.ConfigVersion == f.manifest.ConfigVersion && !reflect.DeepEqual(m, f.manifest):
		return f.refusal(stor.Conflict)
	}
	copied := *m
	f.cookie, f.manifest = cookie, &copied
	return nil
}

func (f *fakeServer) Space(context.Context) (stor.Space, error) {
	return stor.Space{Used: 1, Total: 2}, nil
}

func (f *fakeServer) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}
