package sim

import (
	"context"
	"errors"
	"time"

	"tlog"
	"tlog/internal/check"
	"tlog/internal/core/session"
)

const (
	attachTimeout = 8 * time.Second
	lingerTime    = time.Second
)

// owner is server's owner of a vdisk: the session machine, and what its
// actions work on.
type owner struct {
	srv     *server
	log     *ownedLog
	pipe    *pipe
	machine *session.Machine
	life    *scope
	view    view // what the takeover decided
	care    care
	closing bool
	closed  bool
	idle    int
	gone    []func() // called when the server has let go of it
	isGone  bool
}

func (o *owner) attach(c *link) bool {
	if o.closing {
		return false
	}
	o.idle = 0
	c.owner = o
	o.step(c.attach)
	return true
}

func (o *owner) step(e session.Event) {
	var broken error
	for _, a := range append([]session.Action(nil), o.machine.Step(e)...) {
		if err := o.act(a); err != nil && broken == nil {
			broken = err
		}
	}
	if broken != nil {
		o.step(failure(broken))
	}
}

func (o *owner) act(a session.Action) error {
	switch a := a.(type) {
	case session.Append:
		return o.pipe.append(a.Records, a.Chain)
	case session.Force:
		o.pipe.force()
	case session.Drop:
	case session.Barrier:
		o.srv.at(0, func() { o.barrier(a.Head) })
	case session.Recheck:
		o.srv.at(0, func() { o.recheck(a.Attach) })
	case session.Welcome:
		o.welcome(a)
	case session.Reply:
		o.reply(a)
	case session.Close:
		if c := o.conn(a.Conn); c != nil {
			o.srv.w.logf("%s ends session %d: %s", o.srv.name, a.Conn, a.Reason)
			c.endAnswers()
		}
	case session.Pause:
		if c := o.conn(a.Conn); c != nil {
			c.held = true
		}
	case session.Resume:
		if c := o.conn(a.Conn); c != nil {
			c.held = false
			o.srv.at(0, c.read)
		}
	case session.Gap, session.Note:
	case session.Die:
		o.closing = true
		o.srv.w.logf("%s lets go of the vdisk: %s", o.srv.name, a.Message)
		o.srv.at(0, func() { o.close(lingerTime) })
	}
	return nil
}

// conn is a connection of this owner that has not ended.
func (o *owner) conn(id session.Conn) *link {
	for _, c := range o.srv.conns {
		if c.id == id && c.owner == o {
			return c
		}
	}
	return nil
}

// reply sends an answer; an acknowledgement counts from here on, also when
// there is nobody left to read it.
func (o *owner) reply(r session.Reply) {
	w := o.srv.w
	if r.Status == tlog.StatusFlushOK {
		w.violated(w.rec.Acknowledged(o.log.owner.Epoch, check.Point{Sequence: r.UpTo, Chain: r.Chain}))
	}
	w.logf("%s answers session %d: status %d up to %d %s", o.srv.name, r.Conn, r.Status, r.UpTo, r.Message)
	if c := o.conn(r.Conn); c != nil {
		c.put(answer{reply: r, epoch: o.log.owner.Epoch})
	}
}

func (o *owner) welcome(a session.Welcome) {
	w := o.srv.w
	if a.Status == tlog.HandshakeOK {
		w.violated(w.rec.Answered(o.log.owner.Epoch, check.Point{Sequence: a.Head.Last, Chain: a.Head.Chain}))
	}
	c := o.conn(a.Conn)
	if c == nil {
		return
	}
	if a.Status != tlog.HandshakeOK {
		c.refuse(a.Status, a.Message)
		return
	}
	w.logf("%s welcomes session %d: generation %d, epoch %d, at record %d", o.srv.name, a.Conn, a.Head.Generation, o.log.owner.Epoch, a.Head.Last)
	c.ready = true
	c.put(answer{welcome: &a, epoch: o.log.owner.Epoch})
	o.srv.at(0, c.read)
}

func (o *owner) barrier(h session.Head) {
	o.pipe.barrier(h, func(err error) {
		if err != nil {
			o.step(failure(err))
			return
		}
		o.step(session.BarrierDone{})
	})
}

func (o *owner) recheck(a session.Attach) {
	sc := &scope{p: &o.srv.process}
	var over bool
	finish := func(e session.Rechecked) {
		if over {
			return
		}
		over = true
		sc.end()
		if o.conn(a.Conn) != nil {
			o.step(e)
		}
	}
	o.srv.at(attachTimeout, func() { finish(session.Rechecked{Attach: a, Problem: "slow"}) })
	o.srv.survey(sc, func(k *known, err error) {
		e := session.Rechecked{Attach: a}
		if err != nil {
			e.Problem = err.Error()
		} else {
			e.Head = k.tail.head
		}
		finish(e)
	})
}

func (o *owner) committed(last tlog.Sequence, chain tlog.Hash, err error) {
	if err != nil {
		o.step(failure(err))
		return
	}
	o.step(session.Committed{Last: last, Chain: chain})
}

// close flushes for at most d, gives everything back, and leaves the server.
func (o *owner) close(d time.Duration) {
	if o.closed {
		return
	}
	o.closed, o.closing = true, true
	o.step(session.Stop{})
	o.pipe.close(d, func(err error) {
		o.life.end()
		o.log.close()
		if err != nil {
			o.step(failure(err))
		}
		if e := o.srv.entry; e != nil && e.owner == o {
			o.srv.entry = nil
		}
		o.isGone = true
		for _, f := range o.gone {
			f()
		}
		o.gone = nil
	})
}

// failure is what an attaching client is told of err.
func failure(err error) session.Failed {
	f := session.Failed{Status: tlog.HandshakeUnavailable, Message: err.Error()}
	switch {
	case errors.Is(err, errFenced):
		f.Status = tlog.HandshakeMoved
	case errors.Is(err, context.Canceled):
		f.Status = tlog.HandshakeUnavailable
	}
	return f
}
