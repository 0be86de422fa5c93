package stor_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/stor"
)

// ranging is a fake that gives parts of shards, some time after it was asked.
type ranging struct {
	*fakeServer
	after *time.Duration
	asked *atomic.Int64
}

func (r ranging) Ranges(ctx context.Context, vdisk tlog.UUID, shards []stor.ShardRanges) error {
	r.asked.Add(1)
	select {
	case <-time.After(*r.after):
	case <-ctx.Done():
		return ctx.Err()
	}
	for i := range shards {
		h := &shards[i]
		b, err := r.Shard(ctx, vdisk, h.Position, 0)
		h.Err = err
		for _, p := range h.Ranges {
			if err == nil && copy(p.B, b[min(p.Off, len(b)):]) < len(p.B) {
				h.Err = stor.ErrAbsent
			}
		}
	}
	return nil
}

// parted is a fixture of 4 and 2 shards, six positions, and servers that give
// parts when they are asked for.
type parted struct {
	*fixture
	servers []ranging
	view    *stor.View
}

func newParted(t *testing.T) *parted {
	return newPartedOf(t, 6, func(f *fixture) { f.commit(f.takeover(), 6) })
}

func newPartedOf(t *testing.T, servers int, write func(*fixture)) *parted {
	f := newFixture(t, 4, 2, 0, servers)
	p := &parted{fixture: f}
	write(f)
	p.close()
	var list []stor.Server
	for _, s := range f.fakes {
		s.set(func() { s.closed = false })
		r := ranging{s, new(time.Duration), new(atomic.Int64)}
		p.servers, list = append(p.servers, r), append(list, r)
	}
	var err error
	if f.pool, err = stor.Open(t.Context(), f.cfg, list); err != nil {
		t.Fatal(err)
	}
	p.view = p.verify()
	return p
}

// holder is the server that holds a data shard of a position.
func (p *parted) holder(pos tlog.Position, index int) int {
	for i, s := range p.fakes {
		if s.stored[p.vdisk][pos].meta.Index == index {
			return i
		}
	}
	p.t.Fatal("nobody holds it")
	return -1
}

// wanted is ranges of positions: a piece of one shard, and one that has parts of
// two.
func (p *parted) wanted(positions ...tlog.Position) (list []stor.Parts) {
	for _, pos := range positions {
		c := p.chain[pos-1]
		body := len(c.bodies[0])
		list = append(list, stor.Parts{
			Layout: stor.Layout{Position: pos, Digest: c.digest, Head: len(c.head) + 8, Shard: body},
			Parts:  []stor.Range{{Off: 10, B: make([]byte, 20)}, {Off: 2*body - 7, B: make([]byte, 30)}},
		})
	}
	return list
}

// compare tells which positions were read, and checks those.
func (p *parted) compare(list []stor.Parts) (read []bool) {
	p.t.Helper()
	for _, w := range list {
		read = append(read, w.Err == nil)
		for _, r := range w.Parts {
			if want := p.data[w.Position-1][r.Off:][:len(r.B)]; w.Err == nil && !bytes.Equal(r.B, want) {
				p.t.Errorf("position %d: %q from %d, want %q", w.Position, r.B, r.Off, want)
			}
		}
		if w.Err != nil && !errors.Is(w.Err, stor.ErrNoPart) {
			p.t.Errorf("position %d: %v", w.Position, w.Err)
		}
	}
	return read
}

// TestPartsOfManyPositions reads them in one request to each server.
func TestPartsOfManyPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParted(t)
		defer p.close()
		list := p.wanted(1, 2, 3, 4, 5, 6)
		list[2].Digest[0]++ // the log has another one there
		p.view.ReadParts(t.Context(), list)
		for i, ok := range p.compare(list) {
			if ok != (i != 2) {
				t.Errorf("position %d: %v", i+1, list[i].Err)
			}
		}
		for i, s := range p.servers {
			if n := s.asked.Load(); n > 1 {
				t.Errorf("server %d was asked %d times", i, n)
			}
		}
		lost := p.fakes[p.holder(4, 1)]
		lost.set(func() { delete(lost.stored[p.vdisk], 4) })
		list = p.wanted(4, 5)
		p.view.ReadParts(t.Context(), list)
		if read := p.compare(list); read[0] || !read[1] {
			t.Errorf("without a shard of the first: %v, %v", list[0].Err, list[1].Err)
		}
	})
}

// TestPartsOfServersThatTakeLong reads from a server that does not answer while
// the others do: only what it has is not read, and it is left alone for a while.
// What takes all of them long is waited for.
func TestPartsOfServersThatTakeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParted(t)
		defer p.close()
		slow := p.holder(1, 0)
		*p.servers[slow].after = time.Hour
		var all []tlog.Position
		has := map[tlog.Position]bool{}
		for pos := tlog.Position(1); pos <= 6; pos++ {
			all = append(all, pos)
			for index := range 3 { // of the four, what is wanted lies in those
				has[pos] = has[pos] || p.holder(pos, index) == slow
			}
		}
		for round := range 2 {
			began, list := time.Now(), p.wanted(all...)
			p.view.ReadParts(t.Context(), list)
			for i, ok := range p.compare(list) {
				if ok == has[all[i]] {
					t.Errorf("round %d: position %d: read: %v, the slow server has some of it: %v", round, i+1, ok, has[all[i]])
				}
			}
			if took := time.Since(began); round == 0 && (took == 0 || took > 5*time.Second) || round == 1 && took > 0 {
				t.Errorf("round %d took %v", round, took)
			}
		}
		synctest.Wait() // for the request that nobody waits for
		if n := p.servers[slow].asked.Load(); n != 1 {
			t.Errorf("the slow server was asked %d times", n)
		}
		<-time.After(time.Minute) // it is asked again
		for index := range 3 {    // one holds an index of all positions here
			*p.servers[p.holder(1, index)].after = time.Duration(index) * 1400 * time.Millisecond
		}
		list := p.wanted(all...)
		p.view.ReadParts(t.Context(), list)
		for i, ok := range p.compare(list) {
			if !ok {
				t.Errorf("all are slow: position %d: %v", i+1, list[i].Err)
			}
		}
	})
}

// TestPartsWithoutAskingWhere reads parts in a log that a server was away from for
// a while: first from those that have them as a rule, then, where it is known, from
// those that have them. A sample looks at one position, whatever is known.
func TestPartsWithoutAskingWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartedOf(t, 7, func(f *fixture) {
			l := f.takeover()
			f.commit(l, 3)
			f.fakes[2].set(func() { f.fakes[2].down = errLost })
			f.commit(l, 3)
			f.heal()
		})
		defer p.close()
		v, err := p.pool.Survey(t.Context(), p.vdisk)
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		for _, s := range p.fakes {
			s.set(func() {
				s.metas = func(list []stor.Meta) ([]stor.Meta, error) {
					asked.Add(int64(len(list)))
					return list, nil
				}
			})
		}
		list := p.wanted(1, 2, 3)
		if v.ReadParts(t.Context(), list); asked.Load() != 0 {
			t.Errorf("%d places were asked for", asked.Load())
		}
		for i, ok := range p.compare(list) {
			if !ok {
				t.Errorf("position %d: %v", i+1, list[i].Err)
			}
		}
		if damaged, err := v.Sample(t.Context(), 2, new(stor.Memory)); err != nil || len(damaged) > 0 || asked.Load() > 7 {
			t.Errorf("sample: %+v, %v; %d places were asked for", damaged, err, asked.Load())
		}
		if _, err := v.Read(t.Context(), 6); err != nil { // now it is known
			t.Fatal(err)
		}
		list = p.wanted(1, 2, 3, 4, 5, 6)
		v.ReadParts(t.Context(), list)
		for i, ok := range p.compare(list) {
			if !ok {
				t.Errorf("position %d, when its place is known: %v", i+1, list[i].Err)
			}
		}
		asked.Store(0)
		if damaged, err := v.Sample(t.Context(), 5, new(stor.Memory)); err != nil || len(damaged) > 0 || asked.Load() > 0 {
			t.Errorf("sample of a position that is known: %+v, %v; %d places were asked for", damaged, err, asked.Load())
		}
		for _, pos := range []tlog.Position{0, 7} {
			if _, err := v.Sample(t.Context(), pos, new(stor.Memory)); err == nil {
				t.Errorf("position %d is looked at", pos)
			}
		}
	})
}
