package stor_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"tlog"
	"tlog/stor"
)

func testConfig(k, m, w int) stor.Config {
	return stor.Config{K: k, M: m, MinShards: w, Check: fakeCheck, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// fixture is a pool over fakes, and what has been written to it.
type fixture struct {
	t     testing.TB
	cfg   stor.Config
	fakes []*fakeServer
	pool  *stor.Pool
	vdisk tlog.UUID
	chain []*sealed // by position − 1: what was published
	data  [][]byte
}

func newFixture(t testing.TB, k, m, w, p int) *fixture {
	f := &fixture{t: t, cfg: testConfig(k, m, w), vdisk: tlog.UUID{1, 2, 3}}
	for i := range p {
		f.fakes = append(f.fakes, newFake(t, fmt.Sprintf("s%d", i)))
	}
	if _, err := stor.Init(t.Context(), f.cfg, f.servers()); err != nil {
		t.Fatal(err)
	}
	f.open()
	return f
}

func (f *fixture) servers() []stor.Server {
	var list []stor.Server
	for _, s := range f.fakes {
		list = append(list, s)
	}
	return list
}

// open opens the pool; reopen does so after a crash of everything but the servers.
func (f *fixture) open() {
	f.t.Helper()
	p, err := stor.Open(f.t.Context(), f.cfg, f.servers())
	if err != nil {
		f.t.Fatal(err)
	}
	f.pool = p
}

func (f *fixture) reopen() {
	f.close()
	for _, s := range f.fakes {
		s.set(func() { s.closed = false })
	}
	f.open()
}

func (f *fixture) close() {
	if err := f.pool.Close(); err != nil {
		f.t.Error(err)
	}
}

func accept(context.Context, *stor.View, *stor.Fetched) error { return nil }

func (f *fixture) takeover() *stor.Log {
	f.t.Helper()
	l, err := f.pool.Takeover(f.t.Context(), f.vdisk, accept)
	if err != nil {
		f.t.Fatal(err)
	}
	// What was not adopted is not part of the chain any more.
	f.chain = f.chain[:l.View().Head()]
	f.data = f.data[:l.View().Head()]
	return l
}

// publish appends the next position, and gives the channel of its outcome.
func (f *fixture) publish(l *stor.Log, size int) <-chan error {
	pos := tlog.Position(len(f.chain) + 1)
	var prev tlog.Hash
	if pos > 1 {
		prev = f.chain[pos-2].digest
	}
	data := bytes.Repeat([]byte(fmt.Sprintf("position %d epoch %d ", pos, l.Epoch())), size/16+1)[:size]
	s := seal(f.t, f.pool, f.vdisk, pos, prev, data)
	f.chain = append(f.chain, s)
	f.data = append(f.data, data)
	done := make(chan error, 2)
	l.Publish(pos, s.digest, s, func(err error) { done <- err })
	return done
}

func (f *fixture) commit(l *stor.Log, n int) {
	f.t.Helper()
	for range n {
		if err := <-f.publish(l, 1000); err != nil {
			f.t.Fatal(err)
		}
	}
}

// verify reads the whole log back and compares it with what was published.
func (f *fixture) verify() *stor.View {
	f.t.Helper()
	v, err := f.pool.Survey(f.t.Context(), f.vdisk)
	if err != nil {
		f.t.Fatal(err)
	}
	if got, want := v.Head(), tlog.Position(len(f.chain)); got != want {
		f.t.Fatalf("head %d, want %d", got, want)
	}
	var m stor.Memory
	for pos := tlog.Position(1); pos <= v.Head(); pos++ {
		mine, err := v.Read(f.t.Context(), pos)
		if err != nil {
			f.t.Fatal(err)
		}
		lent, err := v.ReadInto(f.t.Context(), pos, &m)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, r := range []*stor.Fetched{mine, lent} {
			if want := f.data[pos-1]; r.Digest != f.chain[pos-1].digest || !bytes.Equal(r.Data[:len(want)], want) || !bytes.Equal(r.Head, mine.Head) {
				f.t.Fatalf("position %d: %.20q, want %.20q", pos, r.Data, want)
			}
		}
	}
	return v
}
