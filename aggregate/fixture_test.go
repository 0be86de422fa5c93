package aggregate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/klauspost/reedsolomon"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/schema"
)

const diskName = tlog.VdiskID("disk-1")

var diskUUID = tlog.UUID{0xd1, 15: 0x5c}

// disk is a vdisk with its key, and a source of its records.
type disk struct {
	t       testing.TB
	key     *crypto.DataKey
	wrapped []byte
	code    reedsolomon.Encoder
	head    aggregate.Head // behind the genesis
	genesis *store         // that has only the genesis

	last  tlog.Sequence
	chain tlog.Hash
	clock uint64

	mu       sync.Mutex
	batches  int
	released map[int]int // calls of Release, by batch
}

func newDisk(t testing.TB, k, m int) *disk {
	t.Helper()
	ring, err := crypto.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{t: t, released: map[int]int{}, genesis: newStore(t)}
	if d.key, d.wrapped, err = ring.NewDataKey(diskUUID); err != nil {
		t.Fatal(err)
	}
	if d.code, err = reedsolomon.New(k, m, reedsolomon.WithMaxGoroutines(1)); err != nil {
		t.Fatal(err)
	}
	h := aggregate.Head{Vdisk: diskName, UUID: diskUUID, Hash: tlog.HashBlake2b, Generation: 1, Client: tlog.UUID{7}, K: k, M: m}
	g := crypto.Genesis{Name: diskName, DiskSize: 1 << 30, BlockSize: 4096, W: uint8(k + m), WrappedKey: d.wrapped}
	if d.head, err = aggregate.Genesis(context.Background(), h, g, d.key, d.code.Encode, d.genesis); err != nil {
		t.Fatal(err)
	}
	d.chain = tlog.ChainStart(diskName)
	return d
}

// records makes the next n records; compressible data if seed is 0.
func (d *disk) records(n, size int, seed byte) []tlog.Record {
	rs := make([]tlog.Record, n)
	for i := range rs {
		d.last++
		d.clock += uint64(i % 2)
		r := tlog.Record{Sequence: d.last, Offset: uint64(d.last) * 4096, Timestamp: d.clock, Operation: tlog.OpWrite, Size: uint32(size)}
		switch {
		case size == 0:
			r.Operation, r.Offset = tlog.OpFlush, 0
		case d.last%7 == 0:
			r.Operation, r.Size = tlog.OpTrim, 4096
		default:
			r.Data = make([]byte, size)
			x := uint64(d.last)<<8 | uint64(seed)
			for j := range r.Data {
				if x = x*6364136223846793005 + 1442695040888963407; seed != 0 {
					r.Data[j] = byte(x >> 56)
				}
			}
		}
		r.Hash = crypto.HashRecord(tlog.HashBlake2b, r.Data)
		rs[i] = r
	}
	return rs
}

// batch frames records; its Release is counted, and spoils the frame.
func (d *disk) batch(rs []tlog.Record) aggregate.Batch {
	for i := range rs {
		d.chain = tlog.ChainNext(d.chain, &rs[i])
	}
	frame := schema.AppendBatch(nil, &schema.Batch{Records: rs, Chain: d.chain})
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.batches
	d.batches++
	return aggregate.Batch{Frame: frame, Records: rs, Chain: d.chain, Release: func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.released[id]++
		clear(frame)
	}}
}

// next is a batch of n new records of incompressible data.
func (d *disk) next(n, size int) aggregate.Batch { return d.batch(d.records(n, size, 1)) }

// allReleased checks that each batch was released once.
func (d *disk) allReleased() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.batches {
		if n := d.released[id]; n != 1 {
			d.t.Errorf("batch %d of %d was released %d times", id, d.batches, n)
		}
	}
}

// store is a Publisher that keeps what it gets, and fails the test on misuse.
type store struct {
	t      testing.TB
	hang   bool           // done is not called, nothing is released
	failAt tlog.Position  // done gets errStore there, …
	stored bool           // … although the shards were stored
	block  chan struct{}  // Publish waits for it
	hold   func(f func()) // gets what would call done

	mu     sync.Mutex
	last   tlog.Position
	prev   tlog.Hash
	shards map[tlog.Position][][]byte
	held   []*crypto.Sealed // of hang
}

var errStore = tlog.Fatalf("store: fenced")

func newStore(t testing.TB) *store { return &store{t: t, shards: map[tlog.Position][][]byte{}} }

// after is a store for what follows the genesis of d.
func (d *disk) after() *store {
	s := newStore(d.t)
	s.last, s.prev = 1, d.head.Digest
	s.shards[1] = d.genesis.shards[1]
	return s
}

func (s *store) Publish(pos tlog.Position, digest tlog.Hash, sealed *crypto.Sealed, done func(error)) {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if pos != s.last+1 || sealed.Header.Prev != s.prev || sealed.Header.Position != pos {
		s.t.Errorf("publish %d (in its header %d, behind %v) after %d, %v", pos, sealed.Header.Position, sealed.Header.Prev, s.last, s.prev)
	}
	s.last, s.prev = pos, digest
	if s.hang {
		s.held = append(s.held, sealed)
		return
	}
	var err error
	if pos == s.failAt {
		err = errStore
	}
	if err == nil || s.stored {
		for i := range int(sealed.Header.K) + int(sealed.Header.M) {
			head, body := sealed.Shard(i)
			s.shards[pos] = append(s.shards[pos], append(bytes.Clone(head), body...))
		}
	}
	sealed.Release()
	finish := func() { done(err) }
	if s.hold != nil {
		s.hold(finish)
		return
	}
	go finish()
}

// releaseHeld does at last what a hung store has not done.
func (s *store) releaseHeld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sealed := range s.held {
		sealed.Release()
	}
	s.held = nil
}

// end is the last position published.
func (s *store) end() tlog.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// read decodes a position from its stored shards.
func (d *disk) read(s *store, pos tlog.Position) (*aggregate.Aggregation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return d.decode(s.shards[pos], pos)
}

func (d *disk) decode(shards [][]byte, pos tlog.Position) (*aggregate.Aggregation, error) {
	var head []byte
	var data []byte
	for i := range d.head.K {
		c, err := crypto.CheckShard(shards[i], diskUUID, pos)
		if err != nil {
			return nil, err
		}
		if head != nil && !bytes.Equal(c.Head, head) {
			return nil, tlog.Corruptf("shard %d has another head", i)
		}
		head, data = c.Head, append(data, c.Body...)
	}
	return aggregate.Decode(d.key, diskUUID, pos, head, data)
}

// readAll decodes all positions in order, follows the links, and returns them.
func (d *disk) readAll(s *store) []*aggregate.Aggregation {
	d.t.Helper()
	var all []*aggregate.Aggregation
	var head aggregate.Head
	for pos := tlog.Position(1); pos <= s.end(); pos++ {
		a, err := d.read(s, pos)
		if err != nil {
			d.t.Fatalf("position %d: %v", pos, err)
		}
		if a.Header.Prev != head.Digest || pos > 1 && (a.Prelude.Chain != head.Chain || a.Header.First != head.Last+1 || a.Prelude.LastTimestamp != head.Timestamp) {
			d.t.Fatalf("position %d does not follow on %+v:\n%+v\n%+v", pos, head, a.Header, a.Prelude)
		}
		head = a.Next(diskName)
		all = append(all, a)
	}
	return all
}

// sameRecords compares all but the aliasing of data.
func sameRecords(got, want []tlog.Record) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if !bytes.Equal(g.Data, w.Data) {
			return fmt.Errorf("data of record %d", w.Sequence)
		}
		g.Data, w.Data = nil, nil
		if fmt.Sprint(g) != fmt.Sprint(w) {
			return fmt.Errorf("record %+v, want %+v", g, w)
		}
	}
	return nil
}

// report is what committed was called with, in order.
type report struct {
	mu    sync.Mutex
	last  []tlog.Sequence
	chain tlog.Hash
	err   error
	errs  int
}

func (r *report) committed(last tlog.Sequence, chain tlog.Hash, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err = err
		r.errs++
		return
	}
	if r.err != nil {
		r.err = errors.New("committed after the failure")
	}
	r.last, r.chain = append(r.last, last), chain
}

func (r *report) get() (last []tlog.Sequence, errs int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]tlog.Sequence(nil), r.last...), r.errs, r.err
}
