package stor_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"tlog"
	"tlog/crypto"
	"tlog/stor"
	"tlog/stor/file"
)

// envelope is how cmd gives a pool the real envelope.
func envelope(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{
		Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body,
	}, nil
}

// limping stores nothing once told so, and tells what it stored.
type limping struct {
	stor.Server
	stop   bool
	stored chan struct{}
}

func (l *limping) Append(ctx context.Context, r *stor.AppendRequest, done func(stor.Meta, error)) {
	if l.stop {
		done(stor.Meta{}, errLost)
		return
	}
	l.Server.Append(ctx, r, func(m stor.Meta, err error) {
		done(m, err)
		l.stored <- struct{}{}
	})
}

// A takeover writes shards again that no server has: with the real envelope,
// on real directories, they are what was sealed, byte by byte.
func TestRebuiltShardsAreTheSealedOnes(t *testing.T) {
	dir := t.TempDir()
	appended := make(chan struct{}, 64)
	open := func() (list []stor.Server) {
		for i := range 6 {
			s, err := file.Open(filepath.Join(dir, fmt.Sprint(i)), file.Options{})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, &limping{Server: s, stored: appended})
		}
		return list
	}
	cfg := stor.Config{K: 4, M: 2, Check: envelope}
	servers := open()
	if _, err := stor.Init(t.Context(), cfg, servers); err != nil {
		t.Fatal(err)
	}
	pool, err := stor.Open(t.Context(), cfg, servers)
	if err != nil {
		t.Fatal(err)
	}
	vdisk := tlog.UUID{9}
	l, err := pool.Takeover(t.Context(), vdisk, accept)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[tlog.Position]map[int][]byte{}
	var prev tlog.Hash
	publish := func(pos tlog.Position) <-chan error {
		s := sealReal(t, pool, vdisk, pos)
		prev = s.Chain(prev)
		stored[pos] = map[int][]byte{}
		for i := range 6 {
			head, body := s.Shard(i)
			stored[pos][i] = append(bytes.Clone(head), body...)
		}
		done := make(chan error, 1)
		l.Publish(pos, prev, s, func(err error) { done <- err })
		return done
	}
	if err := <-publish(1); err != nil {
		t.Fatal(err)
	}
	servers[1].(*limping).stop, servers[4].(*limping).stop = true, true
	done := publish(2)
	for range 6 + 4 {
		<-appended
	}
	l.Close()
	if err := <-done; tlog.ClassOf(err) != tlog.Fatal {
		t.Fatalf("acknowledged with four shards: %v", err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	if pool, err = stor.Open(t.Context(), cfg, open()); err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if l, err = pool.Takeover(t.Context(), vdisk, accept); err != nil {
		t.Fatal(err)
	}
	if got := l.View().Head(); got != 2 {
		t.Fatalf("head %d", got)
	}
	l.Close()
	if damaged, err := l.View().Inspect(t.Context(), 2); err != nil || len(damaged) > 0 {
		t.Errorf("%v, %v", damaged, err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range open() {
		metas, err := s.Metas(t.Context(), vdisk, 1, 2)
		if err != nil || len(metas) != 2 {
			t.Fatalf("%s: %v, %v", s.Name(), metas, err)
		}
		for _, m := range metas {
			b, err := s.Shard(t.Context(), vdisk, m.Position, 0)
			if err != nil || !bytes.Equal(b, stored[m.Position][m.Index]) {
				t.Errorf("%s: position %d, index %d is not what was sealed: %v", s.Name(), m.Position, m.Index, err)
			}
		}
		if err := s.Close(); err != nil && !errors.Is(err, errLost) {
			t.Error(err)
		}
	}
}

func sealReal(t *testing.T, pool *stor.Pool, vdisk tlog.UUID, pos tlog.Position) *crypto.Sealed {
	ring, err := crypto.CreateKeyFile(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	key, wrapped, err := ring.NewDataKey(vdisk)
	if err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte{byte(pos)}, 5000)
	h := crypto.Header{
		Kind: crypto.KindData, Vdisk: vdisk, Position: pos, First: 1, Last: 1, Count: 1,
		PlainLength: uint32(len(payload)), StoredLength: uint32(len(payload)), K: 4, M: 2, KeyID: key.ID,
	}
	if pos == 1 {
		h.Kind, h.Last, h.Count = crypto.KindGenesis, 0, 0
		h.Genesis = &crypto.Genesis{Name: "disk", BlockSize: 4096, W: 6, WrappedKey: wrapped}
	}
	s, err := crypto.Seal(key, h, payload, pool.Encode, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
