package sim

import (
	"time"

	"tlog"
	"tlog/internal/check"
	"tlog/internal/core/session"
	"tlog/internal/core/window"
)

// link is a TCP connection between a client and a server: in order, and all of
// what was sent up to some moment, in each direction.
type link struct {
	w       *world
	cl      *client
	attempt uint64
	srv     *server
	broken  bool // nothing is delivered any more, in either direction
	up      time.Duration
	down    time.Duration // when the last message of a direction arrives

	// The server's side.
	id       session.Conn
	attach   session.Attach
	owner    *owner
	waitsFor *entry
	ready    bool // welcomed
	answered bool // the handshake was refused
	held     bool // reading is paused
	ended    bool // no more answers are put
	over     bool // the server has forgotten it
	inbox    []func()
	out      []answer
	flushing bool
}

// answer waits to be written.
type answer struct {
	welcome *session.Welcome
	reply   session.Reply
	epoch   tlog.Epoch
}

// toServer delivers f at the server, behind what was sent before.
func (l *link) toServer(f func()) {
	at := max(l.up, l.w.now+l.w.between(50*time.Microsecond, 2*time.Millisecond))
	l.up = at
	do := l.srv.bound(f)
	l.w.at(at-l.w.now, func() {
		if !l.broken {
			do()
		}
	})
}

// toClient delivers f at the client. What comes on a connection that it gave
// up meanwhile still reaches its core, which must know the difference.
func (l *link) toClient(f func()) {
	at := max(l.down, l.w.now+l.w.between(50*time.Microsecond, 2*time.Millisecond))
	l.down = at
	do := l.cl.bound(f)
	l.w.at(at-l.w.now, func() {
		if !l.broken {
			do()
		}
	})
}

// cutOff breaks the connection: at once for both sides, or half-open, where
// each side finds out by its time-outs only.
func (l *link) cutOff(halfOpen bool) {
	if l.broken {
		return
	}
	l.w.logf("link of %s to %s is cut, half-open %v", l.cl.name, l.srv.name, halfOpen)
	l.broken = true
	serverSees, clientSees := l.w.between(0, 5*time.Millisecond), l.w.between(0, 5*time.Millisecond)
	if halfOpen {
		serverSees, clientSees = 30*time.Second, 45*time.Second // TCP's keep-alive
	}
	l.cl.at(clientSees, func() { l.cl.lost(l, "reset") })
	l.srv.at(serverSees, l.detach)
}

// peerDied: the server's process is gone.
func (l *link) peerDied() {
	l.over = true
	if l.broken {
		return
	}
	l.broken = true
	l.cl.at(l.w.between(0, 2*time.Millisecond), func() { l.cl.lost(l, "server died") })
}

// hello arrives at the server.
func (l *link) hello(h window.Hello) {
	s := l.srv
	if s.stopping {
		l.toClient(func() { l.cl.lost(l, "not accepted") })
		return
	}
	s.nextConn++
	l.id = s.nextConn
	l.attach = session.Attach{
		Conn: l.id, DiskSize: h.DiskSize, Client: h.Client, Generation: h.Generation, Takeover: h.Takeover,
		LastFlushed: h.LastFlushed.Sequence, Chain: h.LastFlushed.Chain, Hash: h.Hashes[0],
	}
	s.conns = append(s.conns, l)
	s.w.logf("%s: session %d of %s, generation %d, flushed %d, takeover %v", s.name, l.id, l.cl.name, h.Generation, h.LastFlushed.Sequence, h.Takeover)
	s.attach(l)
}

func (l *link) refuse(status tlog.HandshakeStatus, message string) {
	l.w.logf("%s refuses session %d: %v: %s", l.srv.name, l.id, status, message)
	l.answered = true
	l.put(answer{welcome: &session.Welcome{Status: status, Message: message}})
	l.endAnswers()
}

// put queues an answer; prefixes merge as in the server's outbox.
func (l *link) put(a answer) {
	if l.ended || l.over {
		return
	}
	if s := a.reply.Status; a.welcome == nil && (s == tlog.StatusRecvOK || s == tlog.StatusFlushOK) {
		for i := range l.out {
			if b := &l.out[i]; b.welcome == nil && b.reply.Status == s {
				b.reply = a.reply
				return
			}
		}
	}
	l.out = append(l.out, a)
	if !l.flushing {
		l.flushing = true
		l.srv.at(l.w.between(0, time.Millisecond), l.write)
	}
}

func (l *link) write() {
	l.flushing = false
	for _, a := range l.out {
		l.toClient(func() { l.cl.answer(l, a) })
	}
	l.out = nil
	if l.ended {
		l.toClient(func() { l.cl.lost(l, "end of stream") })
		l.srv.at(l.w.between(0, lingerTime), l.detach)
	}
}

// endAnswers lets what is queued be the last.
func (l *link) endAnswers() {
	if l.ended {
		return
	}
	l.ended = true
	if !l.flushing {
		l.flushing = true
		l.srv.at(0, l.write)
	}
}

// message is one that arrived at the server.
func (l *link) message(f func()) {
	l.inbox = append(l.inbox, f)
	l.read()
}

// read handles what arrived, while the session lets it.
func (l *link) read() {
	for len(l.inbox) > 0 && l.ready && !l.held && !l.ended && !l.over {
		f := l.inbox[0]
		l.inbox = l.inbox[1:]
		f()
	}
}

func (l *link) stopWaiting() {
	e := l.waitsFor
	if e == nil {
		return
	}
	l.waitsFor = nil
	if e.waiters--; e.waiters == 0 && !e.loaded {
		e.life.end()
	}
}

// detach ends the server's side.
func (l *link) detach() {
	if l.over {
		return
	}
	l.over = true
	for i, c := range l.srv.conns {
		if c == l {
			l.srv.conns = append(l.srv.conns[:i:i], l.srv.conns[i+1:]...)
			break
		}
	}
	l.stopWaiting()
	if l.owner != nil {
		l.owner.step(session.Detached{Conn: l.id})
	}
}

// closed is the end of the client's stream, as the server reads it.
func (l *link) closed() {
	if !l.ready || l.ended {
		l.detach()
		return
	}
	l.message(l.detach)
}

// batch arrives at the server.
func (l *link) batch(records []tlog.Record, chain tlog.Hash) {
	l.owner.step(session.Batch{Conn: l.id, Records: records, Chain: chain, Now: l.srv.clock()})
}

func point(p window.Point) check.Point { return check.Point{Sequence: p.Sequence, Chain: p.Chain} }
