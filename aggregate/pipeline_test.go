package aggregate_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is a pipeline of d that publishes to s.
func (d *disk) start(cfg aggregate.Config, s *store) (*aggregate.Pipeline, *report) {
	r := &report{}
	return aggregate.New(cfg, d.head, d.key, d.code.Encode, s, r.committed), r
}

func mustAppend(t testing.TB, p *aggregate.Pipeline, b aggregate.Batch) {
	t.Helper()
	if err := p.Append(b); err != nil {
		t.Fatal(err)
	}
}

// Any batching of one stream, sealed by any limits and forced at any place,
// reads back as that stream.
func TestAnyBatching(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDisk(t, rapid.IntRange(1, 4).Draw(rt, "k"), rapid.IntRange(0, 2).Draw(rt, "m"))
		s := d.after()
		cfg := aggregate.Config{
			MaxRecords: rapid.IntRange(1, 40).Draw(rt, "max records"),
			MaxBytes:   rapid.IntRange(1, 20_000).Draw(rt, "max bytes"),
			InFlight:   rapid.IntRange(1, 4).Draw(rt, "in flight"),
			MaxAge:     time.Hour,
		}
		p, r := d.start(cfg, s)
		var want []tlog.Record
		for range rapid.IntRange(1, 15).Draw(rt, "batches") {
			rs := d.records(rapid.IntRange(1, 20).Draw(rt, "records"), rapid.SampledFrom([]int{0, 1, 512, 3000}).Draw(rt, "size"), rapid.Byte().Draw(rt, "seed"))
			want = append(want, rs...)
			mustAppend(t, p, d.batch(rs))
			if rapid.Bool().Draw(rt, "force") {
				p.Force()
			}
		}
		if err := p.Close(context.Background()); err != nil {
			rt.Fatal(err)
		}
		d.allReleased()
		var got []tlog.Record
		for _, a := range d.readAll(s) {
			got = append(got, a.Records...)
		}
		if err := sameRecords(got, want); err != nil {
			rt.Fatal(err)
		}
		last, _, err := r.get()
		if err != nil || !slices.IsSorted(last) || last[len(last)-1] != d.last || r.chain != d.chain || len(last) != int(s.end())-1 {
			rt.Fatalf("committed %v, %v, want up to %d in %d positions", last, err, d.last, s.end()-1)
		}
	})
}

func TestByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, 1, 0)
		p, r := d.start(aggregate.Config{MaxAge: time.Second}, d.after())
		mustAppend(t, p, d.next(1, 10))
		time.AfterFunc(999*time.Millisecond, func() {
			if last, _, _ := r.get(); len(last) > 0 {
				t.Errorf("committed %v too early", last)
			}
		})
		<-time.After(time.Second)
		synctest.Wait()
		if last, _, _ := r.get(); !slices.Equal(last, []tlog.Sequence{1}) {
			t.Errorf("committed %v after a second, want [1]", last)
		}
		mustAppend(t, p, d.next(2, 10))
		<-time.After(time.Second)
		synctest.Wait()
		if last, _, _ := r.get(); !slices.Equal(last, []tlog.Sequence{1, 3}) {
			t.Errorf("committed %v after another, want [1 3]", last)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Commits are reported in order of positions however the answers come.
func TestCommitOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, 1, 0)
		s := d.after()
		var answers []func()
		s.hold = func(f func()) { answers = append(answers, f) }
		p, r := d.start(aggregate.Config{MaxRecords: 1, InFlight: 3}, s)
		for range 5 {
			mustAppend(t, p, d.next(1, 10))
		}
		synctest.Wait()
		if len(answers) != 3 {
			t.Fatalf("%d positions in flight, want 3", len(answers))
		}
		answers[2]()
		answers[1]()
		synctest.Wait()
		if last, _, _ := r.get(); len(last) != 0 {
			t.Fatalf("committed %v before the first is durable", last)
		}
		answers[0]()
		synctest.Wait()
		if last, _, _ := r.get(); !slices.Equal(last, []tlog.Sequence{1, 2, 3}) {
			t.Fatalf("committed %v, want [1 2 3]", last)
		}
		// What waited for room goes together.
		if len(answers) != 5 {
			t.Fatalf("%d published, want 5", len(answers))
		}
		answers[3]()
		answers[4]()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		d.allReleased()
	})
}

func TestBarrier(t *testing.T) {
	d := newDisk(t, 2, 1)
	s := d.after()
	p, r := d.start(aggregate.Config{MaxAge: time.Hour}, s)
	mustAppend(t, p, d.next(3, 100))
	w := aggregate.Head{Generation: 9, Client: tlog.UUID{9}, Hash: tlog.HashBlake2b, Base: 4, First: 0, Version1: true}
	if err := p.Barrier(t.Context(), crypto.KindBaseChange, w); err != nil {
		t.Fatal(err)
	}
	if last, _, _ := r.get(); !slices.Equal(last, []tlog.Sequence{3, 3}) {
		t.Errorf("committed %v when the barrier is, want [3 3]", last)
	}
	mustAppend(t, p, d.next(1, 100))
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := d.readAll(s)
	for i, want := range []struct {
		kind        crypto.Kind
		first, last tlog.Sequence
		generation  tlog.Generation
	}{{crypto.KindGenesis, 1, 0, 1}, {crypto.KindData, 1, 3, 1}, {crypto.KindBaseChange, 4, 3, 9}, {crypto.KindData, 4, 4, 9}} {
		h := all[i].Header
		if h.Kind != want.kind || h.First != want.first || h.Last != want.last || all[i].Prelude.Generation != want.generation {
			t.Errorf("position %d: %v %d to %d, generation %d; want %+v", i+1, h.Kind, h.First, h.Last, all[i].Prelude.Generation, want)
		}
	}
	next := all[3].Next(diskName)
	want := w
	want.Vdisk, want.UUID, want.Position, want.Digest, want.K, want.M = diskName, diskUUID, 4, all[3].Digest, 2, 1
	want.Last, want.Chain, want.Timestamp = d.last, d.chain, d.clock
	if next != want {
		t.Errorf("next head\n%+v, want\n%+v", next, want)
	}
	if err := p.Barrier(t.Context(), crypto.KindBarrier, w); !errors.Is(err, aggregate.ErrClosed) {
		t.Errorf("barrier after close: %v", err)
	}
	if err := p.Barrier(t.Context(), crypto.KindData, w); err == nil {
		t.Error("a data aggregation for a barrier")
	}
}

func TestAppendRefuses(t *testing.T) {
	d := newDisk(t, 1, 0)
	d.clock = 1000
	s := d.after()
	p, _ := d.start(aggregate.Config{MaxAge: time.Hour}, s)
	big := d.records(5, tlog.MaxRecordData, 1)
	chain := d.chain
	if err := p.Append(d.batch(big)); err == nil {
		t.Error("batch above the payload limit accepted")
	}
	d.chain = chain
	mustAppend(t, p, d.batch(big[:1]))
	early := tlog.Record{Sequence: 2, Operation: tlog.OpFlush, Timestamp: big[0].Timestamp - 1}
	for name, rs := range map[string][]tlog.Record{
		"empty": nil, "repeat": big[:1], "gap": big[2:3], "gap inside": {big[1], big[3]}, "time": {early},
	} {
		if err := p.Append(d.batch(rs)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	d.last, d.chain = 1, chain
	mustAppend(t, p, d.next(2, 10))
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Append(d.next(1, 10)); !errors.Is(err, aggregate.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	d.allReleased()
}

// Appending, forcing and barriers from several goroutines.
func TestConcurrent(t *testing.T) {
	d := newDisk(t, 2, 1)
	s := d.after()
	p, r := d.start(aggregate.Config{MaxRecords: 5, InFlight: 3}, s)
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() {
			for range 10 {
				p.Force()
				if err := p.Barrier(t.Context(), crypto.KindBarrier, d.head); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 100 {
		mustAppend(t, p, d.next(2, 100))
	}
	others.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.allReleased()
	all := d.readAll(s)
	if end := all[len(all)-1]; end.Header.Last != d.last || end.Chain != d.chain {
		t.Errorf("the log ends at %d, want %d", end.Header.Last, d.last)
	}
	if last, _, _ := r.get(); len(last) != len(all)-1 {
		t.Errorf("%d reports of %d positions", len(last), len(all)-1)
	}
}

// A vdisk that has nothing to do has no goroutine and little memory.
func TestIdle(t *testing.T) {
	const vdisks = 1000
	d := newDisk(t, 1, 0)
	sealers := aggregate.NewSealers(2, 0)
	pipes := make([]*aggregate.Pipeline, vdisks)
	memory := func() uint64 {
		runtime.GC()
		runtime.GC() // the first only ages what pools hold
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	goroutines, before := runtime.NumGoroutine(), memory()
	for i := range pipes {
		pipes[i], _ = d.start(aggregate.Config{Sealers: sealers}, d.after())
		if err := pipes[i].Barrier(t.Context(), crypto.KindBarrier, d.head); err != nil {
			t.Fatal(err)
		}
	}
	if each := int(memory()-before) / vdisks; each > 8<<10 {
		t.Errorf("an idle pipeline, with what the test's store keeps of it, takes %d bytes", each)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
	}
	for _, p := range pipes {
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// An aggregation above the memory bound is let through alone.
func TestAboveMemory(t *testing.T) {
	d := newDisk(t, 1, 0)
	s := d.after()
	p, _ := d.start(aggregate.Config{MaxRecords: 1, Sealers: aggregate.NewSealers(2, 1)}, s)
	for range 5 {
		mustAppend(t, p, d.next(1, 1000))
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.end() != 6 {
		t.Errorf("published up to %d, want 6", s.end())
	}
}

// The genesis is committed, or reported as not.
func TestGenesis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, 2, 1)
		a, err := d.read(d.genesis, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Next(diskName); got != d.head || got.Chain != tlog.ChainStart(diskName) {
			t.Errorf("head of the decoded genesis %+v, want %+v", got, d.head)
		}
		if g := a.Header.Genesis; g.Name != diskName || !bytes.Equal(g.WrappedKey, d.wrapped) {
			t.Errorf("genesis %+v", g)
		}
		h := d.head
		h.Position = 0
		g := crypto.Genesis{Name: diskName, BlockSize: 4096}
		failing := newStore(t)
		failing.failAt = 1
		if _, err := aggregate.Genesis(t.Context(), h, g, d.key, d.code.Encode, failing); !errors.Is(err, errStore) {
			t.Errorf("failing store: %v", err)
		}
		hung := newStore(t)
		hung.hang = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := aggregate.Genesis(ctx, h, g, d.key, d.code.Encode, hung); tlog.ClassOf(err) != tlog.Fatal || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hung store: %v", err)
		}
		g.Name = "other"
		if _, err := aggregate.Genesis(t.Context(), h, g, d.key, d.code.Encode, newStore(t)); err == nil {
			t.Error("genesis of another name")
		}
	})
}
