package window

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"tlog"
)

// model is a window with everything around it: connections that lose and delay,
// and one or more servers that share a log. The log is checked as it grows.
type model struct {
	t rapid.TB
	w *Window

	// What the shell knows.
	attempt  uint64
	dialing  bool
	attached bool
	broken   bool // Disconnect came; Lost is due
	awake    bool // the sender will pull
	inWrite  bool
	ended    error
	ticket   uint64
	waiting  map[uint64]tlog.Sequence // ticket → what it waits for
	freed    tlog.Sequence
	now      uint64

	// On the way, per connection, in order.
	toServer []message
	toClient []Response

	// The servers. log is what is received, durable a prefix of it.
	log        []tlog.Record
	chains     []tlog.Hash // after record i+1
	durable    int
	generation tlog.Generation
	session    bool // it takes records on the present connection
	resends    int

	moves int // events and messages, to see when nothing happens any more
}

// message is one client message.
type message struct {
	kind    ActionKind
	records []tlog.Record
	chain   tlog.Hash
	seq     tlog.Sequence
}

const modelVdisk = tlog.VdiskID("model")

func newModel(t rapid.TB, cfg Config) *model {
	cfg.Vdisk, cfg.Hashes = modelVdisk, []tlog.HashAlgorithm{tlog.HashBlake2b}
	return &model{t: t, w: New(cfg), waiting: map[uint64]tlog.Sequence{}}
}

// step gives the window an event and does what it answers.
func (m *model) step(e Event) []Action {
	m.moves++
	acts := m.w.Step(&e, nil)
	for _, a := range acts {
		m.do(a)
	}
	m.invariants()
	return acts
}

func (m *model) do(a Action) {
	switch a.Kind {
	case Dial:
		if m.dialing || m.attached || m.broken {
			m.t.Fatalf("dial while attempt %d is not lost", m.attempt)
		}
		m.attempt, m.dialing = a.Attempt, true
	case Attached:
		m.dialing, m.attached, m.awake = false, true, true
	case Wake:
		if m.awake || m.inWrite {
			m.t.Fatalf("wake of a sender that is awake")
		}
		m.awake = true
	case Resolve:
		s, ok := m.waiting[a.Ticket]
		if !ok {
			m.t.Fatalf("ticket %d resolved twice or never given", a.Ticket)
		}
		if int(s) > m.durable {
			m.t.Fatalf("flush of %d resolved; durable: %d", s, m.durable)
		}
		delete(m.waiting, a.Ticket)
	case Free:
		if m.freed = a.Last; int(a.Last) > m.durable {
			m.t.Fatalf("free of %d; durable: %d", a.Last, m.durable)
		}
	case Disconnect:
		m.dialing, m.attached, m.broken = false, false, true
	case Fail, Done:
		m.ended, m.attached, m.dialing = fmt.Errorf("%v", a), false, false
	}
}

// invariants are those that hold after every step.
func (m *model) invariants() {
	w := m.w
	if m.ended != nil {
		return
	}
	if m.attached && w.idle && !m.awake {
		probe := w.worthSending() || w.forceTarget() > w.forced || w.probing || w.syncsSent < len(w.syncs) || w.byeDue()
		if probe {
			m.t.Fatalf("the sender sleeps, and there is something to send: sent %d of %d", w.sent, w.head.Sequence)
		}
	}
	records, bytes := w.Held()
	if records > 1 && (records > w.cfg.Records || bytes > w.cfg.Bytes) {
		m.t.Fatalf("window holds %d records, %d bytes", records, bytes)
	}
	if inFlight := int(w.sent - w.flushed.Sequence); m.attached && inFlight > 1 && inFlight > int(w.creditRecs) && w.busy {
		m.t.Fatalf("%d records in flight, credit %d", inFlight, w.creditRecs)
	}
	if w.writing != 0 && w.freed >= w.writing {
		m.t.Fatalf("record %d is freed while a write from %d on is in progress", w.freed, w.writing)
	}
}

// pull is the sender's turn: it takes what there is and begins to write it.
func (m *model) pull() {
	if !m.attached || !m.awake || m.inWrite {
		return
	}
	m.awake = false
	acts := m.step(Event{Kind: Pull, Attempt: m.attempt})
	for _, a := range acts {
		msg := message{kind: a.Kind, seq: a.Last, chain: a.Chain}
		switch a.Kind {
		case Send:
			msg.records = m.w.Records(nil, a.First, a.Last)
		case SendForceFlush, SendSlaveSync, SendBye:
		default:
			continue
		}
		m.toServer = append(m.toServer, msg)
		m.inWrite = true
	}
}

func (m *model) written() {
	if m.inWrite {
		m.inWrite, m.awake = false, true
		m.step(Event{Kind: Written, Attempt: m.attempt})
	}
}

// serve takes one client message, as a server does.
func (m *model) serve() {
	if len(m.toServer) == 0 || !m.session {
		return
	}
	msg := m.toServer[0]
	m.toServer = m.toServer[1:]
	m.moves++
	switch msg.kind {
	case Send:
		for i := range msg.records {
			m.receive(&msg.records[i])
		}
		if got := m.chainAt(int(msg.records[len(msg.records)-1].Sequence)); got != msg.chain {
			m.t.Fatalf("batch with another chain value than the server's")
		}
		m.answer(Response{Status: tlog.StatusRecvOK, UpTo: Point{Sequence: tlog.Sequence(len(m.log))}})
	case SendForceFlush:
		if int(msg.seq) > len(m.log) {
			m.t.Fatalf("force flush at %d of %d sent", msg.seq, len(m.log))
		}
		m.answer(Response{Status: tlog.StatusForceFlushReceived, UpTo: Point{Sequence: msg.seq}})
		m.flush(len(m.log))
	case SendSlaveSync:
		m.answer(Response{Status: tlog.StatusWaitSlaveSyncReceived})
	case SendBye:
		m.flush(len(m.log))
		m.answer(Response{Status: tlog.StatusByeOK, UpTo: Point{Sequence: tlog.Sequence(m.durable)}})
	}
}

func (m *model) receive(r *tlog.Record) {
	switch n := len(m.log); {
	case int(r.Sequence) <= n:
		m.resends++
		if m.log[r.Sequence-1].Timestamp != r.Timestamp || m.log[r.Sequence-1].Offset != r.Offset {
			m.t.Fatalf("record %d was another the first time", r.Sequence)
		}
	case int(r.Sequence) != n+1:
		m.t.Fatalf("gap: record %d after %d", r.Sequence, n)
	default:
		if n > 0 && r.Timestamp < m.log[n-1].Timestamp {
			m.t.Fatalf("timestamp of record %d decreases", r.Sequence)
		}
		m.chains = append(m.chains, tlog.ChainNext(m.chainAt(n), r))
		m.log = append(m.log, *r)
	}
}

func (m *model) chainAt(n int) tlog.Hash {
	if n == 0 {
		return tlog.ChainStart(modelVdisk)
	}
	return m.chains[n-1]
}

// flush makes the first n records durable and says so.
func (m *model) flush(n int) {
	m.durable = max(m.durable, min(n, len(m.log)))
	m.answer(Response{Status: tlog.StatusFlushOK, UpTo: m.point()})
}

func (m *model) point() Point {
	return Point{tlog.Sequence(m.durable), m.chainAt(m.durable)}
}

func (m *model) answer(r Response) {
	if m.session {
		r.Epoch = 1
		m.toClient = append(m.toClient, r)
	}
}

// deliver gives the client the next answer on the way.
func (m *model) deliver() {
	if len(m.toClient) == 0 {
		return
	}
	r := m.toClient[0]
	m.toClient = m.toClient[1:]
	if m.attached {
		m.step(Event{Kind: Answer, Attempt: m.attempt, Response: r})
	}
}

// What a server does, when it is attached to, with what it received and did not
// make durable.
const (
	drain  = iota // makes it durable first
	forget        // has crashed
	keep          // goes on with it
)

// welcome answers the handshake. The answer may be lost.
func (m *model) welcome(pending int, lost bool, credit uint32) {
	if !m.dialing {
		return
	}
	h := m.w.Hello()
	if int(h.LastFlushed.Sequence) > m.durable || h.LastFlushed.Chain != m.chainAt(int(h.LastFlushed.Sequence)) {
		m.t.Fatalf("hello says %d is durable, and %d are", h.LastFlushed.Sequence, m.durable)
	}
	switch pending {
	case forget:
		m.log, m.chains = m.log[:m.durable], m.chains[:m.durable]
	case drain:
		m.durable = len(m.log)
	}
	m.generation++
	if lost {
		m.lose()
		return
	}
	m.session = true
	m.step(Event{Kind: Attach, Attempt: m.attempt, Welcome: Welcome{
		Status: tlog.HandshakeOK, LastFlushed: m.point(), Generation: m.generation, Epoch: 1,
		Hash: tlog.HashBlake2b, CreditRecords: credit, CreditBytes: uint64(credit) * 16,
	}})
}

// lose ends the connection. Messages on the way to the server may still arrive
// first (the caller serves them); answers on the way are gone.
func (m *model) lose() {
	if !m.dialing && !m.attached && !m.broken {
		return
	}
	m.toServer, m.toClient, m.session = nil, nil, false
	m.dialing, m.attached, m.broken, m.inWrite, m.awake = false, false, false, false, false
	m.step(Event{Kind: Lost, Attempt: m.attempt, Err: fmt.Errorf("lost")})
}

// stale gives the window events of connections that are gone: they must change nothing.
func (m *model) stale() {
	if m.attempt < 2 {
		return
	}
	old := m.attempt - 1
	p := Point{Sequence: m.w.Last().Sequence, Chain: m.w.Last().Chain}
	for _, e := range []Event{
		{Kind: Answer, Attempt: old, Response: Response{Status: tlog.StatusFlushOK, UpTo: p, Epoch: 9}},
		{Kind: Answer, Attempt: old, Response: Response{Status: tlog.StatusFlushFailed}},
		{Kind: Lost, Attempt: old},
		{Kind: Written, Attempt: old},
		{Kind: Attach, Attempt: old, Welcome: Welcome{Status: tlog.HandshakeFenced}},
		{Kind: Pull, Attempt: old},
		{Kind: Overdue, Attempt: old},
		{Kind: Stalled, Attempt: old},
	} {
		if acts := m.step(e); len(acts) != 0 {
			m.t.Fatalf("%v of an old attempt: %v", e.Kind, acts)
		}
	}
}

func (m *model) append(size int) {
	m.step(Event{Kind: Append, Now: m.now, Record: tlog.Record{
		Operation: tlog.OpWrite, Offset: m.now, Size: uint32(size), Data: make([]byte, size),
	}})
}

// wait gives the window a request with a ticket.
func (m *model) wait(e Event) {
	m.ticket++
	e.Ticket, e.Now = m.ticket, m.now
	last := m.w.Last().Sequence
	m.waiting[e.Ticket] = last // at least
	if e.Kind == FlushTo {
		m.waiting[e.Ticket] = e.Sequence
	} else if e.Kind == SlaveSync {
		m.waiting[e.Ticket] = 0
	}
	for _, a := range m.step(e) {
		if a.Kind == Full || a.Kind == Refuse {
			delete(m.waiting, e.Ticket)
		}
	}
}

// cancel gives up the flush with the highest ticket that waits.
func (m *model) cancel() {
	var ticket uint64
	for k, s := range m.waiting {
		if s > 0 {
			ticket = max(ticket, k)
		}
	}
	if ticket != 0 {
		delete(m.waiting, ticket)
		m.step(Event{Kind: Cancel, Ticket: ticket})
	}
}

// settle lets everything run without faults until nothing happens any more.
func (m *model) settle() {
	for range 100000 {
		before := m.moves
		switch {
		case m.ended != nil:
			return
		case m.broken:
			m.lose()
		case m.dialing:
			m.welcome(drain, false, 4)
		}
		m.pull()
		m.written()
		m.serve()
		m.deliver()
		if before == m.moves {
			return
		}
	}
	m.t.Fatalf("does not settle")
}

// TestAnyInterleaving drives the window through random interleavings of
// appends, flushes, sends, crashes and losses, against a server that checks
// every message. Then the faults stop, and everything must come to an end.
func TestAnyInterleaving(t *testing.T) {
	var resends, flushes, lost uint64
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, Config{
			Servers: rapid.IntRange(1, 3).Draw(t, "servers"),
			Records: rapid.IntRange(1, 12).Draw(t, "records"), Bytes: rapid.IntRange(1, 200).Draw(t, "bytes"),
			BatchRecords: rapid.IntRange(1, 5).Draw(t, "batch"), BatchBytes: 40, Coalesce: rapid.IntRange(0, 60).Draw(t, "coalesce"),
		})
		m.step(Event{Kind: Start})
		// What is listed more often happens more often.
		moves := []string{
			"append", "append", "append", "flush", "flushTo", "sync", "cancel", "tick",
			"welcome", "welcome", "welcome", "pull", "pull", "written", "written",
			"serve", "serve", "serve", "deliver", "deliver", "deliver", "seal", "lose", "stale", "overdue", "stalled", "stalled",
		}
		for range 500 {
			m.move(t, rapid.SampledFrom(moves).Draw(t, "move"))
		}
		if m.ended != nil {
			t.Fatalf("ended: %v", m.ended)
		}
		m.finish()
		resends, flushes, lost = resends+uint64(m.resends), flushes+m.ticket, lost+m.attempt-1
	})
	t.Logf("%d resends, %d flushes, %d losses", resends, flushes, lost)
	// -short makes a fifth of the runs, too few to be sure of each.
	if !testing.Short() && (resends == 0 || flushes == 0 || lost == 0) {
		t.Errorf("%d resends, %d flushes, %d losses: the test tests nothing", resends, flushes, lost)
	}
}

// move makes one random move.
func (m *model) move(t *rapid.T, name string) {
	n := rapid.IntRange(0, 30).Draw(t, "n")
	switch name {
	case "append":
		m.append(n + 1)
	case "flush":
		m.wait(Event{Kind: Flush})
	case "flushTo":
		m.wait(Event{Kind: FlushTo, Sequence: tlog.Sequence(n) % (m.w.Last().Sequence + 2)})
	case "sync":
		m.wait(Event{Kind: SlaveSync})
	case "cancel":
		m.cancel()
	case "overdue":
		m.step(Event{Kind: Overdue, Attempt: m.attempt})
	case "stalled":
		m.step(Event{Kind: Stalled, Attempt: m.attempt})
	case "tick":
		m.now = uint64(max(0, int(m.now)+n-5))
	case "welcome":
		m.welcome(n%3, n < 5, uint32(n/3))
	case "pull":
		m.pull()
	case "written":
		m.written()
	case "serve":
		m.serve()
	case "deliver":
		m.deliver()
	case "seal":
		m.flush(m.durable + n/4)
	case "lose":
		for range n % 4 {
			m.serve() // what was on the way still arrives, its answers do not
		}
		m.lose()
	case "stale":
		m.stale()
	}
}

// finish lets everything come to an end: the flushes that wait, then a close.
func (m *model) finish() {
	m.settle()
	if len(m.waiting) != 0 {
		m.t.Fatalf("%d flushes never resolved; sent %d, durable %d, last %d", len(m.waiting), m.w.sent, m.durable, m.w.Last().Sequence)
	}
	m.step(Event{Kind: Close})
	m.settle()
	if m.w.phase != phaseDone || m.w.Flushed() != m.w.Last() || m.durable != int(m.w.Last().Sequence) {
		m.t.Fatalf("closed in phase %d with %d of %d flushed, %d durable", m.w.phase, m.w.Flushed().Sequence, m.w.Last().Sequence, m.durable)
	}
}
