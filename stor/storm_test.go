package stor_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"tlog"
	"tlog/stor"
)

// Owners come and go while servers fail in every way; after each round the
// log, read from storage alone, holds everything that was acknowledged, and
// nothing that was not sent.
func TestStorm(t *testing.T) {
	for _, c := range []struct {
		name       string
		k, m, w, p int
	}{
		{"4+2 with a spare", 4, 2, 0, 7},
		{"2+1", 2, 1, 0, 3},
		{"1+1 with two spares", 1, 1, 0, 4},
		{"4+2, min-shards 5", 4, 2, 5, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(15) {
				synctest.Test(t, func(t *testing.T) {
					s := &storm{fixture: newFixture(t, c.k, c.m, c.w, c.p), rng: rand.New(rand.NewPCG(seed, 2))}
					defer func() { s.close() }()
					for range 12 {
						s.round()
					}
					if s.acked == 0 {
						t.Error("nothing was acknowledged")
					}
				})
			}
		})
	}
}

type storm struct {
	*fixture
	rng   *rand.Rand
	acked tlog.Position
	log   *stor.Log
}

// round is one owner's life.
func (s *storm) round() {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Hour)
	defer cancel()
	l, err := s.pool.Takeover(ctx, s.vdisk, accept)
	if err != nil {
		s.t.Fatal(err)
	}
	head := l.View().Head()
	if head < s.acked || head > tlog.Position(len(s.chain)) {
		s.t.Fatalf("the log ends at %d; %d positions were acknowledged, %d sent", head, s.acked, len(s.chain))
	}
	s.chain, s.data = s.chain[:head], s.data[:head]
	if s.log != nil { // the one before, perhaps still alive
		s.log.Close()
	}
	s.log = l
	var waits []<-chan error
	for range s.rng.IntN(12) {
		s.fault()
		waits = append(waits, s.publish(l, 200))
		if s.rng.IntN(2) == 0 {
			<-time.After(time.Duration(s.rng.IntN(3000)) * time.Millisecond)
		}
	}
	first := s.rng.IntN(2) == 0
	if first {
		l.Close()
	}
	s.heal()
	if !first && s.rng.IntN(2) == 0 { // all goes on by itself
		for i, w := range waits {
			if err := <-w; err != nil {
				s.t.Fatalf("position %d: %v", int(head)+i+1, err)
			}
		}
		s.acked = head + tlog.Position(len(waits))
	}
	for i, w := range waits { // in order: the first that is not is the last
		select {
		case err := <-w:
			if err == nil {
				s.acked = max(s.acked, head+tlog.Position(i)+1)
			}
		default:
		}
	}
	if s.rng.IntN(3) == 0 {
		l.Close()
		s.log = nil
		s.reopen()
	}
}

// fault changes one server's.
func (s *storm) fault() {
	f := s.fakes[s.rng.IntN(len(s.fakes))]
	kind := s.rng.IntN(8)
	f.set(func() {
		f.down, f.hang, f.hangData, f.refuse, f.after = nil, false, false, nil, nil
		switch kind {
		case 0:
			f.down = errLost
		case 1:
			f.hang = true
		case 2:
			f.hangData = true
		case 3:
			f.refuse = func(*stor.AppendRequest) error { return f.refusal(stor.Full) }
		case 4:
			f.refuse = func(*stor.AppendRequest) error { return f.refusal(stor.Busy) }
		case 5:
			f.after = func(*stor.AppendRequest) error { return errLost }
		}
	})
}
