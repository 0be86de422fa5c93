package window

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"tlog"
)

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

// TestStalls has a server that is alive and makes nothing durable: it is asked
// again, then left, each time after longer, until something is durable.
func TestStalls(t *testing.T) {
	s := attached(t, nil)
	s.give(10, "given 1; wake")
	s.step(Event{Kind: Stalled}, "") // nothing was asked for
	s.flush(1, "")
	s.pull("send 1-2; send-force-flush 2")
	received := Response{Status: tlog.StatusForceFlushReceived, UpTo: Point{Sequence: 2}}
	s.recvOK(2, "")
	s.answer(received, "")
	for moves := range 3 {
		for range firstPatience<<moves - 1 {
			s.step(Event{Kind: Stalled}, "wake")
			if !s.w.Flushing() || s.w.Expecting() != (s.w.forcedOK < s.w.forced) {
				t.Fatal("a probe is an answer that is expected")
			}
			s.pull("send-force-flush 2")
			s.answer(received, "")
			s.step(Event{Kind: Overdue}, "") // nothing is owed
		}
		s.step(Event{Kind: Stalled}, "disconnect")
		s.step(Event{Kind: Lost}, fmt.Sprintf("dial #%d server %d after 0s", moves+2, (moves+1)%2))
		s.w.failures = 0
		s.step(s.welcome(0), "attached")
		s.pull("send 1-2; send-force-flush 2")
		s.recvOK(2, "")
		s.answer(received, "")
	}
	s.flushOK(2, "resolve t1; free 2")
	if s.w.patience != firstPatience {
		t.Errorf("patience %d after progress", s.w.patience)
	}
}

// TestTheOnlyServerIsNotLeft for being slow, but it is for being silent.
func TestTheOnlyServerIsNotLeft(t *testing.T) {
	s := attached(t, func(c *Config) { c.Servers = 1 })
	s.flush(1, "wake")
	s.pull("send 1-1; send-force-flush 1")
	s.flushOK(0, "")
	s.answer(Response{Status: tlog.StatusForceFlushReceived, UpTo: Point{Sequence: 1}}, "")
	s.recvOK(1, "")
	for range 3 * firstPatience {
		s.step(Event{Kind: Stalled}, "wake")
		s.pull("send-force-flush 1")
		s.answer(Response{Status: tlog.StatusForceFlushReceived, UpTo: Point{Sequence: 1}}, "")
	}
	s.step(Event{Kind: Stalled}, "wake")
	s.pull("send-force-flush 1")
	s.step(Event{Kind: Overdue}, "disconnect")
	s.step(Event{Kind: Lost}, "dial #2 server 0 after 0s")
}

// TestSilentServer is left for the next one, not tried again first.
func TestSilentServer(t *testing.T) {
	s := attached(t, nil)
	s.give(10, "given 1; wake")
	s.pull("send 1-1")
	s.step(Event{Kind: Overdue}, "disconnect")
	s.step(Event{Kind: Lost}, "dial #2 server 1 after 0s")
}

// TestEpochOfOneMessage: an epoch that only one message names may be a flipped
// bit. It must not have every right server refused from then on.
func TestEpochOfOneMessage(t *testing.T) {
	s := attached(t, nil)
	s.give(10, "given 1; wake")
	s.give(10, "given 2")
	s.pull("send 1-2")
	s.answer(Response{Status: tlog.StatusFlushOK, UpTo: s.chain(1), Epoch: 3 + 1<<40}, "free 1")
	s.flushOK(2, "free 2")
	s.step(Event{Kind: Lost}, "dial")
	high := s.welcome(2)
	high.Welcome.Epoch = 3 + 1<<40
	s.step(high, "attached")
	s.give(10, "given 3")
	s.pull("send 3")
	s.flushOK(3, "disconnect") // on that connection it counts
	s.step(Event{Kind: Lost}, "dial")
	s.step(s.welcome(2), "attached")
	s.pull("send 3")
	s.flushOK(3, "free 3")
}

// TestAnyClock: whatever the clocks of this machine and of the last one say,
// timestamps never decrease, over sessions too.
func TestAnyClock(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := attached(t, nil)
		var last uint64
		n := tlog.Sequence(0)
		for range rapid.IntRange(1, 8).Draw(rt, "steps") { // the window holds no more
			if rapid.IntRange(0, 3).Draw(rt, "reconnects") == 0 {
				s.step(Event{Kind: Lost}, "dial")
				e := s.welcome(0)
				e.Welcome.LastTimestamp = rapid.Uint64().Draw(rt, "the log's clock")
				// A log never ends before a time that this client gave.
				e.Welcome.LastTimestamp = max(e.Welcome.LastTimestamp, last)
				last = e.Welcome.LastTimestamp
				s.step(e, "attached")
				continue
			}
			now := rapid.Uint64().Draw(rt, "clock")
			s.step(Event{Kind: Append, Now: now, Record: tlog.Record{Operation: tlog.OpTrim, Size: 1}}, "given")
			n++
			got := s.w.at(n).rec.Timestamp
			if got < last || now >= last && got != now {
				rt.Fatalf("record %d: clock %d, last %d: timestamp %d", n, now, last, got)
			}
			last = got
		}
	})
}
