package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tlog"
	"tlog/internal/sim/store"
	"tlog/stor"
	"tlog/stor/memory"
)

var (
	vdisk  = tlog.UUID{9}
	cookie = tlog.UUID{1}
)

const config = 2

func initialise(t testing.TB, s stor.Server) {
	t.Helper()
	m := &stor.Manifest{Pool: tlog.UUID{2}, ConfigVersion: config, K: 2, M: 1, W: 3, Durability: stor.DurabilityMemory, Cookies: []tlog.UUID{cookie, {3}, {4}}}
	if err := s.Init(t.Context(), cookie, m); err != nil {
		t.Fatal(err)
	}
}

// compare makes the same random calls of a server and of the model, and wants
// the same answers.
func compare(t *testing.T, s stor.Server, seed uint64, calls int) {
	t.Helper()
	initialise(t, s)
	m := store.New("model", cookie, config)
	r := rand.New(rand.NewPCG(seed, 0))
	seen := map[string]int{}
	for i := range calls {
		call, got, want := step(t.Context(), r, s, m)
		if got != want {
			t.Fatalf("seed %d, call %d, %s:\n got %s\nwant %s", seed, i, call, got, want)
		}
		seen[want[:min(len(want), 4)]]++
	}
	if len(seen) < 8 {
		t.Errorf("only %d kinds of answers in %d calls: %v", len(seen), calls, seen)
	}
}

func identity(r *rand.Rand) stor.Identity {
	id := stor.Identity{Cookie: cookie, ConfigVersion: config + uint64(r.IntN(2))}
	switch r.IntN(40) {
	case 0:
		id.Cookie = tlog.UUID{8}
	case 1:
		id.ConfigVersion = config - 1
	}
	return id
}

// owner is near the one that is held, so that calls succeed often.
func owner(r *rand.Rand, held stor.Owner) stor.Owner {
	o := held
	switch r.IntN(12) {
	case 0:
		o.Epoch++
		o.ID = tlog.UUID{byte(r.IntN(3) + 1)}
	case 1:
		o.ID = tlog.UUID{byte(r.IntN(3) + 1)}
	case 2:
		o.Epoch -= min(o.Epoch-min(o.Epoch, 1), 1)
	}
	o.Epoch = max(o.Epoch, 1)
	if o.ID.IsZero() {
		o.ID = tlog.UUID{1}
	}
	return o
}

func step(ctx context.Context, r *rand.Rand, s stor.Server, m *store.Store) (call, got, want string) {
	pos := tlog.Position(1 + r.IntN(6))
	switch r.IntN(10) {
	case 0:
		q := stor.FenceRequest{Identity: identity(r), Owner: owner(r, m.Control().Owner), Vdisk: vdisk}
		c, err := s.Fence(ctx, &q)
		d, werr := m.Fence(&q)
		return fmt.Sprintf("fence %+v", q), control(c, err), control(d, werr)
	case 1:
		c, err := s.Control(ctx, vdisk)
		return "control", "C" + control(c, err), "C" + control(m.Control(), nil)
	case 2:
		to := pos + tlog.Position(r.IntN(6))
		metas, err := s.Metas(ctx, vdisk, pos, to)
		return fmt.Sprintf("metas %d to %d", pos, to), fmt.Sprint("M", metas, err), fmt.Sprint("M", m.Metas(pos, to), nil)
	case 3:
		b, err := s.Shard(ctx, vdisk, pos, 0)
		w, ok := m.Shard(pos)
		return fmt.Sprintf("shard %d", pos), fmt.Sprintf("S%x %v", b, errors.Is(err, stor.ErrAbsent)), fmt.Sprintf("S%x %v", w, !ok)
	}
	q := stor.AppendRequest{
		Identity: identity(r), Owner: owner(r, m.Control().Owner), Vdisk: vdisk, Position: pos, Index: r.IntN(3),
		Digest: tlog.Hash{byte(r.IntN(3))}, Commit: tlog.Position(r.IntN(4)), Replace: r.IntN(6) == 0,
	}
	if r.IntN(5) > 0 {
		q.Head, q.Body = []byte("head"), bytes.Repeat([]byte{byte(r.Uint32())}, 1+r.IntN(5))
	}
	var meta stor.Meta
	var err error
	done := make(chan struct{})
	s.Append(ctx, &q, func(m stor.Meta, e error) { meta, err = m, e; close(done) })
	<-done
	w, werr := m.Append(&q)
	return fmt.Sprintf("append %+v", q), appended(meta, err), appended(w, werr)
}

func control(c stor.Control, err error) string {
	if err != nil {
		return refused(err)
	}
	return fmt.Sprintf("ok %+v", c)
}

func appended(m stor.Meta, err error) string {
	if err != nil {
		return refused(err)
	}
	return fmt.Sprintf("is %+v", m)
}

func refused(err error) string {
	var r *stor.Refusal
	if !errors.As(err, &r) {
		return "error: " + err.Error()
	}
	return fmt.Sprintf("r%03d owner %+v index %d", r.Code, r.Owner, r.Index)
}

func TestLikeMemory(t *testing.T) {
	s, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	compare(t, s, 1, 2000)
}

// A crash keeps the oldest of what was not synced, as far as it is told.
func TestCrash(t *testing.T) {
	for keep := range 4 {
		m := store.New("model", cookie, config)
		id := stor.Identity{Cookie: cookie, ConfigVersion: config}
		own := stor.Owner{Epoch: 1, ID: tlog.UUID{1}}
		if _, err := m.Fence(&stor.FenceRequest{Identity: id, Owner: own}); err != nil {
			t.Fatal(err)
		}
		m.Sync(m.Pending())
		for p := range tlog.Position(3) {
			if _, err := m.Append(&stor.AppendRequest{Identity: id, Owner: own, Position: p + 1, Digest: tlog.Hash{1}, Body: []byte{1}}); err != nil {
				t.Fatal(err)
			}
		}
		m.Crash(keep)
		if got := len(m.Metas(1, 9)); got != keep || m.Pending() != 0 || m.Control().Owner != own || int(m.Control().Head) != keep {
			t.Errorf("kept %d: %d metas, %d pending, %+v", keep, got, m.Pending(), m.Control())
		}
	}
}

func TestCopyAndWipe(t *testing.T) {
	m := store.New("model", cookie, config)
	id := stor.Identity{Cookie: cookie, ConfigVersion: config}
	old := m.Copy()
	fence := &stor.FenceRequest{Identity: id, Owner: stor.Owner{Epoch: 7, ID: tlog.UUID{1}}}
	if _, err := m.Fence(fence); err != nil {
		t.Fatal(err)
	}
	m.Sync(1)
	m.Restore(old)
	if got := m.Control(); got != (stor.Control{}) {
		t.Errorf("rolled back: %+v", got)
	}
	m.Wipe()
	var r *stor.Refusal
	if _, err := m.Fence(fence); !errors.As(err, &r) || r.Code != stor.WrongStore {
		t.Errorf("wiped: got %v, want wrong store", err)
	}
	if !slices.Equal(m.Metas(1, 9), nil) || !m.Cookie().IsZero() {
		t.Error("a wiped server holds something")
	}
}
