package session

import "tlog"

// Conn is the number a shell gives a connection; 0 is none.
type Conn uint64

// Event is what a Machine is told.
type Event interface{ event() }

// Attach: a client's handshake, already found well-formed (name, version, hash
// algorithm).
type Attach struct {
	Conn     Conn
	Version1 bool
	DiskSize uint64 // 0: unknown
	Hash     tlog.HashAlgorithm
	// Version 2:
	Client      tlog.UUID
	Generation  tlog.Generation
	Takeover    bool
	LastFlushed tlog.Sequence
	Chain       tlog.Hash
	// Version 1:
	First uint64
	Reset bool

	proved bool // what a refusal would rest on was read from storage
}

// Rechecked answers Recheck: where the stored log ends, or why that cannot be
// said now.
type Rechecked struct {
	Attach  Attach
	Head    Head
	Problem string
}

// BarrierDone: the aggregation of the last Barrier action is durable.
type BarrierDone struct{}

// GiveUp: an attach takes too long; Message says what it waits for.
type GiveUp struct {
	Conn    Conn
	Message string
}

// Detached: a connection ended, whoever ended it.
type Detached struct{ Conn Conn }

// Batch: a version-2 batch whose record hashes are right. Payload goes back to
// the shell with Append or Drop.
type Batch struct {
	Conn    Conn
	Records []tlog.Record
	Chain   tlog.Hash
	Now     uint64 // nanoseconds since 1970
	Payload any
}

// Block: a version-1 block whose hash is right.
type Block struct {
	Conn      Conn
	Sequence  uint64
	Index     int64
	Hash      tlog.Hash
	Data      []byte
	Timestamp uint64
	Operation tlog.Operation
	Now       uint64
	Payload   any
}

// Bad: something a peer sent was malformed or has a wrong hash.
type Bad struct {
	Conn     Conn
	Known    bool   // Sequence is known
	Sequence uint64 // of the version-1 block
	Message  string
}

// GapTimeout: the gap that Gap announced has been open for too long.
type GapTimeout struct{ Conn Conn }

// ForceFlush: a client asks for everything up to Sequence (its own numbering).
type ForceFlush struct {
	Conn     Conn
	Sequence uint64
}

// WaitSlaveSync: a client asks whether the slave has everything.
type WaitSlaveSync struct{ Conn Conn }

// Bye: a client's last message.
type Bye struct{ Conn Conn }

// Committed: the log made every record up to Last durable.
type Committed struct {
	Last  tlog.Sequence
	Chain tlog.Hash
}

// Failed: the log cannot be written any more by this owner.
type Failed struct {
	Status  tlog.HandshakeStatus // for a client that is attaching
	Message string
}

// Stop: the server ends; nothing more is accepted.
type Stop struct{}

func (Attach) event()        {}
func (Rechecked) event()     {}
func (BarrierDone) event()   {}
func (GiveUp) event()        {}
func (Detached) event()      {}
func (Batch) event()         {}
func (Block) event()         {}
func (Bad) event()           {}
func (GapTimeout) event()    {}
func (ForceFlush) event()    {}
func (WaitSlaveSync) event() {}
func (Bye) event()           {}
func (Committed) event()     {}
func (Failed) event()        {}
func (Stop) event()          {}
