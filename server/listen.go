package server

import (
	"context"
	"errors"
	"fmt"
	"net"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/session"
	"tlog/schema"
)

// message reads and hands over the rest of a message of type t.
func (c *conn) message(t schema.MessageType) error {
	select {
	case <-c.ready:
	case <-c.ctx.Done():
		return errEnded
	}
	switch t {
	case schema.MsgBlock:
		return c.block()
	case schema.MsgBatch:
		return c.batch()
	case schema.MsgForceFlush, schema.MsgWaitSlaveSync, schema.MsgBye:
		return c.commanded(t)
	}
	return tlog.Protocolf("message of unknown type %d", t)
}

// tell has the client told what is wrong with what it sent; false if the
// connection is of no more use.
func (c *conn) tell(err error) bool {
	select {
	case <-c.ready:
	default:
		return false // nobody to tell yet
	}
	var bad *badRecord
	switch {
	case errors.As(err, &bad):
		c.owner.step(session.Bad{Conn: c.id, Known: true, Sequence: bad.sequence, Message: err.Error()})
	case tlog.ClassOf(err) == tlog.Protocol:
		c.owner.step(session.Bad{Conn: c.id, Message: err.Error()})
	case isTimeout(err):
		c.owner.step(session.Bad{Conn: c.id, Message: fmt.Sprintf("a message was not complete within %v", c.srv.cfg.MessageTimeout)})
	default:
		return false
	}
	c.srv.Metrics.ProtocolErrors.Add(1)
	return true
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// badRecord is a record whose content is not what its hash says.
type badRecord struct{ sequence uint64 }

func (e *badRecord) Error() string {
	return fmt.Sprintf("record %d: its data does not have its hash", e.sequence)
}

// receive reads one message into a buffer that is charged to the budget, with
// extra bytes that the message will need besides.
func (c *conn) receive(limit, extra int) (*payload, error) {
	c.readBy(c.srv.cfg.MessageTimeout)
	var p *payload
	_, err := c.reader.Frame(limit, func(n int) ([]byte, error) {
		charge := int64(payloadSize(n + extra))
		if err := c.srv.budget.acquire(c.ctx, charge); err != nil {
			return nil, err
		}
		c.readBy(c.srv.cfg.MessageTimeout) // waiting was not the peer's fault
		if err := c.reader.Begin(n); err != nil {
			c.srv.budget.release(charge)
			return nil, err
		}
		p = c.srv.payloads.get(n)
		p.charge = charge
		return p.buf, nil
	})
	if err != nil {
		if p != nil {
			c.srv.discard(p)
		}
		if errors.Is(err, context.Canceled) {
			err = errEnded
		}
		return nil, err
	}
	c.srv.Metrics.ReceivedBytes.Add(uint64(len(p.buf)))
	return p, nil
}

func (c *conn) batch() error {
	if c.version < schema.Version2 {
		return tlog.Protocolf("batch in a version-1 session")
	}
	p, err := c.receive(schema.MaxBatch, 0)
	if err != nil {
		return err
	}
	if err := c.verify(p); err != nil {
		c.srv.discard(p)
		return err
	}
	c.owner.step(session.Batch{
		Conn: c.id, Records: p.batch.Records, Chain: p.batch.Chain,
		Now: uint64(c.srv.cfg.Now().UnixNano()), Payload: p,
	})
	return nil
}

// verify decodes a batch and checks its records' hashes: the costly part, in
// the connection's own goroutine.
func (c *conn) verify(p *payload) error {
	if err := schema.DecodeBatch(p.buf, &p.batch); err != nil {
		return err
	}
	for i := range p.batch.Records {
		r := &p.batch.Records[i]
		h := c.noData
		if len(r.Data) > 0 {
			h = crypto.HashRecord(c.attach.Hash, r.Data)
		}
		if h != r.Hash {
			return tlog.WithClass(tlog.Protocol, &badRecord{uint64(r.Sequence)})
		}
	}
	return nil
}

func (c *conn) commanded(t schema.MessageType) error {
	c.readBy(c.srv.cfg.MessageTimeout)
	frame, err := c.reader.Frame(schema.MaxCommand, func(n int) ([]byte, error) {
		if cap(c.command) < n {
			c.command = make([]byte, schema.MaxCommand)
		}
		return c.command[:n], nil
	})
	if err != nil {
		return err
	}
	named, seq, err := schema.DecodeCommand(frame)
	if err != nil {
		return err
	}
	switch {
	case named != t:
		return tlog.Protocolf("command of type %d announced as %d", named, t)
	case t == schema.MsgForceFlush:
		c.owner.step(session.ForceFlush{Conn: c.id, Sequence: seq})
	case t == schema.MsgWaitSlaveSync:
		c.owner.step(session.WaitSlaveSync{Conn: c.id})
	case c.version < schema.Version2:
		return tlog.Protocolf("message of unknown type %d", t)
	default:
		c.bye = true
		c.owner.step(session.Bye{Conn: c.id})
	}
	return nil
}
