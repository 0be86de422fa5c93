package window

import (
	"fmt"
	"time"

	"tlog"
)

// EventKind says what happened. The comment names the fields of Event that are set.
type EventKind uint8

// The events.
const (
	// Start begins: the first Dial.
	Start EventKind = iota + 1
	// Attach reports the server's handshake answer. Attempt, Welcome.
	Attach
	// Lost reports that an attempt is over: dialling or the handshake failed, or
	// the connection ended and no write or read on it is in progress any more. It
	// is due exactly once for each Dial. Attempt, Err.
	Lost
	// Append asks for a record. Record (operation, offset, size, hash, data;
	// checked by the caller), Now.
	Append
	// Flush asks for a flush mark and a ticket on it. Record.Hash (of no bytes),
	// Now, Ticket.
	Flush
	// FlushTo asks for a ticket on Sequence, without a mark. Sequence, Ticket.
	FlushTo
	// SlaveSync asks for a ticket on the server's slave sync. Ticket.
	SlaveSync
	// Cancel gives up a ticket. Ticket.
	Cancel
	// Pull asks what to send. Attempt.
	Pull
	// Written reports that what the last Pull gave was written, and that the
	// records' data is not used any more. Attempt.
	Written
	// Answer reports a response. Attempt, Response.
	Answer
	// Overdue reports that an answer did not come, or a write was not taken, for
	// long, though Expecting. Attempt.
	Overdue
	// Stalled reports that nothing became durable for long, though Flushing. It
	// is due again after as long again. Attempt.
	Stalled
	// Close asks for an orderly end: everything durable, bye.
	Close
	// Abort ends at once. Err.
	Abort
)

// String returns the kind's name, for traces.
func (k EventKind) String() string {
	names := [...]string{"?", "start", "attach", "lost", "append", "flush", "flush-to", "slave-sync", "cancel", "pull", "written", "answer", "overdue", "stalled", "close", "abort"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("event %d", k)
}

// Event is one thing that happened.
type Event struct {
	Kind     EventKind
	Attempt  uint64
	Ticket   uint64 // chosen by the shell, unique among those not resolved
	Now      uint64 // nanoseconds since 1970 UTC
	Sequence tlog.Sequence
	Record   tlog.Record
	Welcome  Welcome
	Response Response
	Err      error
}

// Hello is what a client says in the handshake.
type Hello struct {
	Vdisk       tlog.VdiskID
	DiskSize    uint64
	BlockSize   uint32
	Client      tlog.UUID
	Generation  tlog.Generation
	Takeover    bool
	Adopt       bool
	LastFlushed Point
	Hashes      []tlog.HashAlgorithm // best first
}

// Welcome is a server's handshake answer.
type Welcome struct {
	Status        tlog.HandshakeStatus
	LastFlushed   Point
	Generation    tlog.Generation
	Epoch         tlog.Epoch
	LastTimestamp uint64
	CreditRecords uint32
	CreditBytes   uint64
	Hash          tlog.HashAlgorithm
	DiskSize      uint64 // 0: unknown
	Message       string
}

// Response is a server's answer about records.
type Response struct {
	Status        tlog.BlockStatus
	UpTo          Point // Chain with FlushOK only
	Epoch         tlog.Epoch
	Expected      tlog.Sequence
	CreditRecords uint32 // 0: unchanged
	CreditBytes   uint64 // 0: unchanged
	Message       string
}

// ActionKind says what to do. The comment names the fields of Action that are set.
type ActionKind uint8

// The actions.
const (
	// Dial: after about Delay (the shell adds jitter) connect to Server, send
	// Hello, report Attach or Lost. Attempt, Server, Delay.
	Dial ActionKind = iota + 1
	// Attached: the attempt's handshake succeeded; start pulling. Attempt.
	Attached
	// Wake: there is something to send; Pull. Given only if the last Pull gave nothing.
	Wake
	// Send: write a batch of the records First … Last, with Chain after the last.
	Send
	// SendForceFlush: write a force flush at Last.
	SendForceFlush
	// SendSlaveSync: write a wait for slave sync.
	SendSlaveSync
	// SendBye: write a bye.
	SendBye
	// Disconnect: close the connection, report Lost. Attempt, Err.
	Disconnect
	// Given: the record asked for has the sequence Last. Its timestamp is fixed.
	Given
	// Full: the record asked for was not taken, for want of room; ask again after a Free.
	Full
	// Refuse: what was asked for was not taken, and will not be. Err.
	Refuse
	// Resolve: what Ticket waited for has happened.
	Resolve
	// Free: the records up to Last are durable, and their memory may be reused.
	Free
	// Fail: the window has ended; nothing it was asked for and did not resolve
	// will happen. Close the connection, report Lost. Err.
	Fail
	// Done: everything is durable and the window has ended. Close the connection.
	Done
)

// String returns the kind's name, for traces.
func (k ActionKind) String() string {
	names := [...]string{"?", "dial", "attached", "wake", "send", "send-force-flush", "send-slave-sync", "send-bye", "disconnect", "given", "full", "refuse", "resolve", "free", "fail", "done"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("action %d", k)
}

// Action is one thing to do.
type Action struct {
	Kind    ActionKind
	Attempt uint64
	Server  int
	Delay   time.Duration
	First   tlog.Sequence
	Last    tlog.Sequence
	Chain   tlog.Hash
	Ticket  uint64
	Err     error
}

// String returns the action in a few words, for traces.
func (a Action) String() string {
	switch a.Kind {
	case Dial:
		return fmt.Sprintf("dial #%d server %d after %v", a.Attempt, a.Server, a.Delay)
	case Send:
		return fmt.Sprintf("send %d-%d", a.First, a.Last)
	case SendForceFlush, Given, Free:
		return fmt.Sprintf("%v %d", a.Kind, a.Last)
	case Resolve:
		return fmt.Sprintf("resolve t%d", a.Ticket)
	case Disconnect, Fail, Refuse:
		return fmt.Sprintf("%v: %v", a.Kind, a.Err)
	}
	return a.Kind.String()
}
