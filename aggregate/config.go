package aggregate

import (
	"crypto/rand"
	"io"
	"log/slog"
	"runtime"
	"time"

	"tlog"
	"tlog/crypto"
)

// Config of a Pipeline; the zero value has the defaults.
type Config struct {
	// MaxBytes of batches seal an aggregation; 0: 1 MiB, at most 16 MiB. Small
	// ones cost storage operations, large ones latency and memory.
	MaxBytes int
	// MaxRecords seal an aggregation; 0: 256, and as many more as came while
	// InFlight was full, within MaxBytes. Above about 1,024 records of 4 KiB an
	// aggregation falls out of the processor's cache.
	MaxRecords int
	// MaxAge is how long the first record of an aggregation waits for others
	// when nothing forces a flush; 0: 1 s.
	MaxAge time.Duration
	// InFlight aggregations may be sealed and not yet committed; 0: 8. More
	// hide the latency of slower stores, and hold more memory when one stalls.
	InFlight int
	// Workers seal at the same time; 0: GOMAXPROCS. Not used with Sealers.
	Workers int
	// Sealers, if set, are shared with other pipelines; nil: of its own.
	Sealers *Sealers
	// Random gives the salts, to several goroutines at once; nil: crypto/rand.
	Random io.Reader
	// Logger gets a line for each aggregation at Debug; nil: none.
	Logger *slog.Logger

	grown int // the most records, when they had to wait
}

// defaultGrown is where an aggregation of records without data ends.
const defaultGrown = 8192

// defaultMemory bounds the sealed aggregations of Sealers that name no limit.
const defaultMemory = 128 << 20

// withDefaults is c with every field set and in its limits.
func (c Config) withDefaults() Config {
	if c.MaxBytes <= 0 {
		c.MaxBytes = 1 << 20
	}
	c.MaxBytes = min(c.MaxBytes, tlog.MaxAggregation)
	c.grown = c.MaxRecords
	if c.MaxRecords <= 0 {
		c.MaxRecords, c.grown = 256, defaultGrown
	}
	if c.MaxAge <= 0 {
		c.MaxAge = time.Second
	}
	if c.InFlight <= 0 {
		c.InFlight = 8
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Sealers == nil {
		c.Sealers = NewSealers(c.Workers, 0)
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Publisher makes positions durable; stor's Log is one.
//
// Publish is called with one position after the other, without a gap, while
// earlier ones are still in flight; it may take its time, but only later
// positions wait for it. It owns s from then on and calls s.Release when it
// reads no part of it any more, whatever becomes of the position. done is
// called once, in any order, from any goroutine, also from within Publish: nil
// when the position is durable, else an error that ends the log's writer.
type Publisher interface {
	Publish(pos tlog.Position, digest tlog.Hash, s *crypto.Sealed, done func(error))
}

// Head is where a log ends, and what the next aggregation must carry on.
type Head struct {
	Vdisk       tlog.VdiskID
	UUID        tlog.UUID
	Position    tlog.Position // last position of the log
	Digest      tlog.Hash     // its chain digest
	Last        tlog.Sequence // last sequence
	Chain       tlog.Hash     // chain value at Last
	Timestamp   uint64        // of the last record
	Generation  tlog.Generation
	Client      tlog.UUID
	Hash        tlog.HashAlgorithm
	Base, First uint64 // version-1 numbering
	Version1    bool
	K, M        int
}

// writer sets what a barrier changes: who writes, and how.
func (h *Head) writer(w *Head) {
	h.Generation, h.Client, h.Hash = w.Generation, w.Client, w.Hash
	h.Base, h.First, h.Version1 = w.Base, w.First, w.Version1
}

// Batch is a run of consecutive records that follow what was appended before.
type Batch struct {
	Frame   []byte        // the framed TlogBatch, exactly these records
	Records []tlog.Record // alias Frame
	Chain   tlog.Hash     // after the last record
	Release func()        // called once when Frame and Records are no longer needed
}
