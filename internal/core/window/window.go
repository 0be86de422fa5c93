// Package window is the client's side of one vdisk's record stream, as a pure
// state machine: which sequence and timestamp a record gets, what is sent next
// and how much of it, what an answer means, and what a new connection is told.
//
// It has no goroutine, clock, socket or randomness. A shell (package client,
// or a simulator) reports what happened as events, one at a time, and does what
// the returned actions say, in their order. The same events give the same
// actions.
//
// The window holds every record that is not known to be durable. Invariants:
//
//  1. Sequences are given without gap or repeat, timestamps never decrease, and
//     the chain value after each record is fixed when its sequence is.
//  2. On every connection, records are sent in order, starting right behind
//     what the server's welcome proved durable: so what a server can append is
//     1, 2, 3 … and always the same bytes under the same number.
//  3. A flush resolves only after a FlushOK, or a welcome, whose chain value
//     equals the window's own at that sequence.
//  4. Answers count only for the attempt (connection) they came on, and only up
//     to what was sent on it.
//  5. A record is freed when it is durable and no write that includes it is in
//     progress: the shell may then reuse its memory.
//
// Record.Data is carried and never looked at.
package window

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tlog"
)

// Errors that end a window for good. Each comes wrapped in a sentence that says
// what to do.
var (
	// ErrFenced says that another client has taken the vdisk.
	ErrFenced = errors.New("another client took the vdisk")
	// ErrLogBehind says that the log lacks records this client saw flushed.
	ErrLogBehind = errors.New("the log lacks records that were acknowledged durable")
	// ErrDiverged says that the log's history is not this client's.
	ErrDiverged = errors.New("the log's history is another")
	// ErrDenied says that the vdisk belongs to another client, and no takeover was asked for.
	ErrDenied = errors.New("the vdisk belongs to another client")
	// ErrRefused says that the server holds the request, the vdisk, the protocol
	// version or a record for invalid.
	ErrRefused = errors.New("the server refuses")
	// ErrClosed says that the window was closed by its owner.
	ErrClosed = errors.New("closed")
)

// Point is a moment of a history: all records up to Sequence, and the chain
// value after it.
type Point struct {
	Sequence tlog.Sequence
	Chain    tlog.Hash
}

// Config says who the client is, what it holds, and how much may be in the
// window. All fields but Adopt, Takeover, Generation and DiskSize are needed.
type Config struct {
	Vdisk      tlog.VdiskID
	Servers    int // number of servers that Dial actions choose from
	DiskSize   uint64
	BlockSize  uint32
	ID         tlog.UUID
	Generation tlog.Generation
	Takeover   bool  // take the vdisk from another client, at the first attach only
	Resume     Point // Chain is ignored when Sequence is 0
	Adopt      bool  // at the first attach, start at the server's head if it is beyond Resume
	Hashes     []tlog.HashAlgorithm

	Records      int           // most records in the window
	Bytes        int           // most bytes of data in the window; one record may always be held
	BatchRecords int           // most records in one Send
	BatchBytes   int           // most bytes of data in one Send that has more than one record
	Coalesce     int           // bytes that are worth a Send while others are under way
	MaxBackoff   time.Duration // longest Delay of a Dial
}

// firstBackoff is the delay after every server was tried once; it doubles
// with each further failure.
const firstBackoff = 25 * time.Millisecond

// maxRefusals is how often in a row the server may refuse records, without
// anything becoming durable in between, until the window gives up: a record
// damaged in memory is refused for ever, one damaged on the way is not.
const maxRefusals = 2

// A server whose flush makes no progress is left for another one after a few
// reports of Stalled: it may be cut off from shard servers that others reach.
// As it may also be that they are all slow, each move doubles the patience,
// until something has become durable.
const firstPatience, maxPatience = 2, 64

// phase is where the window is with its connection.
type phase uint8

const (
	phaseNew      phase = iota // Start has not come
	phaseDialing               // a Dial is out; Welcome or Lost answers it
	phaseAttached              // records may be sent
	phaseBroken                // Disconnect is out; Lost answers it
	phaseFailed                // ended by Fail
	phaseDone                  // ended by Done
)

// waiter is a flush that resolves when target is durable.
type waiter struct {
	target tlog.Sequence
	ticket uint64
}

// Window is the state. It is not safe for concurrent use.
type Window struct {
	cfg   Config
	phase phase
	err   error // why it failed

	// The history. entries holds the records (freed, last]; flushed lies between.
	entries ring
	freed   tlog.Sequence
	flushed Point
	lastCum uint64        // bytes of data of all records up to last
	cumFree uint64        // … up to freed
	cumOK   uint64        // … up to flushed
	head    Point         // the last record given and the chain value after it
	mark    tlog.Sequence // the last record, if it is a flush mark; else 0
	started bool          // the first attach has happened
	start   Point         // where this client's own records begin
	lastTS  uint64        // timestamp of the last record, or of the log at the first attach
	lastNow uint64        // clock at the last record
	steps   uint64        // how often the clock stepped back
	maxSent tlog.Sequence // highest sequence sent on any connection

	// The present connection.
	attempt    uint64
	server     int
	failures   int // attempts that ended since something last became durable
	refusals   int // RecvFailed since something last became durable
	cause      error
	welcome    Welcome
	epoch      tlog.Epoch    // highest that was confirmed
	sent       tlog.Sequence // last one sent on it
	cumSent    uint64
	received   tlog.Sequence
	writing    tlog.Sequence // first record of the Send whose Written has not come; 0: none
	busy       bool          // Pull gave something, and Written has not come
	idle       bool          // the last Pull gave nothing: a Wake is needed
	creditRecs uint64
	creditByte uint64
	forced     tlog.Sequence // highest ForceFlush sent on it
	forcedOK   tlog.Sequence // highest ForceFlushReceived
	stalls     int           // Stalled since something last became durable on it
	patience   int           // of them, until another server is tried
	probing    bool          // the last ForceFlush is due again
	byeSent    bool

	waiters   []waiter // by target
	syncs     []uint64 // tickets of WaitSlaveSync, in order
	syncsSent int      // of them, sent on this connection
	starved   bool     // an Append or Flush was refused for want of room
	closing   bool
}

// New makes a window that waits for Start. It panics if cfg is not complete,
// which is an internal error.
func New(cfg Config) *Window {
	if cfg.Servers < 1 || cfg.Records < 1 || cfg.Bytes < 1 || cfg.BatchRecords < 1 || cfg.BatchBytes < 1 || len(cfg.Hashes) == 0 {
		panic(fmt.Sprintf("window: internal error: incomplete config %+v", cfg))
	}
	if cfg.Resume.Sequence == 0 {
		cfg.Resume.Chain = tlog.ChainStart(cfg.Vdisk)
	}
	cfg.Hashes = slices.Clone(cfg.Hashes)
	w := &Window{cfg: cfg, patience: firstPatience}
	w.restart(cfg.Resume)
	return w
}

// restart makes p the empty history that the next record follows.
func (w *Window) restart(p Point) {
	w.start, w.head, w.flushed, w.freed, w.maxSent = p, p, p, p.Sequence, p.Sequence
}

// Step takes one event and appends the actions it calls for to acts.
func (w *Window) Step(e *Event, acts []Action) []Action {
	switch e.Kind {
	case Start:
		return w.onStart(acts)
	case Attach:
		return w.onWelcome(e, acts)
	case Lost:
		return w.onLost(e, acts)
	case Append:
		return w.onAppend(e, acts)
	case Flush:
		return w.onFlush(e, acts)
	case FlushTo:
		return w.onFlushTo(e, acts)
	case SlaveSync:
		return w.onSlaveSync(e, acts)
	case Cancel:
		return w.onCancel(e, acts)
	case Pull:
		return w.onPull(e, acts)
	case Written:
		return w.onWritten(e, acts)
	case Answer:
		return w.onAnswer(e, acts)
	case Overdue:
		return w.onOverdue(e, acts)
	case Stalled:
		return w.onStalled(e, acts)
	case Close:
		return w.onClose(acts)
	case Abort:
		return w.fail(e.Err, acts)
	}
	panic(fmt.Sprintf("window: internal error: unknown event %d", e.Kind))
}

// Ended reports whether the window takes no more records, and why.
func (w *Window) Ended() error {
	if w.err == nil && (w.closing || w.phase == phaseDone) {
		return ErrClosed
	}
	return w.err
}

// Start is where this client's own records begin.
func (w *Window) Start() Point { return w.start }

// Last is the last record given.
func (w *Window) Last() Point { return w.head }

// Flushed is the durable prefix.
func (w *Window) Flushed() Point { return w.flushed }

// Welcome is what the server said at the last successful attach.
func (w *Window) Welcome() Welcome { return w.welcome }

// Cause is why the last connection or attempt ended; nil before that.
func (w *Window) Cause() error { return w.cause }

// ClockSteps is how often the clock was seen to step back.
func (w *Window) ClockSteps() uint64 { return w.steps }

// Held is the number of records and the bytes of data in the window.
func (w *Window) Held() (records int, bytes int) {
	return int(w.head.Sequence - w.freed), int(w.lastCum - w.cumFree)
}

// Expecting reports whether the server owes an answer that it gives at once,
// whatever its stores do: the shell bounds the wait for it.
func (w *Window) Expecting() bool {
	if w.phase != phaseAttached {
		return false
	}
	return w.received < w.sent || w.forcedOK < w.forced || w.byeSent && w.flushed == w.head
}

// Flushing reports whether the server was asked to make something durable that
// is not yet.
func (w *Window) Flushing() bool {
	return w.phase == phaseAttached && w.forced > w.flushed.Sequence
}

// Records appends the records from first to last, which a Send named, to dst.
// Their Data may be used until Written is reported for that Send.
func (w *Window) Records(dst []tlog.Record, first, last tlog.Sequence) []tlog.Record {
	for s := first; s <= last; s++ {
		dst = append(dst, w.at(s).rec)
	}
	return dst
}

// at is the entry of a record in the window.
func (w *Window) at(s tlog.Sequence) *entry { return w.entries.at(int(s - w.freed - 1)) }

// chainAt is the chain value after s, which lies between freed and the head.
func (w *Window) chainAt(s tlog.Sequence) tlog.Hash {
	if s == w.flushed.Sequence {
		return w.flushed.Chain
	}
	return w.at(s).chain
}

// cumAt is the bytes of data of all records up to s.
func (w *Window) cumAt(s tlog.Sequence) uint64 {
	if s == w.freed {
		return w.cumFree
	}
	return w.at(s).cum
}
