package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"tlog"
	"tlog/internal/core/window"
	"tlog/internal/failpoint"
	"tlog/schema"
)

// maxResponse is less than the protocol allows, which is for the lists of
// version-1 sessions.
const maxResponse = 64 << 10

// serve sends and receives on an attached connection until it ends. When it
// returns nothing uses the connection or the records that were being sent.
func (c *Client) serve(ctx context.Context, hangup context.CancelCauseFunc, attempt uint64, conn net.Conn, r *schema.Reader) error {
	s := sender{client: c, attempt: attempt, conn: conn}
	var wg sync.WaitGroup
	wg.Go(func() { hangup(s.run(ctx)) })
	err := c.receive(attempt, r)
	hangup(err)
	wg.Wait()
	return err
}

// receive reports answers to the core until the connection ends.
func (c *Client) receive(attempt uint64, r *schema.Reader) error {
	var buf []byte
	alloc := func(n int) ([]byte, error) {
		if n > len(buf) {
			buf = make([]byte, n)
		}
		return buf, nil
	}
	e := window.Event{Kind: window.Answer, Attempt: attempt}
	for {
		frame, err := r.Frame(maxResponse, alloc)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		m, err := schema.DecodeResponse(frame)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		e.Response = window.Response{
			Status: m.Status, UpTo: window.Point{Sequence: m.UpTo, Chain: m.Chain}, Epoch: m.Epoch,
			Expected: m.Expected, CreditRecords: m.CreditRecords, CreditBytes: m.CreditBytes, Message: m.Message,
		}
		failpoint.If(m.Status == tlog.StatusFlushOK, "client.flushed")
		c.mu.Lock()
		c.step(&e)
		c.expect(true)
		c.mu.Unlock()
	}
}

// sender writes what the core gives on one connection.
type sender struct {
	client  *Client
	attempt uint64
	conn    net.Conn

	batch   schema.Batch
	tail    []byte      // commands that follow the batch
	vecs    [][]byte    // of the write
	scratch []byte      // what of vecs is not records' data
	buffers net.Buffers // vecs, as WriteTo consumes it
}

func (s *sender) run(ctx context.Context) error {
	for {
		if !s.pull() {
			select {
			case <-s.client.wake:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			continue
		}
		if err := s.write(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				s.client.do(&window.Event{Kind: window.Overdue, Attempt: s.attempt})
			}
			return fmt.Errorf("send: %w", err)
		}
		s.client.do(&window.Event{Kind: window.Written, Attempt: s.attempt})
	}
}

// pull asks the core what to send. It reports whether there is anything.
func (s *sender) pull() bool {
	c := s.client
	s.batch.Records, s.tail = s.batch.Records[:0], s.tail[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.step(&window.Event{Kind: window.Pull, Attempt: s.attempt}) {
		switch a.Kind {
		case window.Send:
			s.batch.Records = c.core.Records(s.batch.Records, a.First, a.Last)
			s.batch.Chain = a.Chain
		case window.SendForceFlush:
			s.tail = schema.AppendCommand(s.tail, schema.MsgForceFlush, uint64(a.Last))
		case window.SendSlaveSync:
			s.tail = schema.AppendCommand(s.tail, schema.MsgWaitSlaveSync, 0)
		case window.SendBye:
			s.tail = schema.AppendCommand(s.tail, schema.MsgBye, 0)
		}
	}
	if len(s.batch.Records) == 0 && len(s.tail) == 0 {
		return false
	}
	c.expect(false)
	return true
}

// write writes the batch and the commands with one system call, as far as the
// connection takes them.
func (s *sender) write() error {
	s.vecs, s.scratch = s.vecs[:0], s.scratch[:0]
	if len(s.batch.Records) > 0 {
		s.vecs, s.scratch = schema.BatchVectors(s.vecs, s.scratch, &s.batch)
	}
	if len(s.tail) > 0 {
		s.vecs = append(s.vecs, s.tail)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	s.buffers = s.vecs
	_, err := s.buffers.WriteTo(s.conn)
	failpoint.Here("client.sent")
	clear(s.batch.Records) // let go of the data
	return err
}
