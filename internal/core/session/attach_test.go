package session_test

import (
	"testing"

	"tlog"
	"tlog/internal/core/session"
)

func TestJudge(t *testing.T) {
	h := makeHistory(7)
	log := session.Head{Last: 5, Chain: h.chains[5], Generation: 3, Client: alice}
	v1 := session.Head{Last: 5, Chain: h.chains[5], Generation: 3, Version1: true}
	ok := tlog.HandshakeOK
	for _, c := range []struct {
		name   string
		head   session.Head
		attach session.Attach
		other  bool
		want   tlog.HandshakeStatus
	}{
		{"new log", session.Head{}, session.Attach{Client: alice}, false, ok},
		{"new log, client has flushed", session.Head{}, session.Attach{Client: alice, LastFlushed: 1}, false, tlog.HandshakeLogBehind},
		{"new log, client has a generation", session.Head{}, session.Attach{Client: alice, Generation: 1}, false, tlog.HandshakeLogBehind},
		{"new log, takeover does not heal a loss", session.Head{}, session.Attach{Client: alice, LastFlushed: 1, Takeover: true}, false, tlog.HandshakeLogBehind},
		{"same client", log, session.Attach{Client: alice, Generation: 3, LastFlushed: 5, Chain: h.chains[5]}, false, ok},
		{"same client, lost an answer", log, session.Attach{Client: alice, Generation: 2}, false, ok},
		{"same client, older flush", log, session.Attach{Client: alice, Generation: 3, LastFlushed: 4, Chain: h.chains[4]}, false, ok},
		{"same client, later generation", log, session.Attach{Client: alice, Generation: 4}, false, tlog.HandshakeLogBehind},
		{"same client, later flush", log, session.Attach{Client: alice, Generation: 3, LastFlushed: 6, Chain: h.chains[6]}, false, tlog.HandshakeLogBehind},
		{"same client, other history", log, session.Attach{Client: alice, Generation: 3, LastFlushed: 5, Chain: h.chains[4]}, false, tlog.HandshakeDiverged},
		{"other client", log, session.Attach{Client: bob}, false, tlog.HandshakeDenied},
		{"other client, current generation", log, session.Attach{Client: bob, Generation: 3}, false, tlog.HandshakeDenied},
		{"other client, older generation", log, session.Attach{Client: bob, Generation: 2}, false, tlog.HandshakeFenced},
		{"other client takes it", log, session.Attach{Client: bob, Takeover: true}, true, ok},
		{"after version 1", v1, session.Attach{Client: bob}, false, ok},
		{"while version 1 is attached", v1, session.Attach{Client: bob}, true, tlog.HandshakeDenied},
		{"after version 1, had a generation", v1, session.Attach{Client: bob, Generation: 2}, false, tlog.HandshakeFenced},
		{"size", log, session.Attach{Client: alice, DiskSize: 1 << 21}, false, tlog.HandshakeInvalidRequest},
		{"size agrees", log, session.Attach{Client: alice, DiskSize: 1 << 20}, false, ok},
		{"version 1", log, session.Attach{Version1: true}, false, ok},
		{"version 1, version 2 attached", log, session.Attach{Version1: true}, true, tlog.HandshakeDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ok
			if r := session.Judge(disk, c.head, &c.attach, c.other); r != nil {
				got = r.Status
				if r.Message == "" {
					t.Error("refused without a message")
				}
			}
			if got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestReattachDrainsFirst(t *testing.T) {
	h := makeHistory(3)
	run(t, attached(t, session.Limits{}), []step{
		{h.batch(1, 1, 3), "append 1-3\n1: RecvOK 3"},
		{session.Attach{Conn: 2, Client: alice, Generation: 1}, "1: close\nbarrier generation 2 of a"},
		{h.batch(1, 3, 3), "drop 3-3"},
		{session.BarrierDone{}, ""}, // told before the records that are durable with it
		{h.committed(2), ""},
		{h.committed(3), "2: welcome at 3, generation 2"},
		{session.Detached{Conn: 1}, ""},
		{h.batch(2, 1, 3), "drop 1-3\n2: RecvOK 3\n2: FlushOK 3"},
		{session.ForceFlush{Conn: 2, Sequence: 3}, "2: ForceFlushReceived 3\n2: FlushOK 3"},
	})
}

func TestTakeoverByAnotherClient(t *testing.T) {
	h := makeHistory(3)
	run(t, attached(t, session.Limits{}), []step{
		{h.batch(1, 1, 2), "append 1-2\n1: RecvOK 2"},
		{session.Attach{Conn: 2, Client: bob}, "2: recheck"},
		{stored(session.Attach{Conn: 2, Client: bob}, 1), "2: refused, denied\n2: close"},
		{session.Attach{Conn: 3, Client: bob, Takeover: true}, "1: FlushFailed\n1: close\nbarrier generation 2 of b"},
		{h.committed(2), ""},
		{session.BarrierDone{}, "3: welcome at 2, generation 2"},
		{session.Attach{Conn: 4, Client: alice, Generation: 1}, "4: recheck"},
		{stored(session.Attach{Conn: 4, Client: alice, Generation: 1}, 2), "4: refused, fenced\n4: close"},
		{h.batch(3, 3, 3), "append 3-3\n3: RecvOK 3"},
	})
}

func TestAttachesWaitTheirTurn(t *testing.T) {
	run(t, session.New(session.Limits{Waiting: 2}, disk, newLog(), nil), []step{
		{session.Attach{Conn: 1, Client: alice}, "barrier generation 1 of a"},
		{session.Attach{Conn: 2, Client: alice}, ""},
		{session.Attach{Conn: 3, Client: bob}, ""},
		{session.Attach{Conn: 4, Client: alice}, "4: refused, unavailable\n4: close"},
		{session.BarrierDone{}, "1: welcome at 0, generation 1\n1: close\nbarrier generation 2 of a"},
		{session.BarrierDone{}, "2: welcome at 0, generation 2\n3: recheck"},
		{stored(session.Attach{Conn: 3, Client: bob}, 2), "3: refused, denied\n3: close"},
		{session.BarrierDone{}, ""},
	})
}

func TestAttachThatEndsEarly(t *testing.T) {
	m := session.New(session.Limits{}, disk, newLog(), nil)
	run(t, m, []step{
		{session.Attach{Conn: 1, Client: alice}, "barrier generation 1 of a"},
		{session.Attach{Conn: 2, Client: alice}, ""},
		{session.Attach{Conn: 3, Client: alice}, ""},
		{session.Detached{Conn: 1}, ""},
		{session.GiveUp{Conn: 2, Message: "stalled"}, "2: refused, unavailable\n2: close"},
		{session.GiveUp{Conn: 9}, ""},
		{session.BarrierDone{}, "barrier generation 2 of a"},
		{session.GiveUp{Conn: 3}, "3: refused, unavailable\n3: close"},
		{session.Detached{Conn: 3}, ""},
		{session.BarrierDone{}, ""},
	})
	if !m.Idle() || m.Head().Generation != 2 {
		t.Errorf("idle %v, generation %d, want true, 2", m.Idle(), m.Head().Generation)
	}
}

// stored is the answer to a recheck: storage has that generation.
func stored(a session.Attach, g tlog.Generation) session.Rechecked {
	return session.Rechecked{Attach: a, Head: session.Head{Generation: g}}
}

// A fenced owner that does not know it must not refuse for good: the client
// knows of a later attachment, at another server.
func TestStaleOwnerFindsOut(t *testing.T) {
	later := session.Attach{Conn: 2, Client: alice, Generation: 2}
	m := attached(t, session.Limits{})
	run(t, m, []step{
		{later, "2: recheck"},
		{stored(later, 2), "2: refused, moved\n2: close\n1: FlushFailed\n1: close\ndie"},
		{stored(later, 2), "2: refused, unavailable\n2: close"},
	})
	run(t, attached(t, session.Limits{}), []step{ // it is the client that is wrong
		{later, "2: recheck"},
		{stored(later, 1), "2: refused, log behind client\n2: close"},
	})
	run(t, attached(t, session.Limits{}), []step{ // it cannot be said
		{later, "2: recheck"},
		{session.Rechecked{Attach: later, Problem: "down"}, "2: refused, unavailable\n2: close"},
	})
	run(t, attached(t, session.Limits{}), []step{ // the generation is this machine's own, on its way
		{later, "2: recheck"},
		{session.Attach{Conn: 3, Client: alice}, "1: close\nbarrier generation 2 of a"},
		{stored(later, 2), ""},
		{session.BarrierDone{}, "3: welcome at 0, generation 2\n3: close\nbarrier generation 3 of a"},
		{session.BarrierDone{}, "2: welcome at 0, generation 3"},
	})
}
