package server

import (
	"fmt"
	"log/slog"
	"time"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/stor"
)

// Config of a Server. Pool and Keys are needed; the zero value of the rest has
// the defaults.
type Config struct {
	Pool *stor.Pool
	Keys *crypto.Keyring
	// Aggregate says when records are sealed; its Sealers are made if it has none.
	Aggregate aggregate.Config
	// BlockSize of vdisks whose first client names none, in bytes, a power of two; 0: 4096.
	BlockSize uint32
	// Durability is told to clients: what FlushOK promises, in words.
	Durability string

	// MemoryBudget bounds the bytes of records on their way: half of it for
	// messages as they were received, half for sealed shards. Too small costs
	// throughput, too large risks the machine when the shard servers stall. At
	// least 32 MiB; 0: 256 MiB.
	MemoryBudget int
	// MaxConnections are served at once, more are closed; 0: 4,096.
	MaxConnections int
	// MaxHandshakes may be incomplete at once, more wait unaccepted; 0: 128.
	MaxHandshakes int
	// HandshakeTimeout is from connect to a whole request; 0: 10 s.
	HandshakeTimeout time.Duration
	// AttachTimeout is how long a handshake waits for the log before the
	// answer is "unavailable" with the reason; 0: 8 s.
	AttachTimeout time.Duration
	// MessageTimeout is how long the rest of a message, or the block that
	// closes a gap, may take; 0: 30 s.
	MessageTimeout time.Duration
	// WriteTimeout is how long a peer may leave answers unread; 0: 30 s.
	WriteTimeout time.Duration
	// IdleTimeout is when a vdisk without a client is let go of; 0: 5 min.
	IdleTimeout time.Duration
	// RepairEvery is how often a vdisk's log that is short of shards is looked
	// at for what can be written again; a whole one a tenth as often. 0: 1 min.
	RepairEvery time.Duration
	// ScrubEvery is how often every shard of a vdisk is read and checked; 0: 7 days.
	ScrubEvery time.Duration
	// RepairRate bounds what repair and scrub read and write, in bytes a
	// second; 0: 32 MiB.
	RepairRate int64

	Logger *slog.Logger     // nil: discarded
	Now    func() time.Time // nil: time.Now
}

// Bounds that are not tunables.
const (
	lingerTime    = time.Second // for a peer to read the last answer
	maxHello      = 8 << 10     // bytes; a request with a longest name has under 1 KiB
	creditRecords = 16384
	outboxLimit   = 1024 // answers that wait for a peer before its messages are no longer read
)

func (c Config) withDefaults() (Config, error) {
	if c.Pool == nil || c.Keys == nil {
		return c, fmt.Errorf("server: config: Pool and Keys are needed")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.HandshakeTimeout, 10 * time.Second},
		{&c.AttachTimeout, 8 * time.Second},
		{&c.MessageTimeout, 30 * time.Second},
		{&c.WriteTimeout, 30 * time.Second},
		{&c.IdleTimeout, 5 * time.Minute},
		{&c.RepairEvery, time.Minute},
		{&c.ScrubEvery, 7 * 24 * time.Hour},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	c.MemoryBudget = orDefault(c.MemoryBudget, 256<<20)
	c.MaxConnections = orDefault(c.MaxConnections, 4096)
	c.MaxHandshakes = orDefault(c.MaxHandshakes, 128)
	if c.BlockSize == 0 {
		c.BlockSize = tlog.DefaultBlockSize
	}
	if c.MemoryBudget < 32<<20 {
		return c, fmt.Errorf("server: config: memory budget of %d bytes; it must be at least 32 MiB", c.MemoryBudget)
	}
	if !validBlockSize(c.BlockSize) {
		return c, fmt.Errorf("server: config: block size of %d bytes; it must be a power of two from 512 to 64 KiB", c.BlockSize)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Aggregate.Logger == nil {
		c.Aggregate.Logger = c.Logger
	}
	if c.Aggregate.Sealers == nil {
		c.Aggregate.Sealers = aggregate.NewSealers(c.Aggregate.Workers, c.MemoryBudget/2)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func orDefault(v, d int) int {
	if v <= 0 {
		return d
	}
	return v
}

func validBlockSize(n uint32) bool { return n >= 512 && n <= 64<<10 && n&(n-1) == 0 }
