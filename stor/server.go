package stor

import (
	"context"
	"errors"
	"fmt"

	"tlog"
)

// Identity is what a writer expects a shard server to be: the incarnation it
// knows by this cookie, under no newer configuration than its own.
type Identity struct {
	Cookie        tlog.UUID
	ConfigVersion uint64
}

// Owner is who may append to a vdisk's log.
type Owner struct {
	Epoch tlog.Epoch
	ID    tlog.UUID // fresh for each takeover
}

// FenceRequest asks a server to accept Owner, and no lower one, from now on.
type FenceRequest struct {
	Identity
	Owner
	Vdisk tlog.UUID
}

// Control is what a server holds about a vdisk's ownership. Hints may be
// stale, never ahead of what was true.
type Control struct {
	Owner
	Head, Commit tlog.Position // hints: highest position appended here, highest known committed
}

// AppendRequest publishes one shard of a position. The server uses neither it
// nor its slices after done was called: the caller recycles them. Head and Body are stored one after the other;
// both empty means that a server that holds Digest needs no data again.
type AppendRequest struct {
	Identity
	Owner
	Vdisk      tlog.UUID
	Position   tlog.Position
	Index      int
	Digest     tlog.Hash // chain digest of the aggregation
	Commit     tlog.Position
	Replace    bool // repair: put this data (and index) in place of what is held for Digest
	Head, Body []byte
}

// Meta is what a server holds about one position.
type Meta struct {
	Position tlog.Position
	Epoch    tlog.Epoch
	Digest   tlog.Hash
	Index    int
}

// Space is a server's capacity in bytes. Total 0: unknown.
type Space struct{ Used, Total uint64 }

// Server is one shard server: it votes, and it stores shards. Implementations
// are stor/redis, stor/file and stor/memory; stor/stortest says, as tests, what
// each must do.
//
// All methods are safe for concurrent use, and end with an error soon after
// their context does. An error of the server's own judgement is a *Refusal.
// Any other error leaves the outcome unknown.
//
// A nil error of Fence, Append and Init means that the change is durable as
// the server's admission promises, also when it was there already.
type Server interface {
	// Name is the address or directory, for messages.
	Name() string

	// Fence sets the owner unless the server holds a higher epoch, or the same
	// epoch with another owner (Refused with Fenced and the epoch held). It
	// answers the hints. Fencing again by the same owner succeeds.
	Fence(ctx context.Context, r *FenceRequest) (Control, error)

	// Append stores one shard if Owner is exactly the stored one, in one atomic
	// step. For a position that holds
	//   - nothing, or another digest of a lower epoch: stores shard and meta;
	//   - the same digest and index: renews the epoch of the meta (and the
	//     data when Replace is set), and is as durable as a first append;
	//   - the same digest, another index: Refused with HasIndex and that index,
	//     after renewing the epoch durably in the same way; Replace overrules;
	//   - another digest of the same epoch: Refused with Conflict.
	// Data missing where it is needed: Refused with NoData.
	// Requests of one caller are pipelined; done is called exactly once, from
	// any goroutine, and must not block. The Meta is the one held afterwards.
	Append(ctx context.Context, r *AppendRequest, done func(Meta, error))

	// Control reads the owner and hints of a vdisk; the zero Control if there is none.
	Control(ctx context.Context, vdisk tlog.UUID) (Control, error)

	// Metas reads the metas that exist of positions from…to, in order. What is
	// held of a position and is no meta is a *BadMetas error, beside the metas of
	// all others.
	Metas(ctx context.Context, vdisk tlog.UUID, from, to tlog.Position) ([]Meta, error)

	// Shard reads a stored shard (limit > 0: its first limit bytes at most).
	// ErrAbsent if the position has none.
	Shard(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, limit int) ([]byte, error)

	// Vdisks lists the vdisks that were ever fenced here.
	Vdisks(ctx context.Context) ([]tlog.UUID, error)

	// Identify reads cookie and manifest. ErrEmpty if the server was never
	// initialised and holds nothing. Admission (settings that make it unfit to
	// store shards) is checked here and after each reconnect: Refused with Unfit.
	Identify(ctx context.Context) (tlog.UUID, *Manifest, error)

	// Init gives an empty server its cookie and the manifest, or a server with
	// that cookie a manifest of a higher config version.
	Init(ctx context.Context, cookie tlog.UUID, m *Manifest) error

	Space(ctx context.Context) (Space, error)

	Close() error
}

// Filler is a Server that reads a shard into memory of its caller's.
type Filler interface {
	// Fill is Server.Shard of a whole shard, which lies in buf if that has the
	// capacity and else in new memory; memory is either, for the next call. buf
	// belongs to the Server, also after an error: it may still be written to.
	Fill(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, buf []byte) (shard, memory []byte, err error)
}

// BadMetas says that a server holds, of some positions, something that is not a
// meta. Class tlog.Corrupt.
type BadMetas struct {
	Positions []tlog.Position // in order
	Err       error           // about the first of them
}

// Error tells of the first, and how many there are.
func (b *BadMetas) Error() string {
	if n := len(b.Positions); n > 1 {
		return fmt.Sprintf("%v (and %d more)", b.Err, n-1)
	}
	return b.Err.Error()
}

// Unwrap gives what is wrong with the first.
func (b *BadMetas) Unwrap() error { return b.Err }

// ErrAbsent says that a position has no shard on a server.
var ErrAbsent = errors.New("no such shard")

// ErrEmpty says that a server is not initialised and holds nothing.
var ErrEmpty = errors.New("not initialised")

// Code is the class of a shard server's refusal; docs/durability.md says what
// the writer does on each.
type Code uint8

const (
	Fenced      Code = iota + 1 // Epoch is the one held, above or below ours
	HasIndex                    // Index is the one held
	NoData                      // the shard's data did not arrive
	Conflict                    // another digest in the same epoch
	WrongStore                  // cookie differs: another server, or one that was wiped
	OldConfig                   // the server knows a newer manifest
	Busy                        // loading, busy, too many clients: back off
	Full                        // out of memory or disk, or refusing writes
	Replica                     // replica or cluster node: never follow
	Denied                      // credentials, permissions, keys of a foreign type
	Unfit                       // a setting makes it unfit; Err names it
	ServerError                 // any other error answer
)

// Refusal is a shard server's own answer that it did not do what was asked.
type Refusal struct {
	Code   Code
	Server string
	Owner  Owner // held, with Fenced
	Index  int   // held, with HasIndex
	Err    error // what the server said
}

// Error names the server and gives its words.
func (r *Refusal) Error() string { return fmt.Sprintf("stor: %s: %v", r.Server, r.Err) }

// Unwrap gives the server's own words.
func (r *Refusal) Unwrap() error { return r.Err }
