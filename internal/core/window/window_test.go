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

func TestReattach(t *testing.T) {
	s := attached(t, nil)
	for i := range 5 {
		s.give(10, fmt.Sprintf("given %d", i+1))
	}
	s.flush(1, "")
	s.pull("send 1-6; send-force-flush 6")
	s.step(Event{Kind: Lost}, "dial #2 server 0 after 0s")
	if h := s.w.Hello(); h.Takeover || h.Adopt || h.Generation != 1 || len(h.Hashes) != 1 || h.LastFlushed.Sequence != 0 {
		t.Errorf("hello of a reattach: %+v", h)
	}
	s.step(s.welcome(3), "free 3; attached") // the lost acknowledgements are in the welcome
	s.pull("send 4-6; send-force-flush 6")
	s.flushOK(6, "resolve t1; free 6")
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

func TestBackoffAndServers(t *testing.T) {
	s := newScript(t, nil)
	s.step(Event{Kind: Start}, "dial #1 server 0 after 0s")
	for _, want := range []string{
		"dial #2 server 1 after 0s", "dial #3 server 0 after 0s", "dial #4 server 1 after 25ms",
		"dial #5 server 0 after 50ms", "dial #6 server 1 after 100ms", "dial #7 server 0 after 200ms",
		"dial #8 server 1 after 400ms", "dial #9 server 0 after 800ms", "dial #10 server 1 after 1s",
	} {
		s.step(Event{Kind: Lost, Err: errors.New("refused")}, want)
	}
	s.step(s.welcome(0), "attached")
	s.give(1, "given 1")
	s.pull("send 1-1")
	s.step(Event{Kind: Lost}, "dial #11 server 1 after 1s") // attaching alone is no progress
	s.step(s.welcome(1), "free 1; attached")                // this is
	s.step(Event{Kind: Lost}, "dial #12 server 1 after 0s") // and the owner is asked first
	s.step(Event{Kind: Attach, Welcome: Welcome{Status: tlog.HandshakeMoved}}, "disconnect")
	s.step(Event{Kind: Lost}, "dial #13 server 0 after 0s")
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

// TestFirstAttach has what the first welcome may say, and what follows.
func TestFirstAttach(t *testing.T) {
	c0, other := tlog.ChainStart("disk"), tlog.Hash{9}
	resume := Point{5, tlog.Hash{5}}
	for _, c := range []struct {
		name  string
		edit  func(*Config)
		w     func(*Welcome)
		start tlog.Sequence
		fail  error
		lost  bool // not permanent
	}{
		{name: "an empty log"},
		{name: "the point to resume from", edit: func(c *Config) { c.Resume = resume }, w: func(w *Welcome) { w.LastFlushed = resume }, start: 5},
		{name: "an unexpected log", w: func(w *Welcome) { w.LastFlushed = Point{2, other} }, fail: ErrDiverged},
		{name: "a log to adopt", edit: func(c *Config) { c.Adopt = true }, w: func(w *Welcome) { w.LastFlushed = Point{7, other} }, start: 7},
		{name: "an empty log to adopt", edit: func(c *Config) { c.Adopt = true }},
		{name: "another chain start", w: func(w *Welcome) { w.LastFlushed.Chain = other }, fail: ErrDiverged},
		{name: "adopt, and another chain start", edit: func(c *Config) { c.Adopt = true }, w: func(w *Welcome) { w.LastFlushed.Chain = other }, fail: ErrDiverged},
		{name: "a shorter log", edit: func(c *Config) { c.Resume, c.Adopt = resume, true }, w: func(w *Welcome) { w.LastFlushed = Point{4, other} }, fail: ErrLogBehind},
		{name: "a lost log", edit: func(c *Config) { c.Resume = resume }, w: func(w *Welcome) { w.LastFlushed = Point{0, c0} }, fail: ErrLogBehind},
		{name: "another history", edit: func(c *Config) { c.Resume, c.Adopt = resume, true }, w: func(w *Welcome) { w.LastFlushed = Point{5, other} }, fail: ErrDiverged},
		{name: "another size", w: func(w *Welcome) { w.DiskSize = 77 }, fail: ErrRefused},
		{name: "an old generation", edit: func(c *Config) { c.Generation = 4 }, w: func(w *Welcome) { w.Generation = 4 }, lost: true},
		{name: "a hash that was not offered", w: func(w *Welcome) { w.Hash = 9 }, lost: true},
		{name: "no status", w: func(w *Welcome) { w.Status = 0 }, lost: true},
		{name: "an internal error", w: func(w *Welcome) { w.Status = tlog.HandshakeInternal }, lost: true},
		{name: "unavailable", w: func(w *Welcome) { w.Status = tlog.HandshakeUnavailable }, lost: true},
		{name: "fenced", w: func(w *Welcome) { w.Status = tlog.HandshakeFenced }, fail: ErrFenced},
		{name: "denied", w: func(w *Welcome) { w.Status = tlog.HandshakeDenied }, fail: ErrDenied},
		{name: "log behind", w: func(w *Welcome) { w.Status = tlog.HandshakeLogBehind }, fail: ErrLogBehind},
		{name: "diverged", w: func(w *Welcome) { w.Status = tlog.HandshakeDiverged }, fail: ErrDiverged},
		{name: "invalid vdisk", w: func(w *Welcome) { w.Status = tlog.HandshakeInvalidVdisk }, fail: ErrRefused},
		{name: "a status of the future", w: func(w *Welcome) { w.Status = -99 }, fail: ErrRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, c.edit)
			s.step(Event{Kind: Start}, "dial")
			e := Event{Kind: Attach, Welcome: Welcome{
				Status: tlog.HandshakeOK, LastFlushed: Point{0, c0}, Generation: s.w.cfg.Generation + 1, Epoch: 1, Hash: tlog.HashSHA256,
			}}
			if c.w != nil {
				c.w(&e.Welcome)
			}
			switch {
			case c.fail != nil:
				s.fails(e, c.fail)
			case c.lost:
				s.step(e, "disconnect")
				s.step(Event{Kind: Lost}, "dial #2 server 1 after 0s")
			default:
				s.step(e, "attached")
				if got := s.w.Start(); got != e.Welcome.LastFlushed || got.Sequence != c.start || s.w.Last() != got || s.w.Flushed() != got {
					t.Errorf("starts at %v, want %v", got, e.Welcome.LastFlushed)
				}
			}
		})
	}
}

// TestLaterAttach has what a welcome may say to a client that sent records 1-3,
// saw 1 flushed, and holds 2-4.
func TestLaterAttach(t *testing.T) {
	for _, c := range []struct {
		name string
		w    func(*script, *Welcome)
		fail error
		want string
	}{
		{"nothing more is durable", func(s *script, w *Welcome) { w.LastFlushed = s.chain(1) }, nil, "attached"},
		{"some more", func(s *script, w *Welcome) { w.LastFlushed = s.chain(2) }, nil, "free 2; attached"},
		{"all that was sent", func(s *script, w *Welcome) { w.LastFlushed = s.chain(3) }, nil, "free 3; attached"},
		{"more than was sent", func(s *script, w *Welcome) { w.LastFlushed = s.chain(4) }, ErrDiverged, ""},
		{"much more", func(s *script, w *Welcome) { w.LastFlushed.Sequence = 1 << 62 }, ErrDiverged, ""},
		{"another record 2", func(s *script, w *Welcome) { w.LastFlushed = s.chain(2); w.LastFlushed.Chain[0]++ }, ErrDiverged, ""},
		{"another record 1", func(s *script, w *Welcome) { w.LastFlushed = s.chain(1); w.LastFlushed.Chain[0]++ }, ErrDiverged, ""},
		{"less than was flushed", func(s *script, w *Welcome) { w.LastFlushed = s.chain(0) }, ErrLogBehind, ""},
		{"an older epoch", func(s *script, w *Welcome) { w.Epoch = 2 }, nil, "disconnect"},
		{"the same generation", func(s *script, w *Welcome) { w.Generation-- }, nil, "disconnect"},
		{"another hash algorithm", func(s *script, w *Welcome) { w.Hash = tlog.HashSHA256 }, nil, "disconnect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := attached(t, nil)
			s.give(20, "given 1; wake")
			s.give(20, "given 2")
			s.give(20, "given 3")
			s.pull("send 1-3")
			s.give(10, "given 4")
			s.flushOK(1, "free 1")
			s.chain(4)
			s.step(Event{Kind: Lost}, "dial")
			e := s.welcome(1)
			c.w(s, &e.Welcome)
			if c.fail != nil {
				s.fails(e, c.fail)
				return
			}
			s.step(e, c.want)
		})
	}
}

func TestTakeoverIsForTheFirstAttach(t *testing.T) {
	s := newScript(t, func(c *Config) { c.Takeover, c.Adopt = true, true })
	s.step(Event{Kind: Start}, "dial")
	s.step(Event{Kind: Lost}, "dial") // the answer was lost: not attached yet
	if h := s.w.Hello(); !h.Takeover || !h.Adopt {
		t.Errorf("hello %+v: want takeover and adopt", h)
	}
	s.step(s.welcome(0), "attached")
	s.step(Event{Kind: Lost}, "dial")
	if h := s.w.Hello(); h.Takeover || h.Adopt {
		t.Errorf("hello %+v after an attach", h)
	}
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

func TestOldAttemptsDoNotCount(t *testing.T) {
	s := attached(t, nil)
	s.give(10, "given 1; wake")
	s.pull("send 1-1")
	s.step(Event{Kind: Lost}, "dial #2")
	s.step(s.welcome(0), "attached")
	s.pull("send 1-1")
	p := s.chain(1)
	for _, e := range []Event{
		{Kind: Answer, Response: Response{Status: tlog.StatusFlushOK, UpTo: p, Epoch: 3}},
		{Kind: Answer, Response: Response{Status: tlog.StatusFlushFailed}},
		{Kind: Lost}, {Kind: Written}, {Kind: Pull},
		{Kind: Attach, Welcome: Welcome{Status: tlog.HandshakeFenced}},
	} {
		e.Attempt = 1
		s.step(e, "")
	}
}
