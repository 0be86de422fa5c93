package stortest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tlog"
	"tlog/stor"
)

var asyncTests = map[string]func(*env){
	"an ended context ends every method": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for name, err := range e.callAll(ctx) {
			if err == nil {
				e.Errorf("%s succeeded under an ended context", name)
			}
		}
		e.mustHold(request(1, 'a'))
		e.mustAppend(request(2, 'b'))
	},
	"a closed server answers with errors": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		if err := e.s.Close(); err != nil {
			e.Fatal(err)
		}
		for name, err := range e.callAll(e.context()) {
			if err == nil {
				e.Errorf("%s succeeded after Close", name)
			}
		}
		if err := e.s.Close(); err != nil {
			e.Errorf("second close: %v", err)
		}
	},
	"pipelined appends are each answered once": func(e *env) {
		e.owned()
		var requests []*stor.AppendRequest
		for p := tlog.Position(1); p <= 300; p++ {
			requests = append(requests, request(p, byte(p)))
		}
		for i, err := range e.appendAll(requests) {
			if err != nil {
				e.Fatalf("append %d: %v", i, err)
			}
		}
		for _, r := range requests {
			e.mustHold(r)
		}
	},
	"pipelined appends of one position are judged one after the other": func(e *env) {
		e.owned()
		var requests []*stor.AppendRequest
		for i := range 20 {
			requests = append(requests, request(1, byte('a'+i)))
		}
		won := 0
		for i, err := range e.appendAll(requests) {
			if err == nil {
				won++
				e.mustHold(requests[i])
			} else {
				e.mustRefuse(err, stor.Conflict)
			}
		}
		if won != 1 {
			e.Fatalf("%d digests of one epoch were accepted, want 1", won)
		}
	},
	"close resolves what is in flight": func(e *env) {
		e.owned()
		var requests []*stor.AppendRequest
		for p := tlog.Position(1); p <= 200; p++ {
			requests = append(requests, request(p, byte(p)))
		}
		b := e.startAll(requests)
		if err := e.s.Close(); err != nil {
			e.Fatal(err)
		}
		errs := b.wait()
		if e.b.Reopen == nil {
			return
		}
		e.reopens()
		for i, err := range errs {
			if err == nil {
				e.mustHold(requests[i])
			}
		}
	},
	"many callers at once":                   manyCallers,
	"after a fence no older append succeeds": fenceRace,
}

// callAll calls every method but Name and Close and gives its error.
func (e *env) callAll(ctx context.Context) map[string]error {
	e.Helper()
	errs := make(map[string]error)
	_, errs["Fence"] = e.s.Fence(ctx, &stor.FenceRequest{Identity: identity(), Owner: me, Vdisk: vdiskA})
	_, errs["Control"] = e.s.Control(ctx, vdiskA)
	_, errs["Metas"] = e.s.Metas(ctx, vdiskA, 1, 1)
	_, errs["Shard"] = e.s.Shard(ctx, vdiskA, 1, 0)
	if f, can := e.s.(stor.Filler); can {
		_, _, errs["Fill"] = f.Fill(ctx, vdiskA, 1, nil)
	}
	_, errs["Vdisks"] = e.s.Vdisks(ctx)
	_, _, errs["Identify"] = e.s.Identify(ctx)
	errs["Init"] = e.s.Init(ctx, cookie, manifest(1))
	_, errs["Space"] = e.s.Space(ctx)
	answered := make(chan error, 2)
	e.s.Append(ctx, request(9, 'z'), func(_ stor.Meta, err error) { answered <- err })
	select {
	case errs["Append"] = <-answered:
	case <-time.After(patience):
		e.Fatal("append: no answer")
	}
	return errs
}

// batch is a number of appends in flight.
type batch struct {
	e     *env
	errs  []error
	calls []atomic.Int32
	wg    sync.WaitGroup
}

// startAll appends rs without waiting in between.
func (e *env) startAll(rs []*stor.AppendRequest) *batch {
	b := &batch{e: e, errs: make([]error, len(rs)), calls: make([]atomic.Int32, len(rs))}
	ctx := e.context()
	b.wg.Add(len(rs))
	for i, r := range rs {
		e.s.Append(ctx, r, func(m stor.Meta, err error) {
			if b.calls[i].Add(1) != 1 {
				e.Errorf("append of position %d was answered twice", r.Position)
				return
			}
			if err == nil && m != metaOf(r) {
				err = fmt.Errorf("answered %+v, want %+v", m, metaOf(r))
			}
			b.errs[i] = err
			b.wg.Done()
		})
	}
	return b
}

// wait gives the errors in the order of the requests.
func (b *batch) wait() []error {
	b.e.Helper()
	all := make(chan struct{})
	go func() { b.wg.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(2 * patience):
		b.e.Fatal("appends were not answered")
	}
	return b.errs
}

func (e *env) appendAll(rs []*stor.AppendRequest) []error {
	e.Helper()
	return e.startAll(rs).wait()
}

// manyCallers has writers of a vdisk each, and readers that must never see
// a position whose data is not the one its meta names.
func manyCallers(e *env) {
	e.initialised()
	const writers, positions = 6, 30
	vdisk := func(w int) tlog.UUID { return tlog.UUID{0x77, byte(w)} }
	for w := range writers {
		e.mustFence(vdisk(w), me)
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			var rs []*stor.AppendRequest
			for p := tlog.Position(1); p <= positions; p++ {
				r := request(p, byte(p)+byte(w))
				r.Vdisk = vdisk(w)
				rs = append(rs, r)
			}
			b := e.startAll(rs)
			e.readAlong(vdisk(w), positions)
			b.wg.Wait()
			for i, err := range b.errs {
				if err != nil {
					e.Errorf("writer %d, position %d: %v", w, i+1, err)
				}
			}
		})
	}
	wg.Wait()
	for w := range writers {
		for p := tlog.Position(1); p <= positions; p++ {
			r := request(p, byte(p)+byte(w))
			r.Vdisk = vdisk(w)
			e.mustHold(r)
		}
	}
}

// readAlong reads what there is of a vdisk while it is written.
func (e *env) readAlong(v tlog.UUID, to tlog.Position) {
	ctx := e.context()
	for range 5 {
		ms, err := e.s.Metas(ctx, v, 1, to)
		if err != nil {
			e.Errorf("metas: %v", err)
		}
		for _, m := range ms {
			b, err := e.s.Shard(ctx, v, m.Position, 0)
			if err != nil || len(b) != 22 || b[1] != m.Digest[0] || b[21] != m.Digest[0] {
				e.Errorf("position %d: got %q, %v; its meta names %v", m.Position, b, err, m.Digest)
			}
		}
	}
}

// fenceRace fences in the middle of a stream of appends.
func fenceRace(e *env) {
	e.owned()
	var early, late []*stor.AppendRequest
	for p := tlog.Position(1); p <= 100; p++ {
		early = append(early, request(p, byte(p)))
		late = append(late, request(p+100, byte(p)))
	}
	b := e.startAll(early)
	c := e.mustFence(vdiskA, next)
	for i, err := range e.appendAll(late) {
		if err == nil {
			e.Errorf("position %d was accepted from the older epoch after the fence", late[i].Position)
		}
	}
	for i, err := range b.wait() {
		if err == nil {
			e.mustHold(early[i])
			if c.Head < early[i].Position {
				e.Errorf("position %d was accepted, but the fence answered head %d", early[i].Position, c.Head)
			}
		} else {
			e.mustRefuse(err, stor.Fenced)
		}
	}
	e.mustControl(vdiskA, c)
}
