package session_test

import (
	"fmt"
	"math"
	"testing"

	"tlog"
	"tlog/internal/core/session"
)

// block is a version-1 set of a few bytes.
func block(c session.Conn, seq uint64) session.Block {
	data := fmt.Appendf(nil, "block %d", seq)
	return session.Block{
		Conn: c, Sequence: seq, Index: int64(seq % 100), Data: data, Hash: tlog.Hash(append(data, make([]byte, 32)...)),
		Timestamp: now, Operation: tlog.OpWrite, Now: now, Payload: seq,
	}
}

// driver is a machine whose log commits what it is told to.
type driver struct {
	m     *session.Machine
	marks map[tlog.Sequence]tlog.Hash
}

func newDriver(m *session.Machine) *driver { return &driver{m, map[tlog.Sequence]tlog.Hash{}} }

func (d *driver) do(e session.Event) string {
	actions := d.m.Step(e)
	for _, a := range actions {
		if a, ok := a.(session.Append); ok {
			d.marks[a.Records[len(a.Records)-1].Sequence] = a.Chain
		}
	}
	return show(actions)
}

func (d *driver) run(t *testing.T, steps []step) {
	t.Helper()
	for i, s := range steps {
		if c, ok := s.do.(session.Committed); ok && c.Chain.IsZero() {
			c.Chain = d.marks[c.Last]
			s.do = c
		}
		if got := d.do(s.do); got != s.want {
			t.Fatalf("step %d, %T:\ngot:\n%s\nwant:\n%s", i, s.do, got, s.want)
		}
	}
}

// version1 is a machine with a version-1 client on connection 1 that starts at first.
func version1(t *testing.T, first uint64) *driver {
	t.Helper()
	d := newDriver(session.New(session.Limits{EarlyRecords: 3, EarlyBytes: 20}, session.Disk{BlockSize: 4096}, newLog(), nil))
	d.run(t, []step{
		{session.Attach{Conn: 1, Version1: true, First: first, Reset: true}, fmt.Sprintf("barrier generation 1, log 1 is client's %d", first)},
		{session.BarrierDone{}, "1: note\n1: welcome at 0, generation 1"},
	})
	return d
}

func TestVersion1FromZero(t *testing.T) {
	version1(t, 0).run(t, []step{
		{block(1, 0), "append 1-1 encoded anew\n1: RecvOK [0-0]"},
		{block(1, 1), "append 2-2 encoded anew\n1: RecvOK [1-1]"},
		{session.ForceFlush{Conn: 1, Sequence: 1}, "1: ForceFlushReceived 2\nforce"},
		{session.Committed{Last: 2}, "1: FlushOK [0-1]"},
		{session.WaitSlaveSync{Conn: 1}, "1: note\n1: WaitSlaveSyncReceived"},
		{block(1, 2), "append 3-3 encoded anew\n1: RecvOK [2-2]"},
		{block(1, 2), "drop 2\n1: RecvOK [2-2]"},                          // again
		{block(1, 0), "drop 0\n1: RecvOK [0-0]\n1: FlushOK [0-0] then 1"}, // again, and durable
		{session.ForceFlush{Conn: 1, Sequence: 0}, "1: ForceFlushReceived 1\n1: FlushOK [1-1]"},
		{session.Committed{Last: 3}, "1: FlushOK [2-2]"},
	})
}

func TestVersion1OtherContentClosesWithoutAnswer(t *testing.T) {
	other := block(1, 0)
	other.Hash[0]++
	for _, durable := range []bool{false, true} {
		d := version1(t, 0)
		d.do(block(1, 0))
		if durable {
			d.run(t, []step{{session.Committed{Last: 1}, "1: FlushOK [0-0]"}})
		}
		d.run(t, []step{{other, "drop 0\n1: close"}})
	}
}

func TestVersion1EarlyBlocks(t *testing.T) {
	other := block(1, 13)
	other.Hash[0]++
	version1(t, 10).run(t, []step{
		{block(1, 12), "1: gap true"},
		{block(1, 12), "drop 12"},
		{block(1, 11), ""},
		{block(1, 10), "append 1-1 encoded anew\n1: RecvOK [10-10]\nappend 2-2 encoded anew\n1: RecvOK [11-11]\nappend 3-3 encoded anew\n1: RecvOK [12-12]\n1: gap false"},
		{block(1, 15), "1: gap true"},
		{block(1, 13), "append 4-4 encoded anew\n1: RecvOK [13-13]"},
		{block(1, 17), ""},
		{block(1, 18), "drop 18\n1: RecvFailed [18-18]\ndrop 15\ndrop 17\n1: gap false\n1: close"},
	})
	version1(t, 10).run(t, []step{ // by bytes
		{block(1, 12), "1: gap true"},
		{block(1, 11), ""},
		{block(1, 13), "drop 13\n1: RecvFailed [13-13]\ndrop 11\ndrop 12\n1: gap false\n1: close"},
	})
	version1(t, 10).run(t, []step{ // by time
		{block(1, 13), "1: gap true"},
		{session.GapTimeout{Conn: 1}, "1: RecvFailed [10-10]\ndrop 13\n1: gap false\n1: close"},
	})
	version1(t, 10).run(t, []step{ // a client that contradicts itself
		{block(1, 13), "1: gap true"},
		{other, "drop 13\ndrop 13\n1: gap false\n1: close"},
	})
	version1(t, 10).run(t, []step{ // a client that goes
		{block(1, 13), "1: gap true"},
		{session.Detached{Conn: 1}, "drop 13\n1: gap false"},
	})
	version1(t, 10).run(t, []step{ // a server that stops, but waits for its log
		{block(1, 10), "append 1-1 encoded anew\n1: RecvOK [10-10]"},
		{block(1, 13), "1: gap true"},
		{session.Stop{}, "drop 13\n1: gap false\nforce"},
		{block(1, 11), "drop 11"},
		{session.Committed{Last: 1}, "1: FlushOK [10-10]\n1: close"},
	})
	version1(t, 10).run(t, []step{ // a server that stops
		{block(1, 13), "1: gap true"},
		{session.Stop{}, "drop 13\n1: gap false\n1: close"},
	})
}

func TestVersion1RefusedBlocks(t *testing.T) {
	for name, change := range map[string]func(*session.Block){
		"negative index": func(b *session.Block) { b.Index = -1 },
		"far index":      func(b *session.Block) { b.Index = math.MaxInt64 },
		"empty":          func(b *session.Block) { b.Data = nil },
		"long":           func(b *session.Block) { b.Data = make([]byte, 4097) },
		"operation":      func(b *session.Block) { b.Operation = 3 },
		"no operation":   func(b *session.Block) { b.Operation = 0 },
		"before first":   func(b *session.Block) { b.Sequence = 9 },
		"wraps":          func(b *session.Block) { b.Sequence = math.MaxUint64 },
	} {
		t.Run(name, func(t *testing.T) {
			b := block(1, 10)
			change(&b)
			version1(t, 10).run(t, []step{{b, fmt.Sprintf("drop 10\n1: RecvFailed [%d-%d]\n1: close", b.Sequence, b.Sequence)}})
		})
	}
	version1(t, 10).run(t, []step{{session.Bad{Conn: 1}, "1: RecvFailed\n1: close"}})
}

func TestVersion1RecordOfABlock(t *testing.T) {
	d := newDriver(session.New(session.Limits{}, session.Disk{Size: 3*4096 + 100, BlockSize: 4096}, newLog(), nil))
	d.do(session.Attach{Conn: 1, Version1: true})
	d.do(session.BarrierDone{})
	set, last, future := block(1, 0), block(1, 1), block(1, 2)
	set.Index = 2
	last.Index, last.Operation, last.Data = 3, tlog.OpTrim, nil
	future.Timestamp, future.Index = now+30*3600*1e9, 0
	for _, c := range []struct {
		b    session.Block
		want tlog.Record
	}{
		{set, tlog.Record{Sequence: 1, Offset: 8192, Size: 7, Timestamp: now, Operation: tlog.OpWrite}},
		{last, tlog.Record{Sequence: 2, Offset: 12288, Size: 100, Timestamp: now + 5, Operation: tlog.OpTrim}},
		{future, tlog.Record{Sequence: 3, Size: 7, Timestamp: now + 5, Operation: tlog.OpWrite}},
	} {
		if c.want.Sequence == 2 {
			c.b.Timestamp = now + 5
		}
		a := d.m.Step(c.b)[0].(session.Append)
		if want := c.b.Timestamp != c.want.Timestamp; a.Clamped != want {
			t.Errorf("record %d: clamped %v, want %v", c.want.Sequence, a.Clamped, want)
		}
		got := a.Records[0]
		got.Hash, got.Data = tlog.Hash{}, nil
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
}

func TestVersion1Numbering(t *testing.T) {
	d := version1(t, 100)
	d.run(t, []step{
		{block(1, 100), "append 1-1 encoded anew\n1: RecvOK [100-100]"},
		{block(1, 101), "append 2-2 encoded anew\n1: RecvOK [101-101]"},
		{session.Committed{Last: 1}, "1: FlushOK [100-100]"},
		// A reconnect that resends goes on in the same numbering, and is told again what is durable.
		{session.Attach{Conn: 2, Version1: true, First: 100}, "1: close\nbarrier generation 2, log 1 is client's 100"},
		{session.Committed{Last: 2}, ""},
		{session.BarrierDone{}, "2: note\n2: welcome at 2, generation 2"},
		{block(2, 100), "drop 100\n2: RecvOK [100-100]\n2: FlushOK [100-100] then 101"},
		{block(2, 102), "append 3-3 encoded anew\n2: RecvOK [102-102]"},
		{session.Committed{Last: 3}, "2: FlushOK [102-102]"},
		// A reset to a lower first sequence stays in the same log.
		{session.ForceFlush{Conn: 2, Sequence: 1 << 60}, fmt.Sprintf("2: ForceFlushReceived %d", 1<<60-99)},
		{session.Attach{Conn: 3, Version1: true, First: 0, Reset: true}, "2: close\nbarrier generation 3, log 4 is client's 0"},
		{session.BarrierDone{}, "3: note\n3: welcome at 3, generation 3"},
		{session.ForceFlush{Conn: 3, Sequence: 0}, "3: ForceFlushReceived 4"},
		{block(3, 0), "append 4-4 encoded anew\nforce\n3: RecvOK [0-0]"},
		{session.Committed{Last: 4}, "3: FlushOK [0-0]"},
		// One that begins below the numbering, or beyond it, cannot be going on.
		{session.Attach{Conn: 4, Version1: true, First: 7}, "3: close\n4: note\nbarrier generation 4, log 5 is client's 7"},
		{session.BarrierDone{}, "4: note\n4: welcome at 4, generation 4"},
		{session.Attach{Conn: 5, Version1: true, First: 3}, "4: close\n5: note\nbarrier generation 5, log 5 is client's 3"},
		{session.BarrierDone{}, "5: note\n5: welcome at 4, generation 5"},
	})
}

// After a restart the server knows the end of the log only.
func TestVersion1AfterRestart(t *testing.T) {
	h := makeHistory(12)
	head := session.Head{Last: 12, Chain: h.chains[12], Generation: 4, Version1: true, Base: 3, First: 50}
	for _, c := range []struct {
		name   string
		first  uint64
		recent []tlog.Record
		want   string
	}{
		{"goes on", 60, nil, "barrier generation 5, log 3 is client's 50"},
		{"resends what is known", 58, h.records[10:], "barrier generation 5, log 3 is client's 50"},
		{"resends more than is known", 57, h.records[10:], "1: note\nbarrier generation 5, log 13 is client's 57"},
		{"resends, nothing is known", 59, nil, "1: note\nbarrier generation 5, log 13 is client's 59"},
		{"starts over", 0, h.records[10:], "1: note\nbarrier generation 5, log 13 is client's 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDriver(session.New(session.Limits{}, session.Disk{BlockSize: 4096}, head, c.recent))
			d.run(t, []step{{session.Attach{Conn: 1, Version1: true, First: c.first}, c.want}})
		})
	}
	// It does not go behind its own first.
	d := newDriver(session.New(session.Limits{}, session.Disk{BlockSize: 4096}, head, h.records[8:]))
	d.run(t, []step{
		{session.Attach{Conn: 1, Version1: true, First: 58}, "barrier generation 5, log 3 is client's 50"},
		{session.BarrierDone{}, "1: note\n1: welcome at 12, generation 5"},
		{block(1, 57), "drop 57\n1: RecvFailed [57-57]\n1: close"},
	})
	// A version-2 client follows: its chain value is the log's.
	d = newDriver(session.New(session.Limits{}, session.Disk{BlockSize: 4096}, head, h.records[10:]))
	d.run(t, []step{
		{session.Attach{Conn: 1, Client: alice, LastFlushed: 12, Chain: h.chains[12]}, "barrier generation 5 of a"},
		{session.BarrierDone{}, "1: welcome at 12, generation 5"},
		{h.batch(1, 12, 12), "drop 12-12\n1: RecvOK 12\n1: FlushOK 12"},
	})
}

func TestVersion1BesideVersion2(t *testing.T) {
	d := newDriver(attached(t, session.Limits{}))
	d.run(t, []step{
		{session.Attach{Conn: 2, Version1: true}, "2: recheck"},
		{stored(session.Attach{Conn: 2, Version1: true}, 1), "2: refused, denied\n2: close"},
		{session.Detached{Conn: 1}, ""},
		{session.Attach{Conn: 3, Version1: true}, "barrier generation 2, log 1 is client's 0"},
		{session.BarrierDone{}, "3: note\n3: welcome at 0, generation 2"},
		{session.Batch{Conn: 3, Payload: "batch"}, "drop batch"},
		{session.Attach{Conn: 4, Client: bob}, "4: recheck"},
		{stored(session.Attach{Conn: 4, Client: bob}, 2), "4: refused, denied\n4: close"},
	})
}

// What a version-1 client may compare stays bounded, and what is forgotten is
// acknowledged within the session.
func TestVersion1ForgetsWhatIsLongDurable(t *testing.T) {
	d := version1(t, 0)
	for i := range uint64(1000) {
		d.do(block(1, i))
		d.run(t, []step{{session.Committed{Last: tlog.Sequence(i + 1)}, fmt.Sprintf("1: FlushOK [%d-%d]", i, i)}})
	}
	other := block(1, 900)
	other.Hash[0]++
	d.run(t, []step{
		{block(1, 5), "drop 5\n1: RecvOK [5-5]\n1: FlushOK [5-5] then 999"},
		{other, "drop 900\n1: close"},
	})
}

func TestVersion1PausesAtTheLimit(t *testing.T) {
	d := newDriver(session.New(session.Limits{Unflushed: 2}, session.Disk{BlockSize: 4096}, newLog(), nil))
	d.run(t, []step{
		{session.Attach{Conn: 1, Version1: true}, "barrier generation 1, log 1 is client's 0"},
		{session.BarrierDone{}, "1: note\n1: welcome at 0, generation 1"},
		{block(1, 0), "append 1-1 encoded anew\n1: RecvOK [0-0]"},
		{block(1, 1), "append 2-2 encoded anew\n1: RecvOK [1-1]\nforce\n1: pause"},
		{session.Committed{Last: 1}, "1: FlushOK [0-0]\n1: resume"},
	})
}
