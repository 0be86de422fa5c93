package window

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tlog"
)

// script drives a window step by step and compares the actions, written as text.
type script struct {
	*testing.T
	w      *Window
	chains map[tlog.Sequence]tlog.Hash // of the history that the script's server has
}

var testConfig = Config{
	Vdisk: "disk", Servers: 2, DiskSize: 1 << 20, ID: tlog.UUID{1},
	Hashes:  []tlog.HashAlgorithm{tlog.HashBlake2b, tlog.HashSHA256},
	Records: 8, Bytes: 1000, BatchRecords: 8, BatchBytes: 100, Coalesce: 50, MaxBackoff: time.Second,
}

func newScript(t *testing.T, edit func(*Config)) *script {
	cfg := testConfig
	if edit != nil {
		edit(&cfg)
	}
	return &script{T: t, w: New(cfg), chains: map[tlog.Sequence]tlog.Hash{}}
}

// attached is a script whose first attach, to an empty log, is done.
func attached(t *testing.T, edit func(*Config)) *script {
	s := newScript(t, edit)
	s.step(Event{Kind: Start}, "dial #1 server 0 after 0s")
	s.step(s.welcome(0), "attached")
	s.pull("")
	return s
}

func (s *script) step(e Event, want string) {
	s.Helper()
	if e.Attempt == 0 {
		e.Attempt = s.w.attempt
	}
	var got []string
	for _, a := range s.w.Step(&e, nil) {
		got = append(got, a.String())
	}
	if g := strings.Join(got, "; "); g != want && (want == "" || !strings.HasPrefix(g, want)) {
		s.Fatalf("%v: got %q, want %q", e.Kind, g, want)
	}
}

// chain is the window's own chain value at n, as a right server has it too.
func (s *script) chain(n tlog.Sequence) Point {
	for q := s.w.flushed.Sequence; q <= s.w.head.Sequence; q++ {
		s.chains[q] = s.w.chainAt(q)
	}
	return Point{n, s.chains[n]}
}

func (s *script) welcome(n tlog.Sequence) Event {
	return Event{Kind: Attach, Welcome: Welcome{
		Status: tlog.HandshakeOK, LastFlushed: s.chain(n), Generation: s.w.cfg.Generation + 1, Epoch: 3,
		Hash: tlog.HashBlake2b, CreditRecords: 100, CreditBytes: 10000,
	}}
}

func (s *script) give(size int, want string) {
	s.Helper()
	s.chain(0)
	s.step(Event{Kind: Append, Now: 5, Record: tlog.Record{Operation: tlog.OpWrite, Size: uint32(size), Data: make([]byte, size)}}, want)
}

// pull pulls, and reports it written.
func (s *script) pull(want string) {
	s.Helper()
	s.step(Event{Kind: Pull}, want)
	if want != "" {
		s.step(Event{Kind: Written}, "")
		s.step(Event{Kind: Pull}, "")
	}
}

func (s *script) answer(r Response, want string) {
	s.Helper()
	s.step(Event{Kind: Answer, Response: r}, want)
}

func (s *script) recvOK(n tlog.Sequence, want string) {
	s.Helper()
	s.answer(Response{Status: tlog.StatusRecvOK, UpTo: Point{Sequence: n}, Epoch: 3}, want)
}

func (s *script) flushOK(n tlog.Sequence, want string) {
	s.Helper()
	s.answer(Response{Status: tlog.StatusFlushOK, UpTo: s.chain(n), Epoch: 3}, want)
}

func (s *script) flush(ticket uint64, want string) {
	s.Helper()
	s.step(Event{Kind: Flush, Ticket: ticket, Now: 5}, want)
}

func (s *script) fails(e Event, want error) {
	s.Helper()
	e.Attempt = s.w.attempt
	acts := s.w.Step(&e, nil)
	if len(acts) != 1 || acts[0].Kind != Fail || !errors.Is(acts[0].Err, want) {
		s.Fatalf("%v: got %v, want a failure with %v", e.Kind, acts, want)
	}
	s.give(1, "refuse")
	s.flush(99, "refuse")
	s.step(Event{Kind: Lost}, "")
	if !errors.Is(s.w.Ended(), want) {
		s.Errorf("ended with %v, want %v", s.w.Ended(), want)
	}
}

func TestStream(t *testing.T) {
	s := attached(t, nil)
	s.give(10, "given 1; wake")
	s.give(10, "given 2") // awake already
	s.pull("send 1-2")
	s.give(10, "given 3") // held back: 1-2 are under way, and it is small
	s.recvOK(2, "wake")
	s.pull("send 3-3")
	s.give(60, "given 4; wake") // worth a call of its own
	s.pull("send 4-4")
	s.flushOK(3, "free 3")
	s.recvOK(1, "") // older than what is known
	s.flushOK(2, "")
	s.flushOK(4, "free 4")
}

func TestBatchLimits(t *testing.T) {
	s := attached(t, func(c *Config) { c.BatchRecords = 4 })
	s.give(300, "given 1; wake") // larger than a batch: alone
	for i := range 6 {
		s.give(20, fmt.Sprintf("given %d", i+2))
	}
	s.step(Event{Kind: Pull}, "send 1-1")
	s.step(Event{Kind: Pull}, "") // the write is not done
	s.step(Event{Kind: Written}, "")
	s.step(Event{Kind: Pull}, "send 2-5; send-force-flush 3") // four records are a batch; half the window is in flight
	s.step(Event{Kind: Written}, "")
	s.recvOK(5, "")
	s.step(Event{Kind: Pull}, "send 6-7") // the force flush is still out
}

func TestFlushSharesMarks(t *testing.T) {
	s := attached(t, func(c *Config) { c.BatchRecords = 16 })
	s.give(10, "given 1; wake")
	s.flush(1, "") // mark 2
	s.flush(2, "") // nothing in between: the same
	s.pull("send 1-2; send-force-flush 2")
	s.flush(3, "") // still the same, though sent
	s.give(10, "given 3")
	s.flush(4, "wake") // mark 4, which is not held back
	s.pull("send 3-4; send-force-flush 4")
	s.flushOK(3, "resolve t1; resolve t2; resolve t3; free 3")
	s.flushOK(4, "resolve t4; free 4")
	s.flush(5, "resolve t5") // durable already
	if got := s.w.Last().Sequence; got != 4 {
		t.Errorf("last is %d, want 4", got)
	}
}

func TestFlushTo(t *testing.T) {
	s := attached(t, nil)
	s.give(10, "given 1; wake")
	s.give(10, "given 2")
	s.pull("send 1-2")
	s.step(Event{Kind: FlushTo, Sequence: 1, Ticket: 1}, "wake")
	s.step(Event{Kind: FlushTo, Sequence: 3, Ticket: 2}, "refuse")
	s.pull("send-force-flush 1")
	s.step(Event{Kind: Cancel, Ticket: 1}, "")
	s.flushOK(2, "free 2")
	s.step(Event{Kind: FlushTo, Sequence: 2, Ticket: 3}, "resolve t3")
}

func TestSlaveSync(t *testing.T) {
	s := attached(t, nil)
	s.step(Event{Kind: SlaveSync, Ticket: 1}, "wake")
	s.step(Event{Kind: SlaveSync, Ticket: 2}, "")
	s.pull("send-slave-sync; send-slave-sync")
	synced := Response{Status: tlog.StatusWaitSlaveSyncReceived}
	s.answer(synced, "resolve t1")
	s.step(Event{Kind: Lost}, "dial #2 server 0 after 0s")
	s.step(s.welcome(0), "attached")
	s.pull("send-slave-sync")
	s.answer(synced, "resolve t2")
	s.answer(synced, "disconnect")
}

func TestWindowFull(t *testing.T) {
	s := attached(t, func(c *Config) { c.Bytes = 100 })
	s.give(30, "given 1; wake")
	s.give(80, "full")
	s.pull("send 1-1; send-force-flush 1") // less than half, but someone waits
	s.flushOK(1, "free 1")
	s.give(80, "given 2; wake")
	s.pull("send 2-2; send-force-flush 2")
	s.flushOK(2, "free 2")
	s.give(500, "given 3; wake") // larger than the window, which is empty
	s.give(1, "full")
}

func TestCredit(t *testing.T) {
	s := newScript(t, nil)
	s.step(Event{Kind: Start}, "dial #1 server 0 after 0s")
	w := s.welcome(0)
	w.Welcome.CreditRecords, w.Welcome.CreditBytes = 0, 0
	s.step(w, "attached")
	s.pull("")
	for i := range 6 {
		s.give(10, fmt.Sprintf("given %d", i+1))
	}
	s.pull("send 1-1; send-force-flush 1") // no credit: one at a time
	s.recvOK(1, "")
	s.flushOK(1, "free 1; wake")
	s.pull("send 2-2; send-force-flush 2")
	s.answer(Response{Status: tlog.StatusRecvOK, UpTo: Point{Sequence: 2}, CreditRecords: 3, CreditBytes: 30}, "wake")
	s.pull("send 3-4")
	s.flushOK(4, "free 4; wake")
	s.pull("send 5-6; send-force-flush 5")
	// Bytes: 20 of 50 are in flight, not half, and 40 more are too many.
	s.answer(Response{Status: tlog.StatusRecvOK, UpTo: Point{Sequence: 6}, CreditRecords: 100, CreditBytes: 50}, "")
	s.flushOK(6, "free 6")
	s.give(20, "given 7; wake")
	s.pull("send 7-7")
	s.recvOK(7, "")
	s.give(40, "given 8; wake")
	s.pull("send-force-flush 7")
}

// A record of a group whose time would have to be raised is refused.
func TestGroupTimes(t *testing.T) {
	s := attached(t, nil)
	const later = "refuse: vdisk disk: internal error: the clock of its group gave 9"
	s.step(Event{Kind: Append, Now: 10, Record: tlog.Record{Operation: tlog.OpWatermark, Group: 3}}, "given 1")
	s.step(Event{Kind: Append, Now: 9, Record: tlog.Record{Operation: tlog.OpWatermark, Group: 3}}, later)
	s.step(Event{Kind: Flush, Ticket: 1, Now: 9, Record: tlog.Record{Group: 3}}, later)
	s.step(Event{Kind: Append, Now: 10, Record: tlog.Record{Operation: tlog.OpWatermark, Group: 3}}, "given 2")
	s.step(Event{Kind: Flush, Ticket: 1, Now: 11, Record: tlog.Record{Group: 4}}, "")
	if e := s.w.at(3); e.rec.Group != 4 || e.rec.Timestamp != 11 || e.rec.Operation != tlog.OpFlush {
		t.Errorf("%+v", e.rec)
	}
}

func TestTimestamps(t *testing.T) {
	s := newScript(t, nil)
	s.step(Event{Kind: Start}, "dial #1 server 0 after 0s")
	w := s.welcome(0)
	w.Welcome.LastTimestamp = 100
	s.step(w, "attached")
	var got []uint64
	for i, now := range []uint64{90, 95, 110, 105, 105, 120} {
		s.step(Event{Kind: Append, Now: now, Record: tlog.Record{Operation: tlog.OpTrim, Size: 1}}, "given")
		got = append(got, s.w.at(tlog.Sequence(i+1)).rec.Timestamp)
	}
	if want := []uint64{100, 100, 110, 110, 110, 120}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("timestamps %v, want %v", got, want)
	}
	if s.w.ClockSteps() != 1 {
		t.Errorf("%d steps back counted, want 1", s.w.ClockSteps())
	}
}

func TestFreeWaitsForTheWrite(t *testing.T) {
	s := attached(t, nil)
	s.give(10, "given 1; wake")
	s.give(10, "given 2")
	s.pull("send 1-2")
	s.give(60, "given 3; wake")
	s.step(Event{Kind: Pull}, "send 3-3")
	s.flushOK(3, "free 2")
	s.step(Event{Kind: Written}, "free 3")
	s.pull("")
	s.give(10, "given 4; wake")
	s.step(Event{Kind: Pull}, "send 4-4")
	s.flushOK(4, "")
	s.step(Event{Kind: Lost}, "free 4; dial #2")
}

// TestBadAnswers has the answers that no right server gives.
func TestBadAnswers(t *testing.T) {
	other := tlog.Hash{9}
	for _, c := range []struct {
		name string
		r    Response
	}{
		{"RecvOK beyond what was sent", Response{Status: tlog.StatusRecvOK, UpTo: Point{Sequence: 3}, Epoch: 3}},
		{"RecvOK of an older epoch", Response{Status: tlog.StatusRecvOK, UpTo: Point{Sequence: 1}, Epoch: 2}},
		{"FlushOK beyond what was sent", Response{Status: tlog.StatusFlushOK, UpTo: Point{3, other}, Epoch: 3}},
		{"FlushOK of an older epoch", Response{Status: tlog.StatusFlushOK, UpTo: Point{1, other}, Epoch: 2}},
		{"FlushOK with another chain value", Response{Status: tlog.StatusFlushOK, UpTo: Point{2, other}, Epoch: 3}},
		{"ForceFlushReceived without a force flush", Response{Status: tlog.StatusForceFlushReceived, UpTo: Point{Sequence: 1}}},
		{"WaitSlaveSyncReceived without a request", Response{Status: tlog.StatusWaitSlaveSyncReceived}},
		{"ByeOK without a bye", Response{Status: tlog.StatusByeOK}},
		{"an unknown status", Response{Status: 77}},
		{"no status", Response{}},
		{"FlushFailed", Response{Status: tlog.StatusFlushFailed}},
		{"RecvFailed", Response{Status: tlog.StatusRecvFailed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := attached(t, nil)
			s.give(10, "given 1; wake")
			s.give(10, "given 2")
			s.pull("send 1-2")
			s.give(10, "given 3")
			s.answer(c.r, "disconnect")
			s.flushOK(2, "") // nothing counts any more
			s.step(Event{Kind: Pull}, "")
			s.step(Event{Kind: Lost}, "dial #2 server 1 after 0s")
			s.step(s.welcome(0), "attached")
			s.pull("send 1-3")
		})
	}
}

func TestRefusedRecords(t *testing.T) {
	s := attached(t, nil)
	s.give(10, "given 1; wake")
	failed := Response{Status: tlog.StatusRecvFailed, Expected: 1, Message: "hash"}
	for range 3 { // something becomes durable in between
		s.pull("send")
		s.answer(failed, "disconnect")
		s.step(Event{Kind: Lost}, "dial")
		s.give(10, "given")
		s.step(s.welcome(s.w.flushed.Sequence+1), "free")
	}
	s.pull("send")
	s.answer(failed, "disconnect")
	s.step(Event{Kind: Lost}, "dial")
	s.step(s.welcome(s.w.flushed.Sequence), "attached")
	s.fails(Event{Kind: Answer, Response: failed}, ErrRefused)
}

func TestClose(t *testing.T) {
	bye := Response{Status: tlog.StatusByeOK}
	t.Run("attached", func(t *testing.T) {
		s := attached(t, nil)
		s.give(10, "given 1; wake")
		s.step(Event{Kind: Close}, "")
		s.give(10, "refuse")
		s.flush(1, "refuse")
		s.pull("send 1-1; send-bye")
		s.flushOK(1, "free 1")
		if !s.w.Expecting() {
			t.Error("ByeOK is not expected")
		}
		s.answer(bye, "done")
		s.step(Event{Kind: Lost}, "")
		s.step(Event{Kind: Close}, "")
		if !errors.Is(s.w.Ended(), ErrClosed) {
			t.Errorf("ended with %v", s.w.Ended())
		}
	})
	t.Run("lost behind the bye", func(t *testing.T) {
		s := attached(t, nil)
		s.give(10, "given 1; wake")
		s.step(Event{Kind: Close}, "")
		s.pull("send 1-1; send-bye")
		s.step(Event{Kind: Lost}, "dial")
		s.step(s.welcome(0), "attached")
		s.pull("send 1-1; send-bye")
		s.flushOK(1, "free 1")
		s.step(Event{Kind: Lost}, "done") // nobody has to be asked any more
	})
	t.Run("ByeOK without FlushOK", func(t *testing.T) {
		s := attached(t, nil)
		s.give(10, "given 1; wake")
		s.step(Event{Kind: Close}, "")
		s.pull("send 1-1; send-bye")
		s.answer(bye, "disconnect")
	})
	t.Run("not connected, nothing to flush", func(t *testing.T) {
		s := newScript(t, nil)
		s.step(Event{Kind: Start}, "dial")
		s.step(Event{Kind: Close}, "done")
	})
	t.Run("abort", func(t *testing.T) {
		s := attached(t, nil)
		s.give(10, "given 1; wake")
		s.step(Event{Kind: Close}, "")
		s.fails(Event{Kind: Abort, Err: ErrClosed}, ErrClosed)
	})
}
