package takeover_test

import (
	"bytes"
	"reflect"
	"testing"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
)

// A clone does what its original does, and leaves it alone, wherever it is
// taken in any schedule.
func TestClonesDoTheSame(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t, seed, 2, 1, 3, 4)
		w.twins = true
		w.loss = 12
		lost := map[int]bool{}
		for range 400 {
			w.turn(int(seed%3), lost)
		}
		w.epilogue(lost)
	}
}

// machine is what both machines offer.
type machine[M, E, A any] interface {
	Step(E) []A
	Clone() M
	AppendState([]byte) []byte
}

func stepTwins[M machine[M, E, A], E, A any](w *world, m M, e E) []A {
	if !w.twins {
		return m.Step(e)
	}
	clone, before := m.Clone(), m.Clone()
	if !reflect.DeepEqual(m, clone) {
		w.fatal("a clone differs: %+v, %+v", m, clone)
	}
	got := clone.Step(e)
	if !reflect.DeepEqual(m, before) {
		w.fatal("%+v: stepping a clone changed its original", e)
	}
	if want := m.Step(e); !reflect.DeepEqual(got, want) {
		w.fatal("%+v: a clone does %+v, its original %+v", e, got, want)
	}
	if !bytes.Equal(m.AppendState(nil), clone.AppendState(nil)) {
		w.fatal("%+v: a clone and its original tell different states", e)
	}
	return got
}

func (w *world) stepFind(m *takeover.Machine, e takeover.Event) []takeover.Action {
	return stepTwins(w, m, e)
}

func (w *world) stepLog(m *appending.Machine, e appending.Event) []appending.Action {
	return stepTwins(w, m, e)
}

// Machines that would do different things tell different states.
func TestStatesTellMachinesApart(t *testing.T) {
	cfg := takeover.Config{P: 2, K: 1, N: 2, W: 2, R: 1, Fence: true}
	a, b := tlog.Hash{1}, tlog.Hash{2}
	control := []takeover.Event{takeover.Start{}, takeover.ControlRead{Server: 0, Round: 1}, takeover.ControlRead{Server: 1, Round: 1}}
	fenced := append(control[:3:3], takeover.Fenced{Server: 0, Round: 2, Head: 2}, takeover.Fenced{Server: 1, Round: 2, Head: 2})
	metas := func(epoch tlog.Epoch, digest tlog.Hash) []takeover.Event {
		return append(fenced[:5:5],
			takeover.MetasRead{Server: 0, Round: 3, Metas: []takeover.Meta{{Position: 1, Epoch: epoch, Digest: digest}}},
			takeover.MetasRead{Server: 1, Round: 3, Metas: []takeover.Meta{{Position: 1, Epoch: 1, Digest: b, Index: 1}}})
	}
	claimed := metas(1, a)
	read := func(e takeover.ShardRead) []takeover.Event { return append(claimed[:7:7], e) }
	seen := map[string]int{}
	for i, events := range [][]takeover.Event{
		{},
		control[:1],
		control[:2],
		append(control[:1:1], takeover.Failed{Server: 0, Round: 1}),
		control,
		append(control[:3:3], takeover.Refused{Server: 0, Round: 2, Epoch: 7}),
		fenced[:4],
		append(fenced[:4:4], takeover.GraceOver{Round: 2}),
		fenced,
		claimed[:6],
		claimed,
		metas(1, b),
		metas(2, a),
		read(takeover.ShardRead{Server: 0, Round: 4}),
		read(takeover.ShardRead{Server: 1, Round: 4, Good: true, Digest: b, Index: 1}),
		read(takeover.ShardRead{Server: 0, Round: 4, Good: true, Digest: a}),
	} {
		m := takeover.New(cfg)
		for _, e := range events {
			m.Step(e)
		}
		state := string(m.AppendState(nil))
		if other, ok := seen[state]; ok {
			t.Errorf("the machines of rows %d and %d tell the same state", other, i)
		}
		seen[state] = i
	}
}
