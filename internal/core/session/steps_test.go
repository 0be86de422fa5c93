package session_test

import (
	"fmt"
	"strings"
	"testing"

	"tlog"
	"tlog/internal/core/session"
)

// step is an event and what the machine must say to it, one line an action.
type step struct {
	do   session.Event
	want string
}

const now = uint64(1_000_000_000_000_000_000)

var (
	alice = tlog.UUID{0xa}
	bob   = tlog.UUID{0xb}
)

// run drives a machine through steps.
func run(t *testing.T, m *session.Machine, steps []step) {
	t.Helper()
	for i, s := range steps {
		got := show(m.Step(s.do))
		want := strings.TrimSpace(strings.ReplaceAll(s.want, "\t", ""))
		if got != want {
			t.Fatalf("step %d, %T:\ngot:\n  %s\nwant:\n  %s", i, s.do,
				strings.ReplaceAll(got, "\n", "\n  "), strings.ReplaceAll(want, "\n", "\n  "))
		}
	}
}

func show(actions []session.Action) string {
	lines := make([]string, 0, len(actions))
	for _, a := range actions {
		lines = append(lines, line(a))
	}
	return strings.Join(lines, "\n")
}

func line(a session.Action) string {
	switch a := a.(type) {
	case session.Barrier:
		if a.Head.Version1 {
			return fmt.Sprintf("barrier generation %d, log %d is client's %d", a.Head.Generation, a.Head.Base, a.Head.First)
		}
		return fmt.Sprintf("barrier generation %d of %x", a.Head.Generation, a.Head.Client[0])
	case session.Recheck:
		return fmt.Sprintf("%d: recheck", a.Attach.Conn)
	case session.Welcome:
		if a.Status == tlog.HandshakeOK {
			return fmt.Sprintf("%d: welcome at %d, generation %d", a.Conn, a.Head.Last, a.Head.Generation)
		}
		return fmt.Sprintf("%d: refused, %v", a.Conn, a.Status)
	case session.Append:
		first, last := a.Records[0].Sequence, a.Records[len(a.Records)-1].Sequence
		if a.Whole {
			return fmt.Sprintf("append %d-%d", first, last)
		}
		return fmt.Sprintf("append %d-%d encoded anew", first, last)
	case session.Drop:
		return fmt.Sprintf("drop %v", a.Payload)
	case session.Force:
		return "force"
	case session.Reply:
		return reply(a)
	case session.Close:
		return fmt.Sprintf("%d: close", a.Conn)
	case session.Pause:
		return fmt.Sprintf("%d: pause", a.Conn)
	case session.Resume:
		return fmt.Sprintf("%d: resume", a.Conn)
	case session.Gap:
		return fmt.Sprintf("%d: gap %v", a.Conn, a.Open)
	case session.Note:
		return fmt.Sprintf("%d: note", a.Conn)
	case session.Die:
		return "die"
	}
	return fmt.Sprintf("%T", a)
}

func reply(r session.Reply) string {
	names := map[tlog.BlockStatus]string{
		tlog.StatusFlushFailed: "FlushFailed", tlog.StatusRecvFailed: "RecvFailed", tlog.StatusRecvOK: "RecvOK",
		tlog.StatusFlushOK: "FlushOK", tlog.StatusForceFlushReceived: "ForceFlushReceived",
		tlog.StatusWaitSlaveSyncReceived: "WaitSlaveSyncReceived", tlog.StatusByeOK: "ByeOK",
	}
	s := fmt.Sprintf("%d: %s", r.Conn, names[r.Status])
	switch {
	case r.Listed:
		s += fmt.Sprintf(" [%d-%d]", r.From, r.To)
		if r.Then > r.To {
			s += fmt.Sprintf(" then %d", r.Then)
		}
	case r.Expected != 0:
		s += fmt.Sprintf(" expected %d", r.Expected)
	case r.UpTo != 0:
		s += fmt.Sprintf(" %d", r.UpTo)
	}
	return s
}

// history makes records 1…n and their chain values.
type history struct {
	records []tlog.Record
	chains  []tlog.Hash // chains[i] after i records
}

func makeHistory(n int) *history {
	h := &history{chains: []tlog.Hash{tlog.ChainStart("v")}}
	for i := range n {
		data := fmt.Appendf(nil, "%08d", i+1)
		h.add(tlog.Record{
			Sequence: tlog.Sequence(i + 1), Offset: uint64(i) * 8, Size: 8, Timestamp: now + uint64(i),
			Operation: tlog.OpWrite, Hash: tlog.Hash(append(data, make([]byte, 24)...)), Data: data,
		})
	}
	return h
}

func (h *history) add(r tlog.Record) {
	h.records = append(h.records, r)
	h.chains = append(h.chains, tlog.ChainNext(h.chains[len(h.chains)-1], &r))
}

// batch is records from … to, as connection c sends them.
func (h *history) batch(c session.Conn, from, to int) session.Batch {
	return session.Batch{
		Conn: c, Records: append([]tlog.Record(nil), h.records[from-1:to]...), Chain: h.chains[to],
		Now: now, Payload: fmt.Sprintf("%d-%d", from, to),
	}
}

func (h *history) committed(s int) session.Committed {
	return session.Committed{Last: tlog.Sequence(s), Chain: h.chains[s]}
}

// newLog is the head of a log that was just created.
func newLog() session.Head { return session.Head{Chain: tlog.ChainStart("v")} }

var disk = session.Disk{Size: 1 << 20, BlockSize: 4096}

// attached is a machine with alice on connection 1.
func attached(t *testing.T, l session.Limits) *session.Machine {
	t.Helper()
	m := session.New(l, disk, newLog(), nil)
	run(t, m, []step{
		{session.Attach{Conn: 1, Client: alice}, "barrier generation 1 of a"},
		{session.BarrierDone{}, "1: welcome at 0, generation 1"},
	})
	return m
}
