package sim

import (
	"errors"
	"fmt"
	"time"

	"tlog"
	"tlog/internal/core/session"
	"tlog/internal/core/window"
)

const (
	diskSize         = 4096
	answerTimeout    = 10 * time.Second
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 30 * time.Second
)

// client is the client library and the guest above it. What its base image's
// marker holds outlives the process.
type client struct {
	process
	id         int
	uuid       tlog.UUID
	marker     window.Point
	generation tlog.Generation
	takeover   bool
	cutFrom    []bool // by server

	core     *window.Window
	link     *link
	server   int
	attempt  uint64
	attached bool
	writing  bool
	expected int         // counts the answers that were waited for
	chains   []tlog.Hash // after record base, base+1, …
	base     tlog.Sequence
	tickets  map[uint64]tlog.Sequence
	ticket   uint64
	full     bool
	flushed  tlog.Sequence
	epoch    tlog.Epoch // of the answer that is being handled
	gone     error      // why the window ended
	done     bool
	busy     bool // the guest writes
}

func (w *world) newClient(takeover bool) *client {
	c := &client{
		process: process{w: w, name: fmt.Sprintf("client%d", len(w.clients))},
		id:      len(w.clients), uuid: w.uuid(), takeover: takeover, cutFrom: make([]bool, len(w.servers)),
	}
	w.clients = append(w.clients, c)
	c.start()
	return c
}

// start starts the process on what the marker holds.
func (c *client) start() {
	sw := &c.w.swarm
	c.w.logf("%s starts: record %d, generation %d, takeover %v", c.name, c.marker.Sequence, c.generation, c.takeover)
	c.alive, c.gone, c.done, c.attached, c.full, c.writing, c.link = true, nil, false, false, false, false, nil
	c.tickets, c.flushed, c.chains, c.base = map[uint64]tlog.Sequence{}, c.marker.Sequence, nil, 0
	c.core = window.New(window.Config{
		Vdisk: vdiskName, Servers: len(c.w.servers), DiskSize: diskSize, BlockSize: tlog.DefaultBlockSize,
		ID: c.uuid, Generation: c.generation, Takeover: c.takeover, Resume: c.marker, Adopt: true,
		Hashes: []tlog.HashAlgorithm{tlog.HashSHA256}, Records: sw.windowRecords, Bytes: 1 << 16,
		BatchRecords: 16, BatchBytes: 1 << 12, Coalesce: 256, MaxBackoff: 2 * time.Second,
	})
	c.step(&window.Event{Kind: window.Start})
	c.busy = false
	c.guest(c.w.faulty) // when the faults have stopped, nothing more is written
}

func (c *client) crash() {
	if !c.alive {
		return
	}
	c.w.logf("%s is killed", c.name)
	c.kill()
	if l := c.link; l != nil && !l.broken {
		l.toServer(l.closed)
	}
	c.link = nil
}

// close flushes and says bye.
func (c *client) close() {
	if c.alive && !c.paused && !c.done {
		c.w.logf("%s closes", c.name)
		c.step(&window.Event{Kind: window.Close})
	}
}

// step steps the core and does what it says.
func (c *client) step(e *window.Event) []window.Action {
	acts := c.core.Step(e, nil)
	for i := range acts {
		c.act(&acts[i])
	}
	if p := c.core.Flushed(); p.Sequence > c.flushed {
		c.flushed = p.Sequence
		c.w.violated(c.w.rec.Believed(c.id, c.epoch, point(p)))
		if c.attached && c.w.chance(0.5) {
			c.marker = p // the base image was synced
		}
	}
	return acts
}

func (c *client) act(a *window.Action) {
	switch a.Kind {
	case window.Dial:
		c.attempt = a.Attempt
		wait := a.Delay
		if wait > 0 {
			wait = c.w.between(wait/2, wait)
		}
		c.at(wait, func() { c.dial(a.Attempt, a.Server) })
	case window.Attached:
		c.attached = true
		c.at(0, c.pull)
	case window.Wake:
		c.at(0, c.pull)
	case window.Resolve:
		c.resolve(a.Ticket)
	case window.Free:
		c.full = false
	case window.Disconnect:
		l := c.link
		c.at(0, func() { c.lost(l, a.Err.Error()) })
	case window.Fail:
		c.ended(a.Err)
	case window.Done:
		c.ended(nil)
	}
}

func (c *client) resolve(ticket uint64) {
	target, ok := c.tickets[ticket]
	if !ok {
		return
	}
	delete(c.tickets, ticket)
	if c.w.rec.Durable().Sequence < target {
		c.w.violatedf("%s: flush of record %d returns, and %d is durable", c.name, target, c.w.rec.Durable().Sequence)
	}
}

// ended: the window has ended. Only some reasons are right.
func (c *client) ended(err error) {
	c.w.logf("%s ended: %v", c.name, err)
	c.gone, c.done = err, true
	switch {
	case err == nil && c.core.Flushed() != c.core.Last():
		c.w.violatedf("%s is closed at record %d, and %d is durable", c.name, c.core.Last().Sequence, c.core.Flushed().Sequence)
	case err == nil, errors.Is(err, window.ErrFenced), errors.Is(err, window.ErrDenied):
	case errors.Is(err, window.ErrRefused) && c.w.swarm.gap > 0:
	default:
		c.w.violatedf("%s: %v", c.name, err)
	}
	if l := c.link; l != nil {
		c.at(0, func() { c.lost(l, "ended") })
	}
}

func (c *client) dial(attempt uint64, server int) {
	s := c.w.servers[server]
	l := &link{w: c.w, cl: c, attempt: attempt, srv: s}
	c.link, c.server = l, server
	switch {
	case c.done:
		c.at(0, func() { c.lost(l, "ended") })
	case c.cutFrom[server]:
		l.broken = true
		c.at(dialTimeout, func() { c.lost(l, "dial: time-out") })
	case !s.alive:
		l.broken = true
		c.at(time.Millisecond, func() { c.lost(l, "dial: refused") })
	default:
		h := c.core.Hello()
		l.toServer(func() { l.hello(h) })
		c.at(handshakeTimeout, func() {
			if !c.attached && c.link == l {
				c.lost(l, "handshake: time-out")
			}
		})
	}
}

// lost ends an attempt, once.
func (c *client) lost(l *link, why string) {
	if c.link != l || l == nil {
		return
	}
	c.link, c.attached, c.writing = nil, false, false
	c.expected++
	if !l.broken {
		l.toServer(l.closed)
	}
	c.w.logf("%s lost %s: %s", c.name, l.srv.name, why)
	c.step(&window.Event{Kind: window.Lost, Attempt: l.attempt, Err: errors.New(why)})
}

// answer handles what a server said.
func (c *client) answer(l *link, a answer) {
	c.epoch = a.epoch
	if m := a.welcome; m != nil {
		c.welcomed(l, m, a.epoch)
		return
	}
	r := &a.reply
	c.step(&window.Event{Kind: window.Answer, Attempt: l.attempt, Response: window.Response{
		Status: r.Status, UpTo: window.Point{Sequence: r.UpTo, Chain: r.Chain}, Epoch: a.epoch, Expected: r.Expected, Message: r.Message,
	}})
	if c.link == l {
		c.expect()
	}
}

func (c *client) welcomed(l *link, m *session.Welcome, epoch tlog.Epoch) {
	first := !c.everAttached()
	acts := c.step(&window.Event{Kind: window.Attach, Attempt: l.attempt, Welcome: window.Welcome{
		Status: m.Status, LastFlushed: window.Point{Sequence: m.Head.Last, Chain: m.Head.Chain}, Generation: m.Head.Generation,
		Epoch: epoch, LastTimestamp: m.Head.Timestamp, CreditRecords: c.w.swarm.credit, CreditBytes: 1 << 14,
		Hash: m.Head.Hash, DiskSize: m.Disk.Size, Message: m.Message,
	}})
	for _, a := range acts {
		if a.Kind != window.Attached {
			continue
		}
		if first {
			c.base, c.chains = c.core.Start().Sequence, []tlog.Hash{c.core.Start().Chain}
			c.flushed = c.core.Flushed().Sequence
			c.w.violated(c.w.rec.Believed(c.id, epoch, point(c.core.Start())))
		}
		c.generation = c.core.Welcome().Generation
	}
}

func (c *client) everAttached() bool { return c.core.Welcome().Generation != 0 }

// expect bounds the wait for an answer that is due.
func (c *client) expect() {
	c.expected++
	if !c.core.Expecting() {
		return
	}
	n, l := c.expected, c.link
	c.at(answerTimeout, func() {
		if c.expected == n {
			c.lost(l, "no answer in time")
		}
	})
}

// pull sends what the core gives.
func (c *client) pull() {
	l := c.link
	if l == nil || !c.attached || c.writing || c.done {
		return
	}
	acts := c.step(&window.Event{Kind: window.Pull, Attempt: l.attempt})
	if len(acts) == 0 {
		return
	}
	c.writing = true
	for _, a := range acts {
		switch a.Kind {
		case window.Send:
			c.send(l, a)
		case window.SendForceFlush:
			l.toServer(func() {
				l.message(func() { l.owner.step(session.ForceFlush{Conn: l.id, Sequence: uint64(a.Last)}) })
			})
		case window.SendSlaveSync:
			l.toServer(func() { l.message(func() { l.owner.step(session.WaitSlaveSync{Conn: l.id}) }) })
		case window.SendBye:
			l.toServer(func() { l.message(func() { l.owner.step(session.Bye{Conn: l.id}) }) })
		}
	}
	c.expect()
	c.at(c.w.between(0, time.Millisecond), func() {
		if c.link == l {
			c.writing = false
			c.step(&window.Event{Kind: window.Written, Attempt: l.attempt})
			c.pull()
		}
	})
}

func (c *client) chainAt(s tlog.Sequence) tlog.Hash { return c.chains[s-c.base] }

// send sends a batch as it is; or cut in two, with older records again in
// front, twice, or not at all, as a foreign client might.
func (c *client) send(l *link, a window.Action) {
	w, sw := c.w, &c.w.swarm
	c.w.logf("%s sends records %d to %d", c.name, a.First, a.Last)
	if w.faulty && w.chance(sw.gap) {
		return
	}
	if w.faulty && w.chance(sw.repeat) {
		freed, _ := c.core.Held()
		low := c.core.Last().Sequence - tlog.Sequence(freed) + 1
		from := low + tlog.Sequence(w.rng.Uint64N(uint64(a.First-low+1)))
		c.batch(l, from, a.Last)
	}
	if n := a.Last - a.First; n > 0 && w.faulty && w.chance(sw.rebatch) {
		mid := a.First + tlog.Sequence(w.rng.Uint64N(uint64(n)))
		c.batch(l, a.First, mid)
		c.batch(l, mid+1, a.Last)
		return
	}
	c.batch(l, a.First, a.Last)
}

func (c *client) batch(l *link, first, last tlog.Sequence) {
	records, chain := c.core.Records(nil, first, last), c.chainAt(last)
	l.toServer(func() { l.message(func() { l.batch(records, chain) }) })
}

// write is the guest's life: a record now and then.
func (c *client) write() {
	c.at(c.w.between(0, 2*c.w.swarm.appendEvery), func() {
		if c.done || !c.busy {
			return
		}
		if c.everAttached() && !c.full {
			c.append(c.record())
		}
		c.write()
	})
}

func (c *client) record() tlog.Record {
	r := c.w.rng
	rec := tlog.Record{Operation: tlog.OpWrite, Offset: uint64(r.IntN(diskSize - 64)), Size: uint32(1 + r.IntN(64))}
	switch r.IntN(8) {
	case 0:
		rec.Operation = tlog.OpTrim
	case 1:
		rec.Operation = tlog.OpZero
	default:
		rec.Data = make([]byte, rec.Size)
		for i := range rec.Data {
			rec.Data[i] = byte(r.Uint32())
		}
	}
	rec.Hash = hashOf(rec.Data)
	return rec
}

func (c *client) append(rec tlog.Record) {
	for _, a := range c.step(&window.Event{Kind: window.Append, Record: rec, Now: c.clock()}) {
		c.full = c.full || a.Kind == window.Full
	}
	c.note()
}

// note tells the recorder of what was given out.
func (c *client) note() {
	for s := c.base + tlog.Sequence(len(c.chains)); s <= c.core.Last().Sequence; s++ {
		rec := c.core.Records(nil, s, s)[0]
		before := c.chainAt(s - 1)
		c.w.violated(c.w.rec.Sent(before, &rec))
		c.chains = append(c.chains, tlog.ChainNext(before, &rec))
	}
}

// flush asks for a flush; false if there is no room for its mark.
func (c *client) flush() bool {
	c.ticket++
	t := c.ticket
	e := window.Event{Kind: window.Flush, Ticket: t, Now: c.clock()}
	e.Record.Hash = hashOf(nil)
	c.tickets[t] = 0
	// Resolve may come within the step, before the target is known: then it is
	// the last mark, which is durable.
	for _, a := range c.step(&e) {
		if a.Kind == window.Full || a.Kind == window.Refuse {
			delete(c.tickets, t)
			return false
		}
	}
	c.note()
	if _, ok := c.tickets[t]; ok {
		c.tickets[t] = c.core.Last().Sequence
	}
	return true
}

// flushNow is the guest's flushes, and now and then other requests.
func (c *client) flushNow() {
	c.at(c.w.between(0, 2*c.w.swarm.flushEvery), func() {
		if c.done || !c.busy {
			return
		}
		if c.everAttached() {
			c.ask()
		}
		c.flushNow()
	})
}

func (c *client) ask() {
	switch r := c.w.rng; r.IntN(8) {
	case 0:
		c.step(&window.Event{Kind: window.SlaveSync, Ticket: 1<<60 + r.Uint64N(1<<40)})
	case 1:
		last := c.core.Last().Sequence
		c.ticket++
		c.tickets[c.ticket] = last
		c.step(&window.Event{Kind: window.FlushTo, Ticket: c.ticket, Sequence: last})
	case 2:
		if t := c.ticket; t > 0 {
			delete(c.tickets, t)
			c.step(&window.Event{Kind: window.Cancel, Ticket: t})
		}
	default:
		c.flush()
	}
}
