package takeover_test

import (
	"slices"
	"testing"

	"tlog"
	"tlog/internal/core/takeover"
)

// Position 1 is on servers 0, 1 and 2 of four; server 0 was replaced and is
// empty, server 2 does not answer. What the new server 0 lacks must not pass
// for a vote: the log is there, and only one shard of it is seen.
func TestJoiningServerIsNoVoter(t *testing.T) {
	for _, c := range []struct {
		name    string
		joining []bool
		silent  int // −1: every server answers
		halted  bool
	}{
		{"joining, and one of the others is silent", []bool{true, false, false, false}, 2, true},
		{"joining, and all others answer", []bool{true, false, false, false}, -1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, fence := range []bool{false, true} {
				got := surveyed(t, takeover.Config{P: 4, K: 2, N: 3, W: 3, R: 3, Fence: fence, Joining: c.joining}, c.silent)
				switch got := got.(type) {
				case takeover.Done:
					if c.halted || got.Head != 1 {
						t.Errorf("fence %v: found head %d", fence, got.Head)
					}
				case takeover.Halt:
					if !c.halted || got.Reason != takeover.ReasonTooFew || got.Have != 2 || got.Need != 3 {
						t.Errorf("fence %v: %+v", fence, got)
					}
				}
			}
		})
	}
}

// surveyed answers a machine until it ends.
func surveyed(t *testing.T, cfg takeover.Config, silent int) takeover.Action {
	m := takeover.New(cfg)
	digest := tlog.Hash{1}
	queue := m.Step(takeover.Start{})
	for len(queue) > 0 {
		a := queue[0]
		queue = queue[1:]
		switch a.(type) {
		case takeover.Done, takeover.Halt:
			return a
		}
		queue = slices.Concat(queue, m.Step(reply(a, digest, silent)))
	}
	t.Fatal("the machine waits for nothing")
	return nil
}

func reply(a takeover.Action, digest tlog.Hash, silent int) takeover.Event {
	switch a := a.(type) {
	case takeover.ReadControl:
		if a.Server == silent {
			return takeover.Failed(a)
		}
		e := takeover.ControlRead{Server: a.Server, Round: a.Round}
		if a.Server == 1 || a.Server == 2 {
			e.Epoch, e.Head = 1, 1
		}
		return e
	case takeover.Fence:
		if a.Server == silent {
			return takeover.Failed{Server: a.Server, Round: a.Round}
		}
		e := takeover.Fenced{Server: a.Server, Round: a.Round}
		if a.Server == 1 || a.Server == 2 {
			e.Head = 1
		}
		return e
	case takeover.ReadMetas:
		e := takeover.MetasRead{Server: a.Server, Round: a.Round}
		if a.Server == 1 || a.Server == 2 {
			e.Metas = []takeover.Meta{{Position: 1, Epoch: 1, Digest: digest, Index: a.Server}}
		}
		return e
	case takeover.ReadShard:
		return takeover.ShardRead{Server: a.Server, Round: a.Round, Good: true, Digest: digest, Index: a.Server}
	case takeover.StartGrace:
		return takeover.GraceOver(a)
	case takeover.Verify:
		return takeover.Verified{OK: true}
	case takeover.Append:
		return takeover.Committed{Position: a.Position}
	}
	return takeover.BackedOff{}
}
