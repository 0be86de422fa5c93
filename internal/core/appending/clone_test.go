package appending_test

import (
	"bytes"
	"reflect"
	"testing"

	"tlog"
	"tlog/internal/core/appending"
)

// stepTwins steps a machine and a clone of it: they do the same, and the clone
// leaves the machine alone.
func stepTwins(t *testing.T, m *appending.Machine, e appending.Event) []appending.Action {
	t.Helper()
	clone, before := m.Clone(), m.Clone()
	if !reflect.DeepEqual(m, clone) {
		t.Fatalf("a clone differs: %+v, %+v", m, clone)
	}
	got := clone.Step(e)
	if !reflect.DeepEqual(m, before) {
		t.Fatalf("%+v: stepping a clone changed its original", e)
	}
	if want := m.Step(e); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v: a clone does %+v, its original %+v", e, got, want)
	}
	if !bytes.Equal(m.AppendState(nil), clone.AppendState(nil)) {
		t.Fatalf("%+v: a clone and its original tell different states", e)
	}
	return got
}

// Machines that would do different things tell different states.
func TestStatesTellMachinesApart(t *testing.T) {
	cfg := appending.Config{P: 4, N: 3, W: 3, Epoch: 5}
	damaged := []appending.Holding{{Index: 0}, {Index: -1}, {Index: -1}, {Index: -1}}
	good := []appending.Holding{{Index: 0, Valid: true}, {Index: -1}, {Index: -1}, {Index: -1}}
	publish := appending.Publish{Position: 1}
	stored := appending.Replied{Server: 0, Position: 1, Outcome: appending.Stored}
	seen := map[string]int{}
	for i, events := range [][]appending.Event{
		{},
		{publish},
		{appending.Publish{Position: 1, Held: damaged}},
		{appending.Publish{Position: 1, Held: good}},
		{publish, stored},
		{publish, appending.Late{Position: 1}},
		{publish, appending.Late{Position: 1}, stored},
		{publish, appending.Replied{Server: 0, Position: 1}},
		{publish, appending.Replied{Server: 0, Position: 1}, appending.Due{Server: 0}},
		{publish, appending.Replied{Server: 0, Position: 1, Outcome: appending.Fenced, Epoch: 4}},
		{publish, appending.Publish{Position: 2}},
		{appending.Close{}},
	} {
		m := appending.New(cfg)
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

// How often a server has failed decides only how long is waited for it.
func TestStatesForgetFailures(t *testing.T) {
	m := appending.New(appending.Config{P: 3, N: 3, W: 3, Epoch: 5})
	m.Step(appending.Publish{Position: 1})
	fail := func() []byte {
		m.Step(appending.Replied{Server: 0, Position: tlog.Position(1)})
		m.Step(appending.Due{Server: 0})
		m.Step(appending.Probed{Server: 0, OK: true})
		return m.AppendState(nil)
	}
	if first, second := fail(), fail(); !bytes.Equal(first, second) {
		t.Errorf("after one failure %x, after two %x", first, second)
	}
}
