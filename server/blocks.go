package server

import (
	"context"
	"errors"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/internal/core/session"
	"tlog/schema"
)

// runLength is how many version-1 blocks are taken together at most. As many
// blocks of 4 KiB are in what is read at once.
const runLength = 16

// blocks is a connection's memory for the blocks of version 1 that it takes
// together.
type blocks struct {
	frames  [][]byte
	list    []schema.Block
	records []tlog.Record
	chain   tlog.Hash // after the last
	replies []session.Reply
}

// block takes a version-1 block, and those that were read with it: they come
// one by one, and what a message costs besides its bytes would be dearer than
// these.
func (c *conn) block() error {
	if c.version >= schema.Version2 {
		return tlog.Protocolf("single block in a version-2 session")
	}
	if taken, err := c.run(); taken || err != nil {
		return err
	}
	// The batch that it becomes is a little longer.
	p, err := c.receive(schema.MaxBlock, schema.BatchSize(make([]tlog.Record, 1)))
	if err != nil {
		return err
	}
	b, err := schema.DecodeBlock(p.buf)
	if err == nil {
		err = c.checkBlock(&b)
	}
	if err != nil {
		c.srv.discard(p)
		return err
	}
	c.owner.step(c.blockEvent(&b, p))
	return nil
}

// checkBlock compares a block's data with its hash. That of a trim may be missing.
func (c *conn) checkBlock(b *schema.Block) error {
	switch {
	case b.Operation == tlog.OpTrim:
		b.Hash, b.Data = c.noData, nil
	case crypto.HashRecord(tlog.HashBlake2b, b.Data) != b.Hash:
		return tlog.WithClass(tlog.Protocol, &badRecord{b.Sequence})
	}
	return nil
}

// blockEvent is a block for the machine; payload is nil, or holds its data.
func (c *conn) blockEvent(b *schema.Block, payload any) session.Block {
	return session.Block{
		Conn: c.id, Sequence: b.Sequence, Index: b.Index, Hash: b.Hash, Data: b.Data, Timestamp: b.Timestamp,
		Operation: b.Operation, Now: uint64(c.srv.cfg.Now().UnixNano()), Payload: payload,
	}
}

// run takes the blocks that are in the reader's buffer, as one batch, up to one
// that is not simply the next, or that there is something to say about: that
// one, or the first, is left to be taken by itself.
func (c *conn) run() (taken bool, err error) {
	k := &c.blocks
	k.frames = c.reader.Blocks(k.frames[:0], runLength)
	if len(k.frames) < 2 {
		return false, nil
	}
	size := schema.BatchSize(nil)
	k.list = k.list[:0]
	for _, frame := range k.frames {
		b, err := schema.DecodeBlock(frame)
		if err != nil || c.checkBlock(&b) != nil {
			break
		}
		k.list = append(k.list, b)
		size += schema.RecordSize(len(b.Data))
	}
	if len(k.list) < 2 {
		return false, nil
	}
	charge := int64(payloadSize(size))
	if err := c.srv.budget.acquire(c.ctx, charge); err != nil {
		if errors.Is(err, context.Canceled) {
			err = errEnded
		}
		return false, err
	}
	p := c.srv.payloads.get(size)
	p.charge = charge
	n := c.owner.blocks(c, p)
	for _, frame := range k.frames[:n] {
		c.srv.Metrics.ReceivedBytes.Add(uint64(len(frame)))
	}
	c.reader.Took(k.frames[:n])
	clear(k.frames)
	return n > 0, nil
}

// blocks gives the machine the connection's blocks while it takes them, and the
// pipeline their records as one batch, in p; then come the answers, and whatever
// else there is to do about the last of them. It reports how many were taken.
func (o *owner) blocks(c *conn, p *payload) (taken int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := &c.blocks
	k.records, k.replies = k.records[:0], k.replies[:0]
	var rest []session.Action
	for taken < len(k.list) && rest == nil && o.machine.Next(c.id, k.list[taken].Sequence) {
		rest = o.collect(k, o.machine.Step(c.blockEvent(&k.list[taken], nil)))
		taken++
	}
	err := o.appendRun(k, p)
	for _, r := range k.replies {
		o.reply(r)
	}
	for _, a := range rest {
		if e := o.act(a); err == nil {
			err = e
		}
	}
	clear(k.records) // they keep nobody's memory alive
	clear(k.list)
	if err != nil {
		o.stepLocked(failure(err))
	}
	return taken
}

// collect adds what the machine says of one block to the run, up to anything
// that is neither its record nor its answer, which is given back.
func (o *owner) collect(k *blocks, actions []session.Action) (rest []session.Action) {
	for i, a := range actions {
		switch a := a.(type) {
		case session.Append:
			if a.Payload != nil { // of a block that came early
				return actions[i:]
			}
			o.noteAppend(&a)
			k.records, k.chain = append(k.records, a.Records...), a.Chain
		case session.Reply:
			k.replies = append(k.replies, a)
		default:
			return actions[i:]
		}
	}
	return nil
}

// appendRun gives the records to the pipeline. Their data is copied here, once.
func (o *owner) appendRun(k *blocks, p *payload) error {
	if len(k.records) == 0 {
		o.srv.discard(p)
		return nil
	}
	p.encode(k.records, k.chain)
	return o.pipe.Append(aggregate.Batch{Frame: p.buf, Records: p.batch.Records, Chain: k.chain, Release: p.release})
}
