package session

import "tlog"

// Action is what a Machine wants done.
type Action interface{ action() }

// Barrier: make what was appended durable, then a control aggregation that
// carries Head's generation, client, hash and numbering; BarrierDone answers.
type Barrier struct{ Head Head }

// Welcome: answer a handshake. With a status other than OK the connection is
// closed after it.
type Welcome struct {
	Conn    Conn
	Status  tlog.HandshakeStatus
	Message string
	Head    Head // with OK
	Disk    Disk // with OK
}

// Recheck: read, without fencing, where the stored log ends; Rechecked answers
// unless the connection ends first. The refusal that is due is a final one, and
// a server that was fenced and does not know it must not give it.
type Recheck struct{ Attach Attach }

// Append: hand Records to the log, in this order. Whole: they are exactly the
// records of Payload; else they must be encoded anew.
type Append struct {
	Records []tlog.Record
	Chain   tlog.Hash // after the last
	Whole   bool
	Clamped bool // the timestamp is not the client's
	Payload any
}

// Drop: Payload is not needed.
type Drop struct{ Payload any }

// Force: have the log seal what was appended so far.
type Force struct{}

// Reply: send an answer about records. Version-2 answers have UpTo, Chain and
// Expected; version-1 answers have the sequences From…To of the client's
// numbering if Listed, and after them Then, if it is greater.
type Reply struct {
	Conn     Conn
	Status   tlog.BlockStatus
	UpTo     tlog.Sequence
	Chain    tlog.Hash
	Expected tlog.Sequence
	Message  string
	Listed   bool
	From, To uint64
	Then     uint64
}

// Close: end a connection once its answers are out.
type Close struct {
	Conn   Conn
	Reason string // for the log
}

// Pause, Resume: stop and go on reading a connection's messages.
type Pause struct{ Conn Conn }

// Resume: see Pause.
type Resume struct{ Conn Conn }

// Gap: early blocks are held (Open) or no longer; the shell sends GapTimeout if
// a gap stays open too long, since held blocks take memory from others.
type Gap struct {
	Conn Conn
	Open bool
}

// Note: something an operator should know.
type Note struct {
	Conn    Conn
	Message string
}

// Die: forget this machine and its log; the next attach takes over again.
type Die struct{ Message string }

func (Barrier) action() {}
func (Welcome) action() {}
func (Recheck) action() {}
func (Append) action()  {}
func (Drop) action()    {}
func (Force) action()   {}
func (Reply) action()   {}
func (Close) action()   {}
func (Pause) action()   {}
func (Resume) action()  {}
func (Gap) action()     {}
func (Note) action()    {}
func (Die) action()     {}
