package collect

import (
	"time"

	"tlog"
)

// Config is what does not change while a vdisk's records are collected.
type Config struct {
	MaxBytes   int // an aggregation that reaches it is sealed
	MaxRecords int // likewise
	// Grown records are sealed together at most, when more than MaxRecords wait
	// because the flight was full; less than MaxRecords: no more than those.
	Grown      int
	MaxAge     time.Duration // the oldest item waits no longer than this
	MaxPayload int           // bytes that an aggregation never exceeds
	InFlight   int           // positions between Seal and Commit
	Last       tlog.Position // end of the log: the first Seal is Last+1
}

// Event is something that happened: Appended, Control, Force, Aged, Sealed,
// Durable, Failed or Close.
type Event interface{ event() }

// Appended: the shell has queued a batch.
type Appended struct {
	Records, Bytes int
	Now            time.Duration
}

// Control: the shell has queued a control aggregation. It and what is ahead of
// it are sealed without waiting.
type Control struct{ Now time.Duration }

// Force: what is queued is to be sealed without waiting.
type Force struct{}

// Aged: the time that Arm named has come; one too many does no harm.
type Aged struct{ Now time.Duration }

// Sealed: the shell has sealed a position.
type Sealed struct{ Position tlog.Position }

// Durable: a published position is on stable storage.
type Durable struct{ Position tlog.Position }

// Failed: sealing or publishing went wrong for good, or the time to close is
// over.
type Failed struct{ Err error }

// Close: nothing more will be appended; what is queued is sealed.
type Close struct{}

func (Appended) event() {}
func (Control) event()  {}
func (Force) event()    {}
func (Aged) event()     {}
func (Sealed) event()   {}
func (Durable) event()  {}
func (Failed) event()   {}
func (Close) event()    {}

// Action is something to do. It is one type for all kinds, so that a position
// costs no object for each of its steps.
type Action struct {
	Kind     Kind
	Position tlog.Position // of Seal, Publish, Commit, Discard
	Items    int           // of Seal: so many of the queue, from its front
	Control  bool          // of Seal: it is one control item
	At       time.Duration // of Arm
	Reason   Reason        // of Refuse
	Err      error         // of Fail
}

// Kind of an Action.
type Kind uint8

const (
	// Refuse: the item of this very event is not taken; the shell removes it
	// from its queue again.
	Refuse Kind = iota + 1
	// Seal: the first Items of the queue become this position.
	Seal
	// Publish: a sealed position is chained and published.
	Publish
	// Commit: a position and all lower ones are durable.
	Commit
	// Discard: a position that was sealed after Fail is dropped.
	Discard
	// Arm: Aged is wanted at this time.
	Arm
	// Fail: the pipeline is dead; whatever the publisher does not have yet is
	// dropped. It is given at most once.
	Fail
	// Finish: closed, and everything is committed. It is given at most once,
	// and never together with Fail.
	Finish
)

// Reason why an item is refused.
type Reason uint8

const (
	// Dead: Fail was given.
	Dead Reason = iota
	// Closed: Close was received.
	Closed
	// TooLarge: a batch beyond MaxPayload.
	TooLarge
)
