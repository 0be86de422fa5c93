package discard_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"tlog"
	"tlog/stor"
	"tlog/stor/discard"
	"tlog/stor/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each append is answered once, though not from within it, and none is kept.
func TestAnswersAndForgets(t *testing.T) {
	inner, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	s := discard.New(inner)
	const appends = 10_000
	answers := make(chan stor.Meta, appends)
	for i := range appends {
		r := &stor.AppendRequest{Owner: stor.Owner{Epoch: 7}, Vdisk: tlog.UUID{1}, Position: tlog.Position(i + 1), Index: 3, Digest: tlog.Hash{9}, Head: []byte("head")}
		s.Append(context.Background(), r, func(m stor.Meta, err error) {
			if err != nil {
				t.Error(err)
			}
			answers <- m
		})
	}
	if _, err := s.Shard(context.Background(), tlog.UUID{1}, 1, 0); !errors.Is(err, stor.ErrAbsent) {
		t.Errorf("reading a shard: %v, want %v", err, stor.ErrAbsent)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range appends { // in order, and all there when Close returns
		want := stor.Meta{Position: tlog.Position(i + 1), Epoch: 7, Digest: tlog.Hash{9}, Index: 3}
		select {
		case got := <-answers:
			if got != want {
				t.Fatalf("answer %d is %+v, want %+v", i, got, want)
			}
		default:
			t.Fatalf("%d answers, want %d", i, appends)
		}
	}
}
