package takeover_test

import (
	"fmt"
	"strings"
	"testing"

	"tlog"
	"tlog/internal/core/takeover"
)

// stored says what a server holds, as text: "1:A.0@1 2:B.0@1!" is digest A of
// position 1 at index 0, accepted in epoch 1, and B of 2, damaged. "c2" and "h3" are
// its hints, "e4" its epoch; "away" does not answer, "partial" lost some of it.
type static struct {
	away, partial bool
	epoch         tlog.Epoch
	head, commit  tlog.Position
	shards        map[tlog.Position]takeover.Meta
	bad           map[tlog.Position]bool
}

func parse(t *testing.T, text string) *static {
	s := &static{shards: map[tlog.Position]takeover.Meta{}, bad: map[tlog.Position]bool{}}
	for _, word := range strings.Fields(text) {
		switch {
		case word == "away":
			s.away = true
		case word == "partial":
			s.partial = true
		case word[0] == 'c':
			fmt.Sscan(word[1:], &s.commit)
		case word[0] == 'h':
			fmt.Sscan(word[1:], &s.head)
		case word[0] == 'e':
			fmt.Sscan(word[1:], &s.epoch)
		default:
			var m takeover.Meta
			var name rune
			if _, err := fmt.Sscanf(strings.TrimSuffix(word, "!"), "%d:%c.%d@%d", &m.Position, &name, &m.Index, &m.Epoch); err != nil {
				t.Fatalf("%q: %v", word, err)
			}
			m.Digest = named(name)
			s.shards[m.Position] = m
			s.bad[m.Position] = strings.HasSuffix(word, "!")
			s.head, s.epoch = max(s.head, m.Position), max(s.epoch, m.Epoch)
		}
	}
	return s
}

func named(c rune) (h tlog.Hash) {
	if c != '-' {
		h[0] = byte(c)
	}
	return h
}

// answer is what a static server says to a request.
func (s *static) answer(a takeover.Action, prev map[rune]rune) takeover.Event {
	switch a := a.(type) {
	case takeover.ReadControl:
		if !s.away {
			return takeover.ControlRead{Server: a.Server, Round: a.Round, Epoch: s.epoch, Head: s.head, Commit: s.commit}
		}
		return takeover.Failed(a)
	case takeover.Fence:
		switch {
		case s.away:
			return takeover.Failed{Server: a.Server, Round: a.Round}
		case a.Epoch <= s.epoch:
			return takeover.Refused{Server: a.Server, Round: a.Round, Epoch: s.epoch}
		}
		return takeover.Fenced{Server: a.Server, Round: a.Round, Head: s.head, Commit: s.commit}
	case takeover.ReadMetas:
		e := takeover.MetasRead{Server: a.Server, Round: a.Round, Partial: s.partial}
		for pos := a.From; pos <= a.To; pos++ {
			if m, ok := s.shards[pos]; ok {
				e.Metas = append(e.Metas, m)
			}
		}
		return e
	case takeover.ReadShard:
		m := s.shards[a.Position]
		e := takeover.ShardRead{Server: a.Server, Round: a.Round, Good: !s.bad[a.Position], Digest: m.Digest, Index: m.Index}
		e.Prev = named(prev[rune(m.Digest[0])])
		return e
	}
	return nil
}

// tell runs a machine against static servers and tells what it does.
func tell(t *testing.T, cfg takeover.Config, servers []string, prev map[rune]rune) string {
	var list []*static
	for _, s := range servers {
		list = append(list, parse(t, s))
	}
	m := takeover.New(cfg)
	var told []string
	todo := m.Step(takeover.Start{})
	for steps := 0; len(todo) > 0; steps++ {
		if steps > 10000 {
			t.Fatal("does not end")
		}
		a := todo[0]
		todo = todo[1:]
		var e takeover.Event
		switch a := a.(type) {
		case takeover.ReadControl:
			e = list[a.Server].answer(a, prev)
		case takeover.Fence:
			e = list[a.Server].answer(a, prev)
		case takeover.ReadMetas:
			e = list[a.Server].answer(a, prev)
		case takeover.ReadShard:
			e = list[a.Server].answer(a, prev)
		case takeover.Verify:
			told = append(told, fmt.Sprintf("adopt %d=%c", a.Position, a.Digest[0]))
			e = takeover.Verified{OK: true}
		case takeover.Append:
			for s, h := range a.Held {
				if h.Index >= 0 && !h.Good {
					told = append(told, fmt.Sprintf("repair %d on %d", h.Index, s))
				}
			}
			e = takeover.Committed{Position: a.Position}
		case takeover.Done:
			told = append(told, fmt.Sprintf("head %d epoch %d", a.Head, a.Epoch))
		case takeover.Halt:
			reasons := []string{"", "too few", "damaged", "lost", "refused", "epochs"}
			told = append(told, fmt.Sprintf("halt: %s at %d, %d of %d, everyone %v", reasons[a.Reason], a.Position, a.Have, a.Need, a.Everyone))
		}
		if e != nil {
			todo = append(todo, m.Step(e)...)
		}
	}
	return strings.Join(told, "; ")
}

func TestWhatATakeoverFinds(t *testing.T) {
	// 2+1 on four servers, strict: W = 3, R = 3.
	cfg := takeover.Config{P: 4, K: 2, N: 3, W: 3, R: 3, Fence: true, Page: 2}
	chain := map[rune]rune{'A': '-', 'B': 'A', 'C': 'B', 'D': 'C', 'X': 'A', 'Y': 'X', 'Z': '-'}
	for _, c := range []struct {
		name    string
		servers [4]string
		want    string
	}{
		{"an empty log", [4]string{"", "", "", ""}, "head 0 epoch 1"},
		{"a log whose last position is known to be committed", [4]string{
			"c1 1:A.0@1", "c1 1:A.1@1", "1:A.2@1", ""}, "head 1 epoch 2"},
		{"positions above the commit hint are adopted, page after page", [4]string{
			"1:A.0@1 2:B.0@1 3:C.0@1 4:D.0@1", "1:A.1@1 2:B.1@1 3:C.1@1 4:D.1@1", "1:A.2@1 2:B.2@1 3:C.2@1", ""},
			"adopt 1=A; adopt 2=B; adopt 3=C; adopt 4=D; head 4 epoch 2"},
		{"a position with fewer than k claims is not of the log", [4]string{
			"c1 1:A.0@1 2:B.0@1", "1:A.1@1", "1:A.2@1", ""}, "head 1 epoch 2"},
		{"claims count by index, not by server", [4]string{
			"c1 1:A.0@1 2:B.0@1", "1:A.1@1", "1:A.2@1", "2:B.0@1"}, "head 1 epoch 2"},
		{"what follows a hole is not of the log", [4]string{
			"c1 1:A.0@1 3:C.0@1", "1:A.1@1 3:C.1@1", "1:A.2@1 3:C.2@1", ""}, "head 1 epoch 2"},
		{"of two candidates the highest epoch wins", [4]string{
			"c1 1:A.0@1 2:B.0@2", "1:A.1@1 2:B.1@2", "1:A.2@1 2:X.1@3", "2:X.2@3"}, "adopt 2=X; head 2 epoch 4"},
		{"a candidate that does not chain is none, whatever its epoch", [4]string{
			"c1 1:A.0@1 2:X.0@3 3:C.0@1", "1:A.1@1 2:X.1@3 3:C.1@1", "1:A.2@1 2:X.2@3 3:C.2@1", ""}, "adopt 2=X; head 2 epoch 4"},
		{"a genesis that follows something is none", [4]string{"1:B.0@1", "1:B.1@1", "1:B.2@1", ""}, "head 0 epoch 2"},
		{"a damaged shard is not an absent one", [4]string{
			"c1 1:A.0@1 2:B.0@1!", "1:A.1@1 2:B.1@1", "1:A.2@1", ""}, "halt: damaged at 2, 1 of 2, everyone true"},
		{"with a server away, more servers may help", [4]string{
			"c1 1:A.0@1 2:B.0@1!", "1:A.1@1 2:B.1@1", "1:A.2@1", "away"}, "halt: damaged at 2, 1 of 2, everyone false"},
		{"a damaged candidate that does not chain stops nothing", [4]string{
			"c1 1:A.0@1 2:B.0@1", "1:A.1@1 2:Y.1@2", "1:A.2@1 2:Y.2@2!", "2:B.1@1"}, "adopt 2=B; head 2 epoch 3"},
		{"a damaged newest candidate is not passed over for an older one", [4]string{
			"c1 1:A.0@1 2:B.0@1", "1:A.1@1 2:B.1@1", "1:A.2@1 2:X.1@2!", "2:X.2@2"}, "halt: damaged at 2, 1 of 2, everyone true"},
		{"bad shards of what is adopted are written again", [4]string{
			"c1 1:A.0@1 2:B.0@1", "1:A.1@1 2:B.1@1", "1:A.2@1 2:B.2@1!", ""}, "adopt 2=B; repair 2 on 2; head 2 epoch 2"},
		{"a committed position that is not there is a loss", [4]string{
			"c2 1:A.0@1", "1:A.1@1", "1:A.2@1", ""}, "halt: lost at 2, 0 of 2, everyone true"},
		{"a committed position that is damaged is a loss", [4]string{
			"c1 1:A.0@1!", "1:A.1@1!", "1:A.2@1", ""}, "halt: damaged at 1, 1 of 2, everyone true"},
		{"fewer than W servers: nobody is fenced", [4]string{"e5", "e5", "away", "away"}, "halt: too few at 0, 2 of 3, everyone false"},
		{"a server that lost some of what it held does not vote", [4]string{
			"c1 1:A.0@1 partial", "1:A.1@1", "1:A.2@1", "away"}, "halt: too few at 0, 2 of 3, everyone false"},
		{"but what it still claims is true", [4]string{
			"c1 1:A.0@1 2:B.0@1 partial", "1:A.1@1 2:B.1@1", "1:A.2@1", ""}, "adopt 2=B; head 2 epoch 2"},
		{"the epoch is above every one seen", [4]string{"e7", "e3", "", ""}, "head 0 epoch 8"},
		{"there is no epoch above the last", [4]string{"e18446744073709551615", "", "", ""}, "halt: epochs at 0, 0 of 0, everyone false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tell(t, cfg, c.servers[:], chain); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestWhatASurveyFinds(t *testing.T) {
	cfg := takeover.Config{P: 4, K: 2, N: 3, W: 3, R: 3}
	chain := map[rune]rune{'A': '-', 'B': 'A'}
	for _, c := range []struct {
		name    string
		servers [4]string
		want    string
	}{
		{"positions that may be committed, without touching them", [4]string{
			"e4 1:A.0@1 2:B.0@1", "1:A.1@1 2:B.1@1", "1:A.2@1", "away"}, "head 2 epoch 4"},
		{"too few servers", [4]string{"1:A.0@1", "1:A.1@1", "away", "away"}, "halt: too few at 0, 2 of 3, everyone false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tell(t, cfg, c.servers[:], chain); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// script steps a machine by hand and checks what it gives.
type script struct {
	t *testing.T
	m *takeover.Machine
}

func (s script) step(e takeover.Event, want ...takeover.Action) {
	s.t.Helper()
	got := s.m.Step(e)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Fatalf("after %T%+v\n got %T%+v\nwant %T%+v", e, e, got, got, want, want)
	}
}

func TestWhoeverIsSlowGetsAGraceTime(t *testing.T) {
	s := script{t, takeover.New(takeover.Config{P: 3, K: 1, N: 2, W: 2, R: 2, Fence: true})}
	s.step(takeover.Start{}, takeover.ReadControl{0, 1}, takeover.ReadControl{1, 1}, takeover.ReadControl{2, 1})
	s.step(takeover.ControlRead{Server: 0, Round: 1})
	s.step(takeover.GraceOver{Round: 1}) // nobody asked for it
	s.step(takeover.ControlRead{Server: 1, Round: 1}, takeover.StartGrace{1})
	s.step(takeover.ControlRead{Server: 1, Round: 1}) // the same again counts once
	s.step(takeover.GraceOver{Round: 1}, takeover.Fence{0, 2, 1}, takeover.Fence{1, 2, 1}, takeover.Fence{2, 2, 1})
	s.step(takeover.ControlRead{Server: 2, Round: 1, Epoch: 9}) // too late
	s.step(takeover.Fenced{Server: 2, Round: 2})
	s.step(takeover.Failed{Server: 1, Round: 2})
	s.step(takeover.Fenced{Server: 0, Round: 2}, takeover.Done{Epoch: 1, Voters: []bool{true, false, true}})
	s.step(takeover.Fenced{Server: 0, Round: 2}) // over
}

func TestAHigherEpochAnywhereIsOutbid(t *testing.T) {
	s := script{t, takeover.New(takeover.Config{P: 2, K: 1, N: 2, W: 2, R: 1, Fence: true})}
	s.step(takeover.Start{}, takeover.ReadControl{0, 1}, takeover.ReadControl{1, 1})
	s.step(takeover.ControlRead{Server: 0, Round: 1})
	s.step(takeover.ControlRead{Server: 1, Round: 1}, takeover.Fence{0, 2, 1}, takeover.Fence{1, 2, 1})
	s.step(takeover.Fenced{Server: 0, Round: 2}, takeover.StartGrace{2})
	s.step(takeover.Refused{Server: 1, Round: 2, Epoch: 1}, takeover.BackOff{1})
	s.step(takeover.BackedOff{}, takeover.ReadControl{0, 3}, takeover.ReadControl{1, 3})
	s.step(takeover.ControlRead{Server: 0, Round: 3, Epoch: 1})
	s.step(takeover.ControlRead{Server: 1, Round: 3, Epoch: 1}, takeover.Fence{0, 4, 2}, takeover.Fence{1, 4, 2})
}

func TestAdoptedPositionsAreVerifiedAndWindowed(t *testing.T) {
	s := script{t, takeover.New(takeover.Config{P: 1, K: 1, N: 1, W: 1, R: 1, Fence: true, Window: 1})}
	a, b := named('A'), named('B')
	s.step(takeover.Start{}, takeover.ReadControl{0, 1})
	s.step(takeover.ControlRead{Server: 0, Round: 1, Epoch: 3}, takeover.Fence{0, 2, 4})
	s.step(takeover.Fenced{Server: 0, Round: 2, Head: 2}, takeover.ReadMetas{0, 3, 1, 2})
	s.step(takeover.MetasRead{Server: 0, Round: 3, Metas: []takeover.Meta{{1, 3, a, 0}, {2, 3, b, 0}}}, takeover.ReadShard{0, 4, 1})
	s.step(takeover.ShardRead{Server: 0, Round: 4, Good: true, Digest: a}, takeover.Found{1, a}, takeover.Verify{1, a})
	s.step(takeover.Verified{OK: true}, takeover.Append{1, a, []takeover.Holding{{0, true}}})
	s.step(takeover.Committed{Position: 1}, takeover.ReadShard{0, 5, 2})
	s.step(takeover.ShardRead{Server: 0, Round: 5, Good: true, Digest: b, Prev: a}, takeover.Found{2, b}, takeover.Verify{2, b})
	s.step(takeover.Verified{OK: false}, takeover.Halt{Reason: takeover.ReasonRefused, Position: 2})
}

func TestMetasThatMakeNoSenseAreNoAnswer(t *testing.T) {
	for _, metas := range [][]takeover.Meta{
		{{Position: 9, Epoch: 1}},
		{{Position: 1, Epoch: 1, Index: 1}},
		{{Position: 1, Epoch: 1}, {Position: 1, Epoch: 1}},
	} {
		s := script{t, takeover.New(takeover.Config{P: 1, K: 1, N: 1, W: 1, R: 1})}
		s.step(takeover.Start{}, takeover.ReadControl{0, 1})
		s.step(takeover.ControlRead{Server: 0, Round: 1, Head: 2}, takeover.ReadMetas{0, 2, 1, 2})
		s.step(takeover.MetasRead{Server: 0, Round: 2, Metas: metas}, takeover.Halt{Reason: takeover.ReasonTooFew, Need: 1})
	}
}
