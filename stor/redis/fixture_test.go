package redis_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tlog"
	"tlog/stor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	me       = stor.Identity{Cookie: tlog.UUID{0xc0}, ConfigVersion: 1}
	owner    = stor.Owner{Epoch: 7, ID: tlog.UUID{0x0a}}
	vdisk    = tlog.UUID{0xd1}
	manifest = &stor.Manifest{Pool: tlog.UUID{9}, ConfigVersion: 1, K: 1, M: 0, W: 1, Durability: stor.DurabilityAlways, Cookies: []tlog.UUID{{0xc0}}}
)

// own initialises the server and fences the vdisk.
func own(t testing.TB, s stor.Server) {
	t.Helper()
	if err := s.Init(context.Background(), me.Cookie, manifest); err != nil {
		t.Fatalf("init: %v", err)
	}
	if _, err := s.Fence(context.Background(), &stor.FenceRequest{Identity: me, Owner: owner, Vdisk: vdisk}); err != nil {
		t.Fatalf("fence: %v", err)
	}
}

func shard(pos tlog.Position, size int) *stor.AppendRequest {
	return &stor.AppendRequest{
		Identity: me, Owner: owner, Vdisk: vdisk, Position: pos, Index: 3, Digest: tlog.Hash{1, byte(pos), byte(pos >> 8)},
		Commit: pos - 1, Head: []byte("head"), Body: bytes.Repeat([]byte{byte(pos)}, size),
	}
}

// start appends, and gives the channel of the answer.
func start(s stor.Server, ctx context.Context, q *stor.AppendRequest) chan error {
	answer := make(chan error, 2)
	s.Append(ctx, q, func(_ stor.Meta, err error) { answer <- err })
	return answer
}

func appendOne(t testing.TB, s stor.Server, q *stor.AppendRequest) error {
	t.Helper()
	select {
	case err := <-start(s, context.Background(), q):
		return err
	case <-time.After(30 * time.Second):
		t.Fatalf("append %d: no answer", q.Position)
		return nil
	}
}

func mustAppend(t testing.TB, s stor.Server, q *stor.AppendRequest) {
	t.Helper()
	if err := appendOne(t, s, q); err != nil {
		t.Fatalf("append %d: %v", q.Position, err)
	}
}

func mustRefuse(t testing.TB, err error, code stor.Code, want ...string) *stor.Refusal {
	t.Helper()
	var r *stor.Refusal
	if !errors.As(err, &r) || r.Code != code {
		t.Fatalf("got %v, want a refusal with code %d", err, code)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	return r
}

// eventually waits for another process, or for the clock.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for err := f(); err != nil; err = f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(err)
		}
	}
}
