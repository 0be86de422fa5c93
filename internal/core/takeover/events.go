package takeover

import "tlog"

// Config is what does not change during one takeover or survey.
type Config struct {
	P, K, N, W, R int
	Fence         bool // false: survey
	// Joining are servers, by number, that took the place of another and do not
	// hold yet what that one held: what they claim counts, what they lack says
	// nothing, so they are not among the R. Nil: none.
	Joining []bool
	Page    int // positions a ReadMetas asks for; 0: 1,024
	Window  int // adopted positions in flight; 0: 8
}

// Event is something that happened.
type Event interface{ event() }

// Start begins.
type Start struct{}

// ControlRead answers ReadControl.
type ControlRead struct {
	Server, Round int
	Epoch         tlog.Epoch
	Head, Commit  tlog.Position
}

// Fenced answers Fence: the server accepted our epoch.
type Fenced struct {
	Server, Round int
	Head, Commit  tlog.Position
}

// Refused answers Fence: the server holds this epoch, which is not below ours.
type Refused struct {
	Server, Round int
	Epoch         tlog.Epoch
}

// MetasRead answers ReadMetas. Partial: the server lost some of what it held,
// so what is not there may have been.
type MetasRead struct {
	Server, Round int
	Metas         []Meta
	Partial       bool
}

// Meta is what a server claims to hold of a position.
type Meta struct {
	Position tlog.Position
	Epoch    tlog.Epoch
	Digest   tlog.Hash
	Index    int
}

// ShardRead answers ReadShard. Good: the stored shard verified, and is of
// Digest, Prev and Index; else it is damaged, or gone although it is claimed.
type ShardRead struct {
	Server, Round int
	Good          bool
	Digest, Prev  tlog.Hash
	Index         int
}

// Failed answers any request: no answer, or a server that may not vote.
type Failed struct{ Server, Round int }

// GraceOver says that the time that StartGrace began is over.
type GraceOver struct{ Round int }

// BackedOff says that the time that BackOff began is over.
type BackedOff struct{}

// Verified answers Verify.
type Verified struct{ OK bool }

// Committed says that an adopted position is committed in our epoch.
type Committed struct{ Position tlog.Position }

func (Start) event()       {}
func (ControlRead) event() {}
func (Fenced) event()      {}
func (Refused) event()     {}
func (MetasRead) event()   {}
func (ShardRead) event()   {}
func (Failed) event()      {}
func (GraceOver) event()   {}
func (BackedOff) event()   {}
func (Verified) event()    {}
func (Committed) event()   {}

// Action is something to do. Answers carry the Round of the request.
type Action interface{ action() }

// ReadControl asks a server for owner and hints, after making sure that it is
// the one that belongs into its slot.
type ReadControl struct{ Server, Round int }

// Fence asks a server to accept our epoch.
type Fence struct {
	Server, Round int
	Epoch         tlog.Epoch
}

// ReadMetas asks for what a server claims of positions From…To.
type ReadMetas struct {
	Server, Round int
	From, To      tlog.Position
}

// ReadShard asks to read and check a stored shard. The shell keeps the good
// ones until the next position's or Done.
type ReadShard struct {
	Server, Round int
	Position      tlog.Position
}

// StartGrace asks for GraceOver: enough servers have answered, the others get
// a little longer.
type StartGrace struct{ Round int }

// BackOff asks for BackedOff after a random time that grows with Attempt:
// another owner is at it too.
type BackOff struct{ Attempt int }

// Found says that a position is of the log, with its digest. Positions come in
// order; the first is Base, of which Prev is not checked unless it is 1.
type Found struct {
	Position tlog.Position
	Digest   tlog.Hash
}

// Verify asks to put the position together from its good shards and decode it.
type Verify struct {
	Position tlog.Position
	Digest   tlog.Hash
}

// Append asks to append an adopted position again in our epoch.
type Append struct {
	Position tlog.Position
	Digest   tlog.Hash
	Held     []Holding // by server
}

// Holding is what a server holds of a digest.
type Holding struct {
	Index int  // −1: nothing, or not known
	Good  bool // it verified
}

// Done ends a takeover or survey. Base is the highest position known to be
// committed before anything was read; 0 if none. Voters are the servers whose
// answers it stands on.
type Done struct {
	Epoch      tlog.Epoch // ours; of a survey, the highest seen
	Base, Head tlog.Position
	Voters     []bool
}

// Halt ends it without a result.
type Halt struct {
	Reason   Reason
	Position tlog.Position // with ReasonDamaged, ReasonLost and ReasonRefused
	Have     int           // servers, or shards
	Need     int
	Everyone bool // all P servers vote and answered: more servers will not help
}

func (ReadControl) action() {}
func (Fence) action()       {}
func (ReadMetas) action()   {}
func (ReadShard) action()   {}
func (StartGrace) action()  {}
func (BackOff) action()     {}
func (Found) action()       {}
func (Verify) action()      {}
func (Append) action()      {}
func (Done) action()        {}
func (Halt) action()        {}

// Reason is why a takeover halted.
type Reason uint8

const (
	ReasonTooFew  Reason = iota + 1 // fewer servers answered than are needed
	ReasonDamaged                   // k indices are claimed, fewer verify
	ReasonLost                      // a committed position is not claimed by k indices
	ReasonRefused                   // Verify failed
	ReasonEpochs                    // there is no higher epoch
)
