package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/spf13/pflag"

	"tlog"
	"tlog/bookmark"
	"tlog/client"
	"tlog/cmd/internal/attach"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

// newLog is a vdisk whose log is being begun: with the content of an image, or
// of another vdisk. Its records are writes, each byte once, in an order that
// what is logged alone decides; a flush mark behind them says that they are all.
// So one that was interrupted goes on: what is there is compared, not written.
type newLog struct {
	*tool
	verb   string
	way    attach.Flags
	vdisk  tlog.VdiskID
	resume bool
	origin tlog.Origin // what it is begun with; zero: no moment of a vdisk

	access  *attach.Access
	client  *client.Client
	before  tlog.Sequence // records that were there
	same    tlog.Sequence // of them were compared
	there   func() (*tlog.Record, error, bool)
	leave   func() // ends there; nil: nothing to compare
	written int64  // bytes of data that were appended
}

// beginners is the space of the UUIDs that those who begin logs have as clients,
// one for each verb and name. So it may go on from any host, until another
// client has the vdisk.
var beginners = tlog.UUID{0x5b, 0x0d, 0x6e, 0x7e, 0x0a, 0x53, 0x4c, 0x5b, 0x9e, 0x3f, 0x5d, 0x1a, 0x6c, 0x02, 0x77, 0x10}

func (n *newLog) id() tlog.UUID { return beginners.NameUUID(n.verb + "/" + string(n.vdisk)) }

func (n *newLog) register(f *pflag.FlagSet) {
	n.way.Register(f)
	f.BoolVar(&n.resume, "resume", false, "go on with one that was interrupted")
}

// check refuses names that no new disk may have.
func (n *newLog) check() error {
	err := n.vdisk.Check()
	if err == nil && n.vdisk == bookmark.Vdisk {
		err = fmt.Errorf("%s: %s holds the pool's bookmarks: name another vdisk", n.verb, n.vdisk)
	}
	if err != nil {
		err = storage.Usage(err)
	}
	return err
}

// begin attaches to the vdisk, whose disk has size bytes (0: unknown). A vdisk
// that has records is refused, if possible before anything is written.
func (n *newLog) begin(ctx context.Context, a *attach.Access, size uint64) error {
	n.access = a
	if err := n.look(ctx); err != nil {
		return err
	}
	var err error
	if n.client, err = a.Attach(ctx, client.Config{Vdisk: n.vdisk, DiskSize: size, Origin: n.origin, ID: n.id()}); err != nil {
		return err
	}
	n.before = n.client.Start().Sequence
	if n.before > 0 {
		err = n.compare(ctx)
	} else if !n.origin.IsZero() {
		err = n.noted(ctx)
	}
	if err != nil {
		err = errors.Join(err, a.Detach(ctx, n.client))
	}
	return err
}

// noted looks whether the genesis names the origin: an older server knows of none.
func (n *newLog) noted(ctx context.Context) error {
	l, err := n.open(ctx)
	if err == nil && l.Info().Origin != n.origin {
		err = fmt.Errorf("%s: the server made vdisk %s without noting its origin: update the server, and name another vdisk", n.verb, n.vdisk)
	}
	return err
}

func (n *newLog) look(ctx context.Context) error {
	if n.access.Pool == nil || n.resume {
		return nil
	}
	l, err := n.open(ctx)
	if errors.Is(err, player.ErrNoVdisk) {
		return nil
	}
	if err != nil {
		return err
	}
	return n.fresh(l.Info().Last)
}

func (n *newLog) open(ctx context.Context) (*player.Log, error) {
	return player.Open(ctx, n.access.Pool, n.access.Keys, n.vdisk, player.Config{})
}

// fresh refuses a log that has records.
func (n *newLog) fresh(last tlog.Sequence) error {
	if last == 0 {
		return nil
	}
	return fmt.Errorf("%s: vdisk %s has %d records already, and this begins a log: name a new vdisk, or say --resume if they are of the same %s, interrupted", n.verb, n.vdisk, last, n.verb)
}

// compare begins to read what is there.
func (n *newLog) compare(ctx context.Context) error {
	start := n.client.Start()
	if !n.resume {
		return n.fresh(start.Sequence)
	}
	if err := n.access.Same(n.vdisk, n.client.Session()); err != nil {
		return err
	}
	l, err := n.open(ctx)
	if err != nil {
		return err
	}
	if err := n.agree(l, start); err != nil {
		return err
	}
	n.there, n.leave = iter.Pull2(func(yield func(*tlog.Record, error) bool) {
		stopped := errors.New("enough")
		err := l.Replay(ctx, 0, tlog.Hash{}, start.Sequence, func(r *tlog.Record) error {
			if !yield(r, nil) {
				return stopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(nil, err)
		}
	})
	return nil
}

// agree reports, as an error, that the stored log does not end where the client is.
func (n *newLog) agree(l *player.Log, p client.Point) error {
	if i := l.Info(); i.Last != p.Sequence || i.Chain != p.Chain {
		return tlog.Corruptf("%s: vdisk %s: the storage has its log up to record %d with chain value %v, the server up to %d with %v: name the storage of that server", n.verb, n.vdisk, i.Last, i.Chain, p.Sequence, p.Chain)
	}
	return nil
}

// write logs a piece of the disk, unless it is there.
func (n *newLog) write(ctx context.Context, off int64, data []byte) error {
	if n.same == n.before {
		_, err := n.client.Append(ctx, tlog.OpWrite, uint64(off), uint32(len(data)), data)
		n.written += int64(len(data))
		return err
	}
	r, err, ok := n.there()
	switch {
	case err != nil:
		return err
	case !ok:
		return tlog.Corruptf("%s: vdisk %s ends before record %d", n.verb, n.vdisk, n.before)
	case r.Operation != tlog.OpWrite || r.Offset != uint64(off) || !bytes.Equal(r.Data, data):
		return n.differs(r)
	}
	n.same++
	return nil
}

func (n *newLog) differs(r *tlog.Record) error {
	return tlog.Corruptf("%s: vdisk %s: record %d (%v of %d bytes at %d) is not what comes there: it was begun with something else, or that was changed; name a new vdisk", n.verb, n.vdisk, r.Sequence, r.Operation, r.Size, r.Offset)
}

// whole marks the end; what was there must have been used up.
func (n *newLog) whole(ctx context.Context) error {
	if n.same == n.before {
		return n.client.Flush(ctx)
	}
	r, err, ok := n.there()
	switch {
	case err != nil:
		return err
	case ok && r.Operation == tlog.OpFlush && r.Sequence == n.before:
		return fmt.Errorf("%s: vdisk %s is whole already: %d records; there is nothing to go on with", n.verb, n.vdisk, n.before)
	case ok:
		return n.differs(r)
	}
	return tlog.Corruptf("%s: vdisk %s ends before record %d", n.verb, n.vdisk, n.before)
}

// end marks the end unless failed is an error, detaches, and looks what is
// stored. again is the command line that goes on.
func (n *newLog) end(ctx context.Context, failed error, again string) error {
	if failed == nil {
		failed = n.whole(ctx)
	}
	if n.leave != nil {
		n.leave()
	}
	err := n.access.Detach(ctx, n.client)
	last := n.client.Flushed()
	if failed != nil && last.Sequence > n.before {
		failed = fmt.Errorf("%w; vdisk %s is not whole: %d records of it are logged, go on with: %s", failed, n.vdisk, last.Sequence, again)
	}
	if err = errors.Join(failed, err); err != nil || n.access.Pool == nil {
		return err
	}
	l, err := n.open(ctx)
	if err != nil {
		return err
	}
	return n.agree(l, last)
}
