package appending

import "tlog"

// Config is what does not change while an owner appends.
type Config struct {
	P     int // servers; they are numbered 0 … P−1
	N     int // shards of a position
	W     int // distinct indices that commit a position
	First int // the server that index 0 prefers; index i prefers (First+i) mod P
	Epoch tlog.Epoch
	Last  tlog.Position // end of the log: the first Publish is Last+1
}

// Event is something that happened: Publish, Replied, FenceReplied, Late, Due,
// Probed or Close.
type Event interface{ event() }

// Publish adds the position that follows the last one.
type Publish struct {
	Position tlog.Position
	// Held, when the position was found by a takeover: what each server is
	// known to hold of the same digest. Nil for a new position.
	Held []Holding
}

// Holding is what a server holds of a position's digest.
type Holding struct {
	Index int  // −1: nothing, or not known
	Valid bool // the stored shard was read and is good; else it must be written anew
}

// Replied is the answer to one Send.
type Replied struct {
	Server   int
	Position tlog.Position
	Outcome  Outcome
	Index    int        // with Stored and HasIndex: the index held
	Epoch    tlog.Epoch // with Fenced: the epoch held
}

// FenceReplied is the answer to one Fence: Stored, Fenced, or why not.
type FenceReplied struct {
	Server  int
	Outcome Outcome
	Epoch   tlog.Epoch // with Fenced: the epoch held
}

// Late says that the hedge time that StartHedge began is over.
type Late struct{ Position tlog.Position }

// Due says that the wait that Wait began is over.
type Due struct{ Server int }

// Probed is the answer to one Probe.
type Probed struct {
	Server int
	OK     bool
}

// Close ends the log from our side.
type Close struct{}

func (Publish) event()      {}
func (Replied) event()      {}
func (FenceReplied) event() {}
func (Late) event()         {}
func (Due) event()          {}
func (Probed) event()       {}
func (Close) event()        {}

// Outcome is the class of an answer (docs/durability.md has the table).
type Outcome uint8

const (
	Unknown  Outcome = iota // no answer, or one that leaves it open: never an acknowledgement
	Stored                  // durable, at Index
	HasIndex                // durable, but at the Index it held before
	Fenced                  // Epoch is held, which is not ours
	NoData                  // the shard's bytes did not arrive
	Conflict                // another digest in our own epoch: a bug, or two owners
	Busy                    // not now
	Full                    // no room
	Unusable                // wrong store, stale configuration, replica, denied, unfit
)

// Action is something to do: Send, Fence, Probe, Wait, StartHedge, Committed,
// Failed, Release or Dead.
type Action interface{ action() }

// Send asks the shell to append one shard. Without Data the server is known to
// hold the bytes; Replace puts them in place of what it holds.
type Send struct {
	Server   int
	Position tlog.Position
	Index    int
	Data     bool
	Replace  bool
	Commit   tlog.Position // hint: highest committed position
}

// Fence asks to fence a server in our epoch: it missed the takeover.
type Fence struct{ Server int }

// Probe asks whether a server is there and is the one it should be.
type Probe struct{ Server int }

// Wait asks for Due after a time that grows with Failures. Slow marks a server
// that needs a person: it is not to be hammered.
type Wait struct {
	Server   int
	Failures int
	Slow     bool
}

// StartHedge asks for Late after the hedge time.
type StartHedge struct{ Position tlog.Position }

// Committed acknowledges a position and every one before it.
type Committed struct{ Position tlog.Position }

// Failed says that the position will not be acknowledged; whether it is
// durable the next takeover decides.
type Failed struct {
	Position tlog.Position
	Reason   Reason
}

// Release says that no request uses the shards of a position any more.
type Release struct{ Position tlog.Position }

// Dead says that this owner is finished: cancel what is in flight.
type Dead struct {
	Reason Reason
	Server int        // that said so; −1: nobody
	Epoch  tlog.Epoch // with ReasonFenced: the epoch held
}

func (Send) action()       {}
func (Fence) action()      {}
func (Probe) action()      {}
func (Wait) action()       {}
func (StartHedge) action() {}
func (Committed) action()  {}
func (Failed) action()     {}
func (Release) action()    {}
func (Dead) action()       {}

// Reason is why an owner is dead.
type Reason uint8

const (
	ReasonClosed   Reason = iota + 1 // Close
	ReasonFenced                     // another owner has taken over
	ReasonConflict                   // a server holds another digest in our own epoch
)
