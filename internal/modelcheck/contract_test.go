package modelcheck_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
	"tlog/internal/modelcheck"
	"tlog/stor"
	"tlog/stor/memory"
)

// A modelled shard server answers as a real one does, and holds the same.
func TestServersKeepTheContract(t *testing.T) {
	s, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := stor.Identity{Cookie: tlog.UUID{1}, ConfigVersion: 1}
	manifest := &stor.Manifest{
		Pool: tlog.UUID{2}, ConfigVersion: 1, K: 1, M: 1, W: 2, Durability: stor.DurabilityMemory, Cookies: []tlog.UUID{id.Cookie, {3}},
	}
	if err := s.Init(t.Context(), id.Cookie, manifest); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 0))
	seen := map[appending.Outcome]int{}
	for v := range byte(40) {
		c := &comparison{t, s, id, tlog.UUID{9, v}, modelcheck.NewContract()}
		for epoch := range uint8(12) {
			c.fence(epoch+uint8(rng.IntN(2)), uint8(rng.IntN(2)))
			for range rng.IntN(6) {
				seen[c.append(rng)]++
			}
			c.same()
		}
	}
	for _, o := range []appending.Outcome{appending.Stored, appending.HasIndex, appending.Fenced, appending.NoData, appending.Conflict} {
		if seen[o] < 20 {
			t.Errorf("outcome %d was seen %d times only", o, seen[o])
		}
	}
}

// comparison is one vdisk on a real and on a modelled server.
type comparison struct {
	*testing.T
	real  stor.Server
	id    stor.Identity
	vdisk tlog.UUID
	model *modelcheck.Contract
}

func (c *comparison) fence(epoch, owner uint8) {
	_, err := c.real.Fence(c.Context(), &stor.FenceRequest{
		Identity: c.id, Owner: stor.Owner{Epoch: tlog.Epoch(epoch), ID: tlog.UUID{owner + 1}}, Vdisk: c.vdisk,
	})
	if got, want := c.model.Fence(epoch, owner), err == nil; got != want {
		c.Fatalf("fence with epoch %d of %d: accepted %v, really %v (%v)", epoch, owner, got, want, err)
	}
}

func (c *comparison) append(rng *rand.Rand) appending.Outcome {
	epoch, _, _ := c.model.Control()
	if rng.IntN(8) == 0 {
		epoch += uint8(rng.IntN(3)) - 1
	}
	owner, pos, index, digest, commit := uint8(rng.IntN(2)), 1+uint8(rng.IntN(4)), uint8(rng.IntN(3)), 1+uint8(rng.IntN(2)), uint8(rng.IntN(4))
	data, replace := rng.IntN(4) > 0, rng.IntN(6) == 0
	r := &stor.AppendRequest{
		Identity: c.id, Owner: stor.Owner{Epoch: tlog.Epoch(epoch), ID: tlog.UUID{owner + 1}}, Vdisk: c.vdisk,
		Position: tlog.Position(pos), Index: int(index), Digest: tlog.Hash{digest}, Commit: tlog.Position(commit), Replace: replace,
	}
	if data {
		r.Head, r.Body = []byte{'h', digest}, []byte{index}
	}
	want, wantIndex, wantEpoch := answered(c.Context(), c.real, r)
	got, gotIndex, gotEpoch := c.model.Append(epoch, owner, pos, index, digest, commit, data, replace)
	switch {
	case got != want:
		c.Fatalf("append %+v: outcome %d, really %d", r, got, want)
	case (got == appending.Stored || got == appending.HasIndex) && gotIndex != wantIndex:
		c.Fatalf("append %+v: index %d, really %d", r, gotIndex, wantIndex)
	case got == appending.Fenced && gotEpoch != wantEpoch:
		c.Fatalf("append %+v: epoch %d, really %d", r, gotEpoch, wantEpoch)
	}
	return got
}

// answered is what a real server says.
func answered(ctx context.Context, s stor.Server, r *stor.AppendRequest) (o appending.Outcome, index int, epoch tlog.Epoch) {
	type answer struct {
		meta stor.Meta
		err  error
	}
	ch := make(chan answer, 1)
	s.Append(ctx, r, func(m stor.Meta, err error) { ch <- answer{m, err} })
	a := <-ch
	var refusal *stor.Refusal
	if !errors.As(a.err, &refusal) {
		if a.err != nil {
			return appending.Unknown, 0, 0
		}
		return appending.Stored, a.meta.Index, 0
	}
	o = map[stor.Code]appending.Outcome{
		stor.Fenced: appending.Fenced, stor.HasIndex: appending.HasIndex, stor.NoData: appending.NoData, stor.Conflict: appending.Conflict,
	}[refusal.Code]
	return o, refusal.Index, refusal.Owner.Epoch
}

// same compares what is held.
func (c *comparison) same() {
	control, err := c.real.Control(c.Context(), c.vdisk)
	if err != nil {
		c.Fatal(err)
	}
	epoch, head, commit := c.model.Control()
	if tlog.Epoch(epoch) != control.Epoch || tlog.Position(head) != control.Head || tlog.Position(commit) != control.Commit {
		c.Fatalf("epoch %d, head %d, commit %d; really %+v", epoch, head, commit, control)
	}
	metas, err := c.real.Metas(c.Context(), c.vdisk, 1, 9)
	if err != nil {
		c.Fatal(err)
	}
	var want []takeover.Meta
	for _, m := range metas {
		want = append(want, takeover.Meta(m))
	}
	if got := c.model.Metas(); !slices.Equal(got, want) {
		c.Fatalf("holds %+v; really %+v", got, want)
	}
}
