package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/group"
	"tlog/internal/core/window"
)

// Defaults of a Config.
const (
	// DefaultWindowBytes is Config.WindowBytes when that is zero.
	DefaultWindowBytes = 8 << 20
	// DefaultWindowRecords is Config.WindowRecords when that is zero.
	DefaultWindowRecords = 8192
	// DefaultDialTimeout is Config.DialTimeout when that is zero.
	DefaultDialTimeout = 4 * time.Second
	// DefaultMaxBackoff is Config.MaxBackoff when that is zero.
	DefaultMaxBackoff = 2 * time.Second
)

const (
	batchRecords = 256
	batchBytes   = 1 << 20
	// coalesceBytes is how much makes a batch worth a system call of its own
	// while others are on their way: the cost of a call is then below 2 % of
	// that of hashing what it carries.
	coalesceBytes = 128 << 10

	// answerTimeout bounds the wait for an answer that a server owes at once,
	// and for a write to be taken. A server whose store is slow answers RecvOK
	// all the same, so a connection silent for so long is dead. A guest gives a
	// flush half a minute: finding that out, and a handshake with the next
	// server, must fit.
	answerTimeout = 10 * time.Second
	// stallTime is how long a flush may make no progress until the core is told.
	// The second time in a row it looks for another server.
	stallTime = 5 * time.Second
	// handshakeTimeouts is how many DialTimeouts a handshake may take: the server
	// takes the log over in it, and gives up before that (8 s by default).
	handshakeTimeouts = 3
)

// Config of a Client. Servers and Vdisk are needed; the zero value of the rest has the defaults.
type Config struct {
	// Servers are HOST:PORT or unix:PATH, tried in order, round and round.
	Servers []string
	Vdisk   tlog.VdiskID
	// DiskSize in bytes; 0: that of the log, or unknown. Appends beyond it are refused.
	DiskSize uint64
	// BlockSize in bytes, for the record only; 0: 4096.
	BlockSize uint32
	// Origin is the moment that a new log says it was begun with. A log that is
	// there and does not say so is refused (ErrRefused).
	Origin tlog.Origin

	// ID is who the client is. It is kept by the caller, with Session.Generation,
	// beside the disk it belongs to: the same ID attaches again without Takeover.
	// Zero: a random one.
	ID tlog.UUID
	// Generation is the last one this ID was given; 0: none.
	Generation tlog.Generation
	// Takeover takes the vdisk from another client. It holds for the first attach
	// only: a client that lost the vdisk does not take it back by itself.
	Takeover bool
	// Resume is the point up to which the caller holds the disk. With a zero
	// Sequence and without Adopt a new log is expected: ErrDiverged, if it has records.
	Resume Point
	// Adopt accepts a log that goes on beyond Resume. The caller then brings its
	// disk from Resume to Client.Start by itself, and checks the chain value there.
	Adopt bool
	// Hashes are the record hash algorithms offered, best first; empty: BLAKE2b-256, SHA-256.
	Hashes []tlog.HashAlgorithm

	// WindowBytes bounds the data that is held because it is not durable; 0: 8 MiB.
	// An empty window takes one record of any size. Memory is up to a third more.
	WindowBytes int
	// WindowRecords bounds their number; 0: 8192.
	WindowRecords int
	// DialTimeout bounds one attempt to connect; the handshake that follows may take
	// three times as long, since the server may have to take the log over; 0: 4 s.
	DialTimeout time.Duration
	// MaxBackoff is the longest pause between attempts; 0: 2 s.
	MaxBackoff time.Duration

	// OnFlushed, if set, is told the durable prefix each time it has grown, in
	// order, from one goroutine. Data given to AppendShared up to it may be reused.
	OnFlushed func(tlog.Sequence)
	// OnAttach, if set, is told each session before the first record is sent on
	// it, for the caller to store the generation. Open and Close wait for it.
	OnAttach func(Session)

	// Clock, if set, makes the disk one of a consistency group: it stamps every
	// record instead of Now. A *group.Clock is one. Readers take the log to be
	// complete up to its last record, or for good if that is a watermark with the
	// closed stamp: appending watermarks is the caller's part, as package vdisk does.
	Clock Clock

	Logger *slog.Logger                                               // nil: none
	Now    func() time.Time                                           // nil: time.Now
	Dial   func(ctx context.Context, server string) (net.Conn, error) // nil: net.Dialer
}

// Clock is what the disks of a consistency group share; see package group for
// what makes it one. Safe for concurrent use.
type Clock interface {
	Next() uint64       // a value above every one given before, to whomever
	Raise(above uint64) // what Next gives from now on is above it
	Stamp() group.Stamp // of the records that it stamps; not 0
}

// withDefaults returns a checked copy.
func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Servers) == 0 {
		return cfg, fmt.Errorf("client: config: no servers")
	}
	if err := cfg.Vdisk.Check(); err != nil {
		return cfg, fmt.Errorf("client: config: %w", err)
	}
	if cfg.WindowBytes < 0 || cfg.WindowRecords < 0 || cfg.DialTimeout < 0 || cfg.MaxBackoff < 0 {
		return cfg, fmt.Errorf("client: config: negative window or time")
	}
	cfg.Servers = slices.Clone(cfg.Servers)
	cfg.Hashes = slices.Clone(cfg.Hashes)
	if len(cfg.Hashes) == 0 {
		cfg.Hashes = []tlog.HashAlgorithm{tlog.HashBlake2b, tlog.HashSHA256}
	}
	for _, h := range cfg.Hashes {
		if !crypto.Supported(h) {
			return cfg, fmt.Errorf("client: config: unknown record hash algorithm %d", h)
		}
	}
	if cfg.ID.IsZero() {
		cfg.ID = randomUUID()
	}
	orDefault(&cfg.BlockSize, tlog.DefaultBlockSize)
	orDefault(&cfg.WindowBytes, DefaultWindowBytes)
	orDefault(&cfg.WindowRecords, DefaultWindowRecords)
	orDefault(&cfg.DialTimeout, DefaultDialTimeout)
	orDefault(&cfg.MaxBackoff, DefaultMaxBackoff)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dial == nil {
		cfg.Dial = dial
	}
	return cfg, nil
}

func orDefault[T int | uint32 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// randomUUID is a version-4 UUID (RFC 9562).
func randomUUID() tlog.UUID {
	var u tlog.UUID
	rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// dial connects to HOST:PORT or unix:PATH.
func dial(ctx context.Context, server string) (net.Conn, error) {
	var d net.Dialer
	if path, ok := strings.CutPrefix(server, "unix:"); ok {
		return d.DialContext(ctx, "unix", path)
	}
	return d.DialContext(ctx, "tcp", server)
}

// core is what the window is told of the configuration.
func (cfg *Config) core() window.Config {
	return window.Config{
		Vdisk: cfg.Vdisk, Servers: len(cfg.Servers), DiskSize: cfg.DiskSize, BlockSize: cfg.BlockSize,
		ID: cfg.ID, Generation: cfg.Generation, Takeover: cfg.Takeover,
		Resume: window.Point(cfg.Resume), Adopt: cfg.Adopt, Hashes: cfg.Hashes,
		Records: cfg.WindowRecords, Bytes: cfg.WindowBytes,
		BatchRecords: batchRecords, BatchBytes: batchBytes, Coalesce: coalesceBytes,
		MaxBackoff: cfg.MaxBackoff,
	}
}
