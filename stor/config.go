package stor

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"time"

	"tlog"
)

// Checked is a stored shard that proved to be what was asked for.
type Checked struct {
	Digest, Prev tlog.Hash // chain digests of this position and of the one before
	Index        int
	K, M         int
	Head         []byte // the bytes every shard of the aggregation begins with
	Body         []byte
}

// CheckFunc parses a stored shard and checks, without keys, that it belongs to
// vdisk and position and is undamaged. headOnly: b may end after the head, and
// then Index is −1. The results may alias b. cmd makes it of crypto.Check.
//
// A stored shard is Head, an index trailer (the index as one byte and seven
// zero bytes, docs/format.md), Body: that much this package must know to write
// a shard again that no server has any more, and it has the result checked.
type CheckFunc func(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (Checked, error)

// Config of a pool. For Open zero values mean "as the manifest says", for Init
// the defaults named here.
type Config struct {
	K, M       int        // shards; both zero: as the pool has them; M −1 for Open: as the pool has it
	MinShards  int        // W; 0: K+M (strict)
	Durability Durability // "": always
	ReadOnly   bool       // the manifests on the servers are left as they are
	Check      CheckFunc
	Logger     *slog.Logger // nil: nothing is logged
	Random     io.Reader    // of identifiers and jitter; nil: crypto/rand
}

func (c Config) withDefaults() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Check == nil {
		return c, fmt.Errorf("stor: internal error: no Check")
	}
	return c, nil
}

// The waits of the shells. They bound how long something may take; what
// follows when it is over, the cores decide.
const (
	requestTimeout  = 10 * time.Second       // an append, fence or read
	identifyTimeout = 5 * time.Second        // identity and admission of one server
	hedgeTime       = 250 * time.Millisecond // an append, before a spare is asked too
	readHedgeTime   = 250 * time.Millisecond // a read, before another shard is asked for
	graceTime       = 300 * time.Millisecond // for the slower servers, once enough answered

	retryMin, retryMax = 50 * time.Millisecond, 5 * time.Second // a server that did not answer, or was busy
	slowMin, slowMax   = 2 * time.Second, 30 * time.Second      // one that is full or needs a person
	fenceMin, fenceMax = 50 * time.Millisecond, 5 * time.Second // another owner takes over at the same time
)
