package client

import (
	"time"

	"tlog"
	"tlog/internal/core/window"
)

// watch is the clocks of one attached connection: for answers that the server
// owes at once, and for what it was asked to make durable. What follows when
// one of them runs out, the core decides. Its fields belong to Client.mu.
type watch struct {
	attempt uint64
	answer  *time.Timer
	stall   *time.Timer
	owed    bool          // answer runs
	running bool          // stall runs
	flushed tlog.Sequence // when stall was started
}

// startWatch makes both clocks, stopped. It is called with mu held.
func (c *Client) startWatch(attempt uint64) {
	w := &watch{attempt: attempt}
	w.answer = time.AfterFunc(answerTimeout, func() { c.do(&window.Event{Kind: window.Overdue, Attempt: attempt}) })
	w.stall = time.AfterFunc(stallTime, func() { c.stalled(w) })
	c.watch = w
	c.expect(true)
}

func (c *Client) stopWatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.answer.Stop()
	c.watch.stall.Stop()
	c.watch = nil
}

// expect sets the clocks to what the core waits for. It is called with mu held,
// so that a clock for what was just sent is not stopped by an answer to what
// was sent before. answered: the server is alive. What is sent meanwhile gives
// a silent one no more time.
func (c *Client) expect(answered bool) {
	w := c.watch
	if w == nil {
		return
	}
	switch {
	case !c.core.Expecting():
		w.answer.Stop()
		w.owed = false
	case answered || !w.owed:
		w.answer.Reset(answerTimeout)
		w.owed = true
	}
	flushed := c.core.Flushed().Sequence
	switch {
	case !c.core.Flushing():
		w.stall.Stop()
		w.running = false
	case !w.running || w.flushed != flushed:
		w.stall.Reset(stallTime)
		w.running, w.flushed = true, flushed
	}
}

// stalled reports to the core that nothing became durable, and starts the clock again.
func (c *Client) stalled(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch != w {
		return
	}
	w.running = false
	c.step(&window.Event{Kind: window.Stalled, Attempt: w.attempt})
	c.expect(false)
}
