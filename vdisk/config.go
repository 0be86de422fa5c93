package vdisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"tlog"
	"tlog/client"
)

// Config of a Disk. Vdisk, Size, Base and Servers are needed; the zero value
// of the rest has the defaults.
type Config struct {
	Vdisk     tlog.VdiskID
	Size      int64    // bytes; a multiple of 512
	BlockSize uint32   // bytes, as version-1 clients and tools count; 0: 4096
	Base      string   // path of the base image; its marker is Base + ".tlog"
	Servers   []string // HOST:PORT or unix:PATH, tried in order
	Takeover  bool     // take the vdisk from the client that had it

	// AttachDeadline bounds finding a server that accepts the vdisk, without
	// the time to catch up. 0: 1 min.
	AttachDeadline time.Duration
	// FlushDeadline bounds every write and flush: what the log has not taken,
	// or made durable, by then is an error. Too short, and a failover of the
	// server is seen by the guest; too long, and a guest hangs. 0: 30 s.
	FlushDeadline time.Duration
	// WindowBytes of acknowledged data may be not yet durable, and as much
	// again not yet in the base. At least 8 MiB. 0: 16 MiB.
	WindowBytes int
	// MarkerInterval and MarkerBytes say when the marker is advanced: the more
	// rarely, the more has to be caught up after a crash. 0: 30 s, 1 GiB.
	MarkerInterval time.Duration
	MarkerBytes    int64

	// CatchUp calls fn with every record after `after` up to and including
	// `to`, in order; a record is valid during the call only. It fails before
	// the first record when the log it reads is not at `to` what the server
	// says. Without it a base that is behind the log is refused.
	CatchUp func(ctx context.Context, after, to client.Point, fn func(*tlog.Record) error) error
	// Rebuild, if set, is used instead of CatchUp for an empty base: it writes
	// the disk as of `to`, which it checks in the same way, to t, which reads as
	// zeroes, each byte at most once. It reports the part done, 0…1.
	Rebuild func(ctx context.Context, to client.Point, t Target, progress func(float64)) error

	// Clock, if set, makes the disk one of a consistency group.
	Clock Clock
	// WatermarkInterval is how far at most the log of a disk that is not written
	// lags in what it proves behind the others of its group. 0: 10 s.
	WatermarkInterval time.Duration

	// Gather, if set, is called when an operation that is logged begins, and has
	// Accept called with all that the caller acknowledged before.
	Gather func()
	// Returned is needed for Accept only: it is told how many more of the
	// accepted writes, in their order, are not used any more, from one goroutine.
	Returned func(writes int)
	// Progress, if set, is told how far catching up is, often, from one goroutine.
	Progress func(Progress)
	Logger   *slog.Logger // nil: none
}

// Clock is the clock of a consistency group; a *group.Clock is one.
type Clock interface {
	client.Clock
	Last() uint64 // the last value that Next gave, to whomever
}

// Target takes a rebuilt disk.
type Target interface {
	io.WriterAt
	// Zero makes n bytes at off read as zeroes.
	Zero(off, n int64) error
}

// Progress tells how far a base is brought up to its log.
type Progress struct {
	Done float64       // 0…1
	To   tlog.Sequence // the head of the log
}

// Errors of Open and of a Disk; errors.Is finds them through any wrapping.
var (
	// ErrBase says that the base image cannot be used as it is: in use, not
	// ours, of another vdisk or size. Nothing was changed.
	ErrBase = errors.New("vdisk: base image refused")
	// ErrBehind says that the base lacks records of the log, and that no way
	// to read the log was given.
	ErrBehind = errors.New("vdisk: base is behind its log")
	// ErrDiverged says that the base and the log are not the same history.
	ErrDiverged = errors.New("vdisk: base and log differ")
	// ErrRange says that an extent is not within the disk.
	ErrRange = errors.New("vdisk: extent outside the disk")
	// ErrTimeout says that the log did not take, or keep, something in time.
	ErrTimeout = errors.New("vdisk: the log did not answer in time")
	// ErrClosed says that the Disk is closed, or being closed.
	ErrClosed = errors.New("vdisk: closed")

	errStopped = errors.New("vdisk: stopped")
)

const (
	// maxZero is the longest extent of one record that keeps the next aligned.
	maxZero = tlog.MaxZeroSize &^ 4095
	// recordCost is charged for a record besides its data.
	recordCost = 512
)

// complete returns c with its defaults, or what is wrong with it.
func (c Config) complete() (Config, error) {
	if err := c.Vdisk.Check(); err != nil {
		return c, err
	}
	switch {
	case c.Size <= 0 || c.Size%512 != 0:
		return c, fmt.Errorf("vdisk: size of %d bytes: must be a positive multiple of 512", c.Size)
	case c.Base == "":
		return c, errors.New("vdisk: no base image named")
	case len(c.Servers) == 0:
		return c, errors.New("vdisk: no server named")
	case c.WindowBytes != 0 && c.WindowBytes < 2*tlog.MaxRecordData:
		return c, fmt.Errorf("vdisk: window of %d bytes: must be at least %d", c.WindowBytes, 2*tlog.MaxRecordData)
	}
	for _, d := range []*time.Duration{&c.AttachDeadline, &c.FlushDeadline, &c.MarkerInterval, &c.WatermarkInterval} {
		if *d < 0 {
			return c, fmt.Errorf("vdisk: negative duration %v", *d)
		}
	}
	setDefault(&c.BlockSize, tlog.DefaultBlockSize)
	setDefault(&c.AttachDeadline, time.Minute)
	setDefault(&c.FlushDeadline, 30*time.Second)
	setDefault(&c.WindowBytes, 16<<20)
	setDefault(&c.MarkerInterval, 30*time.Second)
	setDefault(&c.MarkerBytes, 1<<30)
	setDefault(&c.WatermarkInterval, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
