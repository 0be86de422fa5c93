package session_test

import (
	"strings"
	"testing"

	"tlog"
	"tlog/internal/core/session"
)

func TestBatchesAreAcknowledgedInOrder(t *testing.T) {
	h := makeHistory(9)
	run(t, attached(t, session.Limits{}), []step{
		{h.batch(1, 1, 3), "append 1-3\n1: RecvOK 3"},
		{h.batch(1, 4, 4), "append 4-4\n1: RecvOK 4"},
		{session.ForceFlush{Conn: 1, Sequence: 2}, "1: ForceFlushReceived 2\nforce"},
		{session.ForceFlush{Conn: 1, Sequence: 4}, "1: ForceFlushReceived 4"}, // the first one sealed it, too
		{h.committed(3), "1: FlushOK 3"},
		{session.ForceFlush{Conn: 1, Sequence: 3}, "1: ForceFlushReceived 3\n1: FlushOK 3"},
		{session.ForceFlush{Conn: 1, Sequence: 6}, "1: ForceFlushReceived 6"}, // ahead of what is here
		{h.batch(1, 5, 5), "append 5-5\n1: RecvOK 5"},
		{h.batch(1, 6, 8), "append 6-8\nforce\n1: RecvOK 8"},
		{h.committed(8), "1: FlushOK 8"},
		{h.committed(8), ""}, // a control aggregation
		{session.WaitSlaveSync{Conn: 1}, "1: note\n1: WaitSlaveSyncReceived"},
		{h.batch(1, 9, 9), "append 9-9\n1: RecvOK 9"},
		{session.Bye{Conn: 1}, "force"},
		{session.Bye{Conn: 1}, ""},
		{h.committed(9), "1: FlushOK 9\n1: ByeOK 9\n1: close"},
		{session.Detached{Conn: 1}, ""},
	})
}

func TestByeWithEverythingDurable(t *testing.T) {
	run(t, attached(t, session.Limits{}), []step{{session.Bye{Conn: 1}, "1: ByeOK\n1: close"}})
}

func TestKnownRecordsAreAcknowledgedAgain(t *testing.T) {
	h := makeHistory(6)
	run(t, attached(t, session.Limits{}), []step{
		{h.batch(1, 1, 4), "append 1-4\n1: RecvOK 4"},
		{h.batch(1, 1, 4), "drop 1-4\n1: RecvOK 4"},
		{h.batch(1, 2, 3), "drop 2-3\n1: RecvOK 4"},
		{h.batch(1, 3, 6), "append 5-6 encoded anew\n1: RecvOK 6"},
		{h.committed(2), "1: FlushOK 2"},
		{h.batch(1, 1, 2), "drop 1-2\n1: RecvOK 6\n1: FlushOK 2"},
		{h.batch(1, 1, 5), "drop 1-5\n1: RecvOK 6"},
	})
}

func TestRefusedBatches(t *testing.T) {
	change := func(f func(*session.Batch)) session.Batch {
		b := makeHistory(5).batch(1, 3, 5)
		f(&b)
		return b
	}
	rechain := func(b *session.Batch) {
		b.Chain = makeHistory(2).chains[2]
		for i := range b.Records {
			b.Chain = tlog.ChainNext(b.Chain, &b.Records[i])
		}
	}
	for _, c := range []struct {
		name, says string
		batch      session.Batch
	}{
		{"gap", "record 4 came, 3 is expected", makeHistory(5).batch(1, 4, 5)},
		{"chain", "chain value", change(func(b *session.Batch) { b.Chain[0]++ })},
		{"flipped offset", "chain value", change(func(b *session.Batch) { b.Records[1].Offset++ })},
		{"flipped operation", "chain value", change(func(b *session.Batch) { b.Records[0].Operation = tlog.OpZero })},
		{"clock back", "before that of the record", change(func(b *session.Batch) { b.Records[0].Timestamp = now; rechain(b) })},
		{"clock ahead", "ahead", change(func(b *session.Batch) { b.Records[2].Timestamp = now + 25*3600*1e9; rechain(b) })},
		{"beyond the disk", "of a disk of 1048576", change(func(b *session.Batch) { b.Records[2].Offset = 1<<20 - 7; rechain(b) })},
		{"other content", "histories differ", func() session.Batch {
			b := makeHistory(5).batch(1, 2, 2)
			b.Records[0].Hash[0]++
			b.Chain = tlog.ChainNext(makeHistory(1).chains[1], &b.Records[0])
			return b
		}()},
		{"other chain", "differs from the one", func() session.Batch {
			b := makeHistory(5).batch(1, 2, 2)
			b.Chain[0]++
			return b
		}()},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := attached(t, session.Limits{})
			m.Step(makeHistory(2).batch(1, 1, 2))
			actions := append([]session.Action(nil), m.Step(c.batch)...)
			if got, want := show(actions[1:]), "1: RecvFailed expected 3\n1: close"; got != want {
				t.Fatalf("got:\n%s\nwant:\n%s", got, want)
			}
			if msg := actions[1].(session.Reply).Message; !strings.Contains(msg, c.says) {
				t.Errorf("message %q does not say %q", msg, c.says)
			}
			run(t, m, []step{ // it is closed, and what it still sends counts for nothing
				{makeHistory(5).batch(1, 3, 5), "drop 3-5"},
				{session.Detached{Conn: 1}, ""},
				{makeHistory(2).committed(2), ""},
			})
			if m.Durable() != 2 || m.Head().Last != 2 {
				t.Errorf("log at %d of %d, want 2 of 2", m.Durable(), m.Head().Last)
			}
		})
	}
}

func TestReadingPausesAtTheLimit(t *testing.T) {
	h := makeHistory(9)
	run(t, attached(t, session.Limits{Unflushed: 4}), []step{
		{h.batch(1, 1, 3), "append 1-3\n1: RecvOK 3"},
		{h.batch(1, 4, 7), "append 4-7\n1: RecvOK 7\nforce\n1: pause"},
		{h.committed(3), "1: FlushOK 3"},
		{h.committed(4), "1: FlushOK 4\n1: resume"},
		{h.batch(1, 8, 8), "append 8-8\n1: RecvOK 8\nforce\n1: pause"},
		{session.Detached{Conn: 1}, ""},
		{h.committed(8), ""},
	})
}

func TestMalformedAndUnknownConnections(t *testing.T) {
	h := makeHistory(3)
	run(t, attached(t, session.Limits{}), []step{
		{h.batch(2, 1, 1), "drop 1-1"},
		{session.Block{Conn: 1, Payload: "block"}, "drop block"},
		{session.ForceFlush{Conn: 2, Sequence: 1}, ""},
		{session.WaitSlaveSync{Conn: 2}, ""},
		{session.Bye{Conn: 2}, ""},
		{session.Bad{Conn: 2}, ""},
		{session.GapTimeout{Conn: 1}, ""},
		{session.Detached{Conn: 2}, ""},
		{session.Bad{Conn: 1, Message: "m"}, "1: RecvFailed expected 1\n1: close"},
	})
}

func TestFailureTellsEveryone(t *testing.T) {
	h := makeHistory(3)
	m := attached(t, session.Limits{})
	run(t, m, []step{
		{h.batch(1, 1, 3), "append 1-3\n1: RecvOK 3"},
		{session.Failed{Status: tlog.HandshakeUnavailable, Message: "fenced"}, "1: FlushFailed\n1: close\ndie"},
		{session.Failed{}, ""},
		{h.committed(3), ""},
		{session.Attach{Conn: 2, Client: alice}, "2: refused, unavailable\n2: close"},
		{session.Stop{}, ""},
	})
	if m.Durable() != 0 {
		t.Errorf("durable up to %d after a failure, want 0", m.Durable())
	}
}

func TestFailureWhileAttaching(t *testing.T) {
	run(t, session.New(session.Limits{}, disk, newLog(), nil), []step{
		{session.Attach{Conn: 1, Client: alice}, "barrier generation 1 of a"},
		{session.Attach{Conn: 2, Client: alice}, ""},
		{session.Failed{Status: tlog.HandshakeInternal}, "1: refused, internal error\n1: close\n2: refused, internal error\n2: close\ndie"},
		{session.BarrierDone{}, ""},
	})
}

// A log that commits something else than it was given must not be acknowledged.
func TestForeignCommitIsAFailure(t *testing.T) {
	h := makeHistory(3)
	for name, e := range map[string]session.Committed{
		"beyond":      {Last: 4, Chain: h.chains[3]},
		"other chain": {Last: 2, Chain: h.chains[3]},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, attached(t, session.Limits{}), []step{
				{h.batch(1, 1, 3), "append 1-3\n1: RecvOK 3"},
				{e, "1: FlushFailed\n1: close\ndie"},
			})
		})
	}
}

func TestStop(t *testing.T) {
	h := makeHistory(5)
	run(t, attached(t, session.Limits{}), []step{
		{h.batch(1, 1, 3), "append 1-3\n1: RecvOK 3"},
		{session.Stop{}, "force"},
		{h.batch(1, 4, 5), "drop 4-5"},
		{session.Attach{Conn: 2, Client: alice}, "2: refused, unavailable\n2: close"},
		{h.committed(3), "1: FlushOK 3\n1: ByeOK 3\n1: close"},
		{session.Stop{}, ""},
	})
}

func TestStopWhileAttaching(t *testing.T) {
	run(t, session.New(session.Limits{}, disk, newLog(), nil), []step{
		{session.Attach{Conn: 1, Client: alice}, "barrier generation 1 of a"},
		{session.Attach{Conn: 2, Client: alice}, ""},
		{session.Stop{}, "2: refused, unavailable\n2: close\n1: refused, unavailable\n1: close"},
		{session.BarrierDone{}, ""},
	})
}
