package repair

import "tlog"

// Config is what does not change during one pass.
type Config struct {
	P, N, K int
	First   int           // the server that index 0 prefers; index i prefers (First+i) mod P
	Head    tlog.Position // the last position to look at: all up to it are committed
	Deep    bool          // look at every position, not only where claims are missing
	Page    int           // positions a List asks for; 0: 1,024
	Window  int           // positions looked at or written at once; 0: 2
}

// Event is something that happened.
type Event interface{ event() }

// Start begins.
type Start struct{}

// Listed answers List: what the servers claim of each position, in order.
type Listed struct {
	From   tlog.Position
	Places []Place
	Failed bool // too few servers answered: the pass ends
}

// Place is what is claimed of one position.
type Place struct {
	Known bool  // its digest is known
	Index []int // by server: the index claimed, None, Unsure, or Bad
}

// What a server may claim beside an index.
const (
	None   = -1
	Unsure = -2 // it did not answer
	Bad    = -3 // it answered, with something that is no claim
)

// Looked answers Look: what was found, by server.
type Looked struct {
	Position tlog.Position
	Shards   []Shard
}

// Shard is what a server holds of a position.
type Shard struct {
	State State
	Index int // with Good; with Damaged the index claimed, None if the claim is bad too
}

// State is what reading a shard gave.
type State uint8

const (
	Silent  State = iota // the server could not be asked
	Good                 // it is what it should be
	Damaged              // it is claimed, and its bytes are bad, gone, or another's
	Absent               // the server holds nothing of the log's here, and says so
)

// Stored answers Write.
type Stored struct {
	Position tlog.Position
	Server   int
	Outcome  Outcome
}

// Outcome is how a Write ended.
type Outcome uint8

const (
	Refused  Outcome = iota // not done, or not known to be
	Done                    // durable
	Behind                  // the server holds a lower epoch: it missed the takeover
	Outbid                  // another owner has taken over
	Conflict                // the server holds another digest in our own epoch
)

func (Start) event()  {}
func (Listed) event() {}
func (Looked) event() {}
func (Stored) event() {}

// Action is something to do.
type Action interface{ action() }

// List asks what every server claims of positions From…To.
type List struct{ From, To tlog.Position }

// Look asks to read and check the shard of a position on every server. The
// shell keeps the good ones until Finished.
type Look struct{ Position tlog.Position }

// Write asks to write one shard. Replace: in place of what the server holds of
// the digest. Fence: fence the server in our epoch first. Surplus: others hold
// the index, so that the position is not short without it.
type Write struct {
	Position                tlog.Position
	Server, Index           int
	Replace, Fence, Surplus bool
}

// Finished ends a position.
type Finished struct {
	Position tlog.Position
	Looked   bool // its shards were read
	Written  int  // shards that were written
	Short    int  // indices it still lacks, or that nobody could be asked for
	Lost     bool // fewer than K good shards, though every server was asked
}

// End is the last action. Reason is zero when every position was dealt with.
type End struct{ Reason Reason }

// Reason is why a pass ended early.
type Reason uint8

const (
	ReasonOutbid   Reason = iota + 1 // another owner has taken over
	ReasonConflict                   // a server holds another digest in our own epoch
	ReasonUnlisted                   // too few servers answered
)

func (List) action()     {}
func (Look) action()     {}
func (Write) action()    {}
func (Finished) action() {}
func (End) action()      {}
