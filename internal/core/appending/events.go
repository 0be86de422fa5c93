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

// Action is something to do. It is one type for all kinds, so that a position
// costs no object for each of its shards.
type Action struct {
	Kind   Kind
	Server int // of Send, Fence, Probe, Wait; of Dead the one that said so, −1: nobody
	// Position of Send, StartHedge, Committed, Failed, Release.
	Position tlog.Position

	Index   int           // of Send
	Data    bool          // of Send: with the bytes; without, the server is known to hold them
	Replace bool          // of Send: they are put in place of what it holds
	Commit  tlog.Position // of Send, a hint: highest committed position

	Failures int  // of Wait: in a row
	Slow     bool // of Wait: the server needs a person; it is not to be hammered

	Reason Reason     // of Failed, Dead
	Epoch  tlog.Epoch // of Dead with ReasonFenced: the epoch held
}

// Kind of an Action.
type Kind uint8

const (
	// Send asks the shell to append one shard.
	Send Kind = iota + 1
	// Fence asks to fence a server in our epoch: it missed the takeover.
	Fence
	// Probe asks whether a server is there and is the one it should be.
	Probe
	// Wait asks for Due after a time that grows with Failures.
	Wait
	// StartHedge asks for Late after the hedge time.
	StartHedge
	// Committed acknowledges a position and every one before it.
	Committed
	// Failed says that the position will not be acknowledged; whether it is
	// durable the next takeover decides.
	Failed
	// Release says that no request uses the shards of a position any more.
	Release
	// Dead says that this owner is finished: cancel what is in flight.
	Dead
)

// Reason is why an owner is dead.
type Reason uint8

const (
	ReasonClosed   Reason = iota + 1 // Close
	ReasonFenced                     // another owner has taken over
	ReasonConflict                   // a server holds another digest in our own epoch
)
