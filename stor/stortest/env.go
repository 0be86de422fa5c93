package stortest

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"tlog"
	"tlog/stor"
)

// patience is how long any one answer may take. It is generous: the suite also
// runs on slow and shared machines.
const patience = 30 * time.Second

// env is one test's server and the words in which the tests are written.
// Helpers whose name begins with must end the test when the server disagrees.
type env struct {
	*testing.T
	b Backend
	s stor.Server
}

var (
	cookie = tlog.UUID{0xc0, 1}
	vdiskA = tlog.UUID{0xa}
	vdiskB = tlog.UUID{0xb}
	me     = stor.Owner{Epoch: 3, ID: tlog.UUID{0x01}}
	other  = stor.Owner{Epoch: 3, ID: tlog.UUID{0x02}}
	next   = stor.Owner{Epoch: 4, ID: tlog.UUID{0x02}}
)

func manifest(version uint64) *stor.Manifest {
	return &stor.Manifest{
		Pool: tlog.UUID{0x9}, ConfigVersion: version, K: 2, M: 1, W: 3,
		Durability: stor.DurabilityAlways, Cookies: []tlog.UUID{{7}, cookie, {8}, {9}},
	}
}

func (e *env) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	e.Cleanup(cancel)
	return ctx
}

// initialised makes the server one of a pool, under config version 1.
func (e *env) initialised() *env {
	e.Helper()
	if err := e.s.Init(e.context(), cookie, manifest(1)); err != nil {
		e.Fatalf("init: %v", err)
	}
	return e
}

// owned is initialised, and fences vdiskA for me.
func (e *env) owned() *env {
	e.Helper()
	e.initialised().mustFence(vdiskA, me)
	return e
}

// reopens restarts the server, if what it holds can outlive it.
func (e *env) reopens() {
	e.Helper()
	if e.b.Reopen != nil {
		e.s = e.b.Reopen(e.T, e.s)
	}
}

func identity() stor.Identity { return stor.Identity{Cookie: cookie, ConfigVersion: 1} }

func (e *env) fence(v tlog.UUID, o stor.Owner) (stor.Control, error) {
	return e.s.Fence(e.context(), &stor.FenceRequest{Identity: identity(), Owner: o, Vdisk: v})
}

func (e *env) mustFence(v tlog.UUID, o stor.Owner) stor.Control {
	e.Helper()
	c, err := e.fence(v, o)
	if err != nil {
		e.Fatalf("fence %v for epoch %d: %v", v, o.Epoch, err)
	}
	if c.Owner != o {
		e.Fatalf("fence answered owner %v, want %v", c.Owner, o)
	}
	return c
}

// request is an append of vdiskA by me at pos with the content named by d.
func request(pos tlog.Position, d byte) *stor.AppendRequest {
	return &stor.AppendRequest{
		Identity: identity(), Owner: me, Vdisk: vdiskA, Position: pos, Index: 1, Digest: tlog.Hash{d},
		Head: []byte{'h', d}, Body: bytes.Repeat([]byte{d}, 20),
	}
}

func (e *env) append(r *stor.AppendRequest) (stor.Meta, error) {
	e.Helper()
	type answer struct {
		m   stor.Meta
		err error
	}
	answers := make(chan answer, 2)
	e.s.Append(e.context(), r, func(m stor.Meta, err error) { answers <- answer{m, err} })
	select {
	case a := <-answers:
		return a.m, a.err
	case <-time.After(2 * patience):
		e.Fatalf("append of position %d: no answer", r.Position)
		return stor.Meta{}, nil
	}
}

func (e *env) mustAppend(r *stor.AppendRequest) {
	e.Helper()
	m, err := e.append(r)
	if err != nil {
		e.Fatalf("append of position %d: %v", r.Position, err)
	}
	if want := metaOf(r); m != want {
		e.Fatalf("append answered %+v, want %+v", m, want)
	}
}

func metaOf(r *stor.AppendRequest) stor.Meta {
	return stor.Meta{Position: r.Position, Epoch: r.Epoch, Digest: r.Digest, Index: r.Index}
}

// mustRefuse checks that err is the server's own refusal with code.
func (e *env) mustRefuse(err error, code stor.Code) *stor.Refusal {
	e.Helper()
	var r *stor.Refusal
	if !errors.As(err, &r) {
		e.Fatalf("got %v, want a refusal with code %d", err, code)
	}
	if r.Code != code {
		e.Fatalf("refused with code %d (%v), want %d", r.Code, err, code)
	}
	if r.Server != e.s.Name() || r.Err == nil {
		e.Fatalf("refusal %+v does not name the server and the reason", r)
	}
	return r
}

func (e *env) mustMetas(v tlog.UUID, from, to tlog.Position, want ...stor.Meta) {
	e.Helper()
	got, err := e.s.Metas(e.context(), v, from, to)
	if err != nil {
		e.Fatalf("metas %d…%d: %v", from, to, err)
	}
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		e.Fatalf("metas %d…%d: got %v, want %v", from, to, got, want)
	}
}

func (e *env) shard(v tlog.UUID, pos tlog.Position, limit int) []byte {
	e.Helper()
	b, err := e.s.Shard(e.context(), v, pos, limit)
	if err != nil {
		e.Fatalf("shard %d: %v", pos, err)
	}
	e.mustFill(v, pos, b, limit)
	if limit == 0 {
		e.mustRange(v, pos, b)
	}
	return b
}

// mustRange reads parts of a shard that is known, all at once: its begin, middle
// and end; and then one that goes beyond it.
func (e *env) mustRange(v tlog.UUID, pos tlog.Position, whole []byte) {
	e.Helper()
	r, can := e.s.(stor.Ranger)
	if !can {
		return
	}
	n := len(whole)
	var parts []stor.Range
	for _, part := range [][2]int{{0, 1}, {0, n}, {n / 3, n/3 + 1}, {n - 1, n}} {
		parts = append(parts, stor.Range{Off: part[0], B: make([]byte, part[1]-part[0])})
	}
	// Beside it a shard that is not there, and once more this one.
	again := []stor.Range{{Off: n / 2, B: make([]byte, n-n/2)}}
	all := []stor.ShardRanges{{Position: pos, Ranges: parts}, {Position: 1 << 40, Ranges: []stor.Range{{B: make([]byte, 1)}}}, {Position: pos, Ranges: again}}
	if err := r.Ranges(e.context(), v, all); err != nil || all[0].Err != nil || !errors.Is(all[1].Err, stor.ErrAbsent) || all[2].Err != nil {
		e.Fatalf("parts of shard %d: %v; %v, %v, %v", pos, err, all[0].Err, all[1].Err, all[2].Err)
	}
	parts = append(parts, again...)
	for _, p := range parts {
		if want := whole[p.Off:][:len(p.B)]; !bytes.Equal(p.B, want) {
			e.Fatalf("%d bytes from %d of shard %d are %.40q, want %.40q", len(p.B), p.Off, pos, p.B, want)
		}
	}
	for _, off := range []int{n - 1, n, n + 100} {
		beyond := []stor.ShardRanges{{Position: pos, Ranges: []stor.Range{{B: make([]byte, 1)}, {Off: off, B: make([]byte, 2)}}}}
		if err := r.Ranges(e.context(), v, beyond); err != nil || !errors.Is(beyond[0].Err, stor.ErrAbsent) {
			e.Fatalf("two bytes from %d of shard %d of %d: %v, %v", off, pos, n, err, beyond[0].Err)
		}
	}
}

// mustFill reads a shard that is known, whole or not, into no memory, into too
// little, and into enough, if the server can do that.
func (e *env) mustFill(v tlog.UUID, pos tlog.Position, want []byte, limit int) {
	e.Helper()
	f, can := e.s.(stor.Filler)
	for _, room := range []int{0, len(want) / 2, len(want) + 64<<10} {
		if !can {
			return
		}
		got, memory, err := f.Fill(e.context(), v, pos, make([]byte, room)[:0])
		if err != nil || len(got) < len(want) || !bytes.Equal(got[:len(want)], want) || limit == 0 && len(got) > len(want) {
			e.Fatalf("fill of shard %d: got %d bytes %.40q, %v, want %d bytes %.40q", pos, len(got), got, err, len(want), want)
		}
		if cap(memory) < len(got) || len(got) > 0 && !within(memory[:cap(memory)], got) {
			e.Fatalf("fill of shard %d: %d bytes do not lie in the memory of %d", pos, len(got), cap(memory))
		}
	}
}

// within reports whether part lies in all.
func within(all, part []byte) bool {
	for i := range all {
		if &all[i] == &part[0] {
			return len(all)-i >= len(part)
		}
	}
	return false
}

// mustHold checks meta and data of a position, as r stored them.
func (e *env) mustHold(r *stor.AppendRequest) {
	e.Helper()
	e.mustMetas(r.Vdisk, r.Position, r.Position, metaOf(r))
	want := append(append([]byte{}, r.Head...), r.Body...)
	if got := e.shard(r.Vdisk, r.Position, 0); !bytes.Equal(got, want) {
		e.Fatalf("shard %d: got %d bytes %.40q, want %d bytes %.40q", r.Position, len(got), got, len(want), want)
	}
}

func (e *env) mustBeAbsent(v tlog.UUID, pos tlog.Position) {
	e.Helper()
	e.mustMetas(v, pos, pos)
	if b, err := e.s.Shard(e.context(), v, pos, 0); !errors.Is(err, stor.ErrAbsent) {
		e.Fatalf("shard %d: got %d bytes, %v; want ErrAbsent", pos, len(b), err)
	}
	if f, can := e.s.(stor.Filler); can {
		if b, _, err := f.Fill(e.context(), v, pos, make([]byte, 100)); !errors.Is(err, stor.ErrAbsent) {
			e.Fatalf("fill of shard %d: got %d bytes, %v; want ErrAbsent", pos, len(b), err)
		}
	}
	if r, can := e.s.(stor.Ranger); can {
		part := []stor.ShardRanges{{Position: pos, Ranges: []stor.Range{{B: make([]byte, 10)}}}}
		if err := r.Ranges(e.context(), v, part); err != nil || !errors.Is(part[0].Err, stor.ErrAbsent) {
			e.Fatalf("part of shard %d: %v, %v; want ErrAbsent", pos, err, part[0].Err)
		}
	}
}

func (e *env) mustControl(v tlog.UUID, want stor.Control) {
	e.Helper()
	got, err := e.s.Control(e.context(), v)
	if err != nil || got != want {
		e.Fatalf("control: got %+v, %v; want %+v", got, err, want)
	}
}
