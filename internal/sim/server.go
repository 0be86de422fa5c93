package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/session"
)

// server is a tlogserver.
type server struct {
	process
	entry    *entry
	conns    []*link
	nextConn session.Conn
	stopping bool
}

// entry is the vdisk, owned or being taken over.
type entry struct {
	first   *link // the one it is taken over for
	life    *scope
	loaded  bool
	owner   *owner
	err     error
	refusal *session.Refusal
	waiters int
	onLoad  []func()
}

func newServer(w *world, i int) *server {
	s := &server{process: process{w: w, name: fmt.Sprintf("server%d", i), alive: true, cut: make([]bool, w.swarm.pool.p)}}
	s.pool = newPool(&s.process, w.first)
	s.janitor()
	s.care()
	return s
}

func (s *server) janitor() {
	s.at(2*time.Second, func() {
		if e := s.entry; e != nil && e.owner != nil {
			e.owner.dropIdle(len(s.conns))
		}
		s.janitor()
	})
}

func (o *owner) dropIdle(conns int) {
	if o.closing || conns > 0 || !o.machine.Idle() {
		o.idle = 0
		return
	}
	if o.idle++; o.idle >= 3 {
		o.close(lingerTime)
	}
}

func (s *server) crash() {
	if !s.alive {
		return
	}
	s.w.logf("%s is killed", s.name)
	s.kill()
	conns := s.conns
	s.entry, s.conns, s.stopping = nil, nil, false
	for _, c := range conns {
		c.peerDied()
	}
}

func (s *server) restart() {
	if !s.alive {
		s.w.logf("%s starts", s.name)
		s.alive = true
		s.janitor()
		s.care()
	}
}

// shutdown is SIGTERM.
func (s *server) shutdown() {
	if !s.alive || s.stopping {
		return
	}
	s.w.logf("%s shuts down", s.name)
	s.stopping = true
	if e := s.entry; e != nil && e.owner != nil {
		e.owner.close(3 * time.Second)
	}
	s.at(4*time.Second, s.crash)
}

// attach gives c to the vdisk's owner, taking the log over first if it must.
func (s *server) attach(c *link) {
	s.at(attachTimeout, func() {
		switch {
		case c.ready || c.over:
		case c.owner != nil:
			c.owner.step(session.GiveUp{Conn: c.id, Message: "not durable yet"})
		default:
			c.stopWaiting()
			c.refuse(tlog.HandshakeUnavailable, "taking the log over takes long")
		}
	})
	s.tryAttach(c)
}

func (s *server) tryAttach(c *link) {
	if c.over || c.answered {
		return
	}
	if s.stopping {
		c.refuse(tlog.HandshakeUnavailable, "shutting down")
		return
	}
	if s.entry == nil {
		e := &entry{first: c, life: &scope{p: &s.process}}
		s.entry = e
		s.at(0, func() { s.load(e, c.attach) })
	}
	e := s.entry
	e.waiters++
	c.waitsFor = e
	ready := func() {
		if c.waitsFor != e {
			return
		}
		c.stopWaiting()
		s.loaded(c, e)
	}
	if e.loaded {
		s.at(0, ready)
	} else {
		e.onLoad = append(e.onLoad, ready)
	}
}

func (s *server) loaded(c *link, e *entry) {
	switch {
	case e.owner != nil && e.owner.attach(c):
	case e.owner != nil && e.owner.isGone:
		s.at(0, func() { s.tryAttach(c) })
	case e.owner != nil:
		e.owner.gone = append(e.owner.gone, func() { s.at(0, func() { s.tryAttach(c) }) })
	case e.first != c && (e.refusal != nil || errors.Is(e.err, context.Canceled)):
		s.tryAttach(c) // that was about another client
	case e.refusal != nil:
		c.refuse(e.refusal.Status, e.refusal.Message)
	default:
		f := failure(e.err)
		c.refuse(f.Status, f.Message)
	}
}

// known is what was read of the log.
type known struct {
	tail    tail
	disk    session.Disk
	genesis bool
	records []tlog.Record
}

func (k *known) decode(a *aggregation) {
	k.tail = tail{a.position, a.digest, a.head}
	k.records = a.records
}

// survey reads what is stored of the vdisk, without fencing.
func (s *server) survey(sc *scope, done func(*known, error)) {
	survey(sc, func(v *view, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		s.read(sc, v, &known{tail: tail{head: session.Head{Chain: tlog.ChainStart(vdiskName)}}}, done)
	})
}

// read reads genesis and head of the log in v, if there is one.
func (s *server) read(sc *scope, v *view, k *known, done func(*known, error)) {
	if v.head == 0 {
		k.tail.head = session.Head{}
		done(k, nil)
		return
	}
	v.read(sc, 1, func(g *aggregation) {
		if g == nil {
			done(nil, errors.New("the genesis cannot be read"))
			return
		}
		k.disk, k.genesis = g.disk, true
		v.read(sc, v.head, func(a *aggregation) {
			if a == nil {
				done(nil, fmt.Errorf("position %d cannot be read", v.head))
				return
			}
			k.decode(a)
			done(k, nil)
		})
	})
}

// load takes the log over, or creates it, for the client of a.
func (s *server) load(e *entry, a session.Attach) {
	fill := func(o *owner, refusal *session.Refusal, err error) {
		if e.loaded {
			return
		}
		e.loaded, e.owner, e.refusal, e.err = true, o, refusal, err
		if o == nil {
			e.life.end()
			if s.entry == e {
				s.entry = nil
			}
		}
		s.w.logf("%s loaded: %v %v", s.name, o != nil, err)
		for _, f := range e.onLoad {
			f()
		}
	}
	if e.life.ended {
		fill(nil, nil, context.Canceled)
		return
	}
	e.life.onEnd = func() { fill(nil, nil, context.Canceled) }
	s.survey(e.life, func(k *known, err error) {
		if err != nil {
			fill(nil, nil, err)
			return
		}
		if r := session.Judge(k.disk, k.tail.head, &a, false); r != nil {
			fill(nil, r, errors.New(r.Message))
			return
		}
		s.takeover(e, a, 0, fill)
	})
}

func (s *server) takeover(e *entry, a session.Attach, again int, fill func(*owner, *session.Refusal, error)) {
	taken := &known{}
	var t *search
	t = newSearch(e.life, true, func(err error) {
		if errors.Is(err, errChanged) && again < searches && !e.life.ended {
			s.takeover(e, a, again+1, fill)
			return
		}
		if err != nil {
			fill(nil, nil, err)
			return
		}
		if e.life.ended {
			t.log.close()
			return
		}
		end := func(k *known, err error) {
			if err != nil || e.loaded {
				t.log.close()
				fill(nil, nil, err)
				return
			}
			o := s.own(e, t.log, k)
			o.view = t.view
			fill(o, nil, nil)
		}
		if t.view.head > 0 {
			s.read(e.life, &t.view, taken, end)
			return
		}
		s.create(t.log, a, taken, end)
	})
	t.owner.ID = s.w.uuid()
	t.verify = func(v *view, agg *aggregation, done func(error)) { s.adopt(e.life, v, agg, taken, done) }
	prev := e.life.onEnd
	e.life.onEnd = func() {
		t.end(context.Canceled)
		if t.log != nil && !e.loaded {
			t.log.close()
		}
		prev()
	}
	t.start()
}

// adopt verifies that a position goes on where the one before it ends.
func (s *server) adopt(sc *scope, v *view, a *aggregation, k *known, done func(error)) {
	follow := func() {
		was := k.tail.head
		k.decode(a)
		if a.position == 1 {
			k.disk, k.genesis = a.disk, true
		} else if a.head.Last != was.Last+tlog.Sequence(len(a.records)) {
			done(fmt.Errorf("position %d ends at record %d", a.position, a.head.Last))
			return
		}
		done(nil)
	}
	if a.position == 1 || k.tail.position == a.position-1 {
		follow()
		return
	}
	v.read(sc, a.position-1, func(before *aggregation) {
		if before == nil {
			done(fmt.Errorf("position %d cannot be read", a.position-1))
			return
		}
		k.decode(before)
		follow()
	})
}

// create makes the log's first position.
func (s *server) create(log *ownedLog, a session.Attach, k *known, done func(*known, error)) {
	g := &aggregation{position: 1, disk: session.Disk{Size: a.DiskSize, BlockSize: tlog.DefaultBlockSize}}
	g.head = session.Head{Chain: tlog.ChainStart(vdiskName), Hash: a.Hash}
	g.before = g.head.Chain
	s.w.seal(g, s.w.rng.Uint64())
	log.publish(appending.Publish{Position: 1}, g, func(err error) {
		s.at(0, func() {
			if err == nil {
				k.decode(g)
				k.disk = g.disk
			}
			done(k, err)
		})
	})
}

func (s *server) own(e *entry, log *ownedLog, k *known) *owner {
	o := &owner{srv: s, log: log, life: e.life}
	o.life.onEnd = nil
	o.care = newCare(s.w)
	o.machine = session.New(session.Limits{Unflushed: s.w.swarm.unflushed}, k.disk, k.tail.head, k.records)
	o.pipe = newPipe(log, k.tail, o.committed)
	return o
}
