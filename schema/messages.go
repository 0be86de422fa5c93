package schema

import "tlog"

// Version is a protocol version: major, minor, patch and stage, a byte each
// from the highest. Stage 1 is live, 2 rc, 4 beta, 8 alpha, 16 dev.
type Version uint32

const (
	// VersionLowest is the lowest version served: 1.1.0-alpha.
	VersionLowest Version = 0x01010008
	// Version1 is what a version-1 session is answered with.
	Version1 Version = 0x01010008
	// Version2 is 2.0.0 live.
	Version2 Version = 0x02000001
)

// MessageType is the byte that goes ahead of every client message after the handshake.
type MessageType uint8

// Version 1 has the first three; ours continue at 4.
const (
	MsgBlock         MessageType = 1 // TlogBlock
	MsgForceFlush    MessageType = 2 // Command
	MsgWaitSlaveSync MessageType = 3 // Command
	MsgBatch         MessageType = 4 // TlogBatch
	MsgBye           MessageType = 5 // Command: flush all, answer StatusByeOK, close
)

// Limits of framed messages in bytes, checked before anything is allocated.
const (
	// MaxHandshake bounds a hello and a welcome.
	MaxHandshake = 64 << 10
	// MaxBatch bounds a batch on the wire. A stored payload is bounded by
	// tlog.MaxAggregation.
	MaxBatch = 5 << 20
	// MaxBlock bounds a version-1 block.
	MaxBlock = 5 << 20
	// MaxCommand bounds a command.
	MaxCommand = 256
	// MaxResponse bounds a response.
	MaxResponse = 1 << 20
	// MaxSequences is how many sequences a response lists at most: 512 KiB of them.
	MaxSequences = 64 << 10
	// MaxText is how much of a message for people is sent, in bytes; encoders
	// cut what is longer.
	MaxText = 4 << 10
	// MaxSegments is how many segments a received message may have.
	MaxSegments = 16
)

// Hello is a HandshakeRequest, the first message of a client.
type Hello struct {
	Version, MinVersion Version // highest and lowest the client speaks
	Vdisk               string  // not yet checked
	FirstSequence       uint64  // version 1
	ResetFirst          bool    // version 1
	DiskSize            uint64  // bytes; 0: unknown
	BlockSize           uint32  // bytes; 0: tlog.DefaultBlockSize
	Client              tlog.UUID
	Generation          tlog.Generation // the last one this client was given
	Takeover, Adopt     bool
	LastFlushed         tlog.Sequence
	Chain               tlog.Hash            // at LastFlushed
	Hashes              []tlog.HashAlgorithm // best first
	Origin              tlog.Origin          // of a new log
}

// Welcome is a HandshakeResponse, the server's answer.
type Welcome struct {
	Version       Version // of the session
	Status        tlog.HandshakeStatus
	LastFlushed   tlog.Sequence // the head
	Chain         tlog.Hash     // at LastFlushed
	Generation    tlog.Generation
	Epoch         tlog.Epoch
	LastTimestamp uint64 // nanoseconds since 1970 UTC
	CreditRecords uint32
	CreditBytes   uint64
	Hash          tlog.HashAlgorithm
	Vdisk         tlog.UUID
	DiskSize      uint64 // bytes; 0: unknown
	BlockSize     uint32 // bytes
	Durability    string // what FlushOK promises, for people
	Message       string // what to do about a refusal, for people
}

// Response is a TlogResponse, every message of a server after its welcome.
type Response struct {
	Status        tlog.BlockStatus
	Sequences     []uint64 // version 1; at most MaxSequences
	UpTo          tlog.Sequence
	Chain         tlog.Hash // at UpTo
	Epoch         tlog.Epoch
	Expected      tlog.Sequence
	CreditRecords uint32 // 0: unchanged
	CreditBytes   uint64 // 0: unchanged
	Message       string
}

// Block is a version-1 block: numbered and placed by its client's own rules.
type Block struct {
	Sequence  uint64
	Index     int64     // block number
	Hash      tlog.Hash // of Data; zero if a block without data came without one
	Data      []byte
	Timestamp uint64 // nanoseconds since 1970 UTC
	Operation tlog.Operation
}

// Batch is a run of consecutive records and the chain value after the last.
type Batch struct {
	Records []tlog.Record
	Chain   tlog.Hash
}

// Prelude opens the payload of an aggregation (struct TlogAggregation).
type Prelude struct {
	Vdisk         tlog.VdiskID
	Size          uint64    // records
	Timestamp     uint64    // of the first record, or of the sealing; nanoseconds since 1970 UTC
	Chain         tlog.Hash // before the first record
	Generation    tlog.Generation
	Hash          tlog.HashAlgorithm
	Client        tlog.UUID
	Base, First   uint64 // version-1 numbering, when Version1
	Version1      bool
	LastTimestamp uint64 // of the last record before this aggregation
}
