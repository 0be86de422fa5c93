package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/bookmark"
	"tlog/client"
	"tlog/cmd/internal/attach"
	"tlog/cmd/internal/image"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

// importers is the space of the UUIDs that imports have as clients: one for each
// name of a vdisk. So an import may go on, from any host, until another client
// has the vdisk.
var importers = tlog.UUID{0x5b, 0x0d, 0x6e, 0x7e, 0x0a, 0x53, 0x4c, 0x5b, 0x9e, 0x3f, 0x5d, 0x1a, 0x6c, 0x02, 0x77, 0x10}

// sectorSize is what the size of a disk is a multiple of, in bytes.
const sectorSize = 512

type importing struct {
	*tool
	way    attach.Flags
	from   string
	vdisk  tlog.VdiskID
	size   storage.Size
	resume bool
}

func (t *tool) importCommand() *cobra.Command {
	o := &importing{tool: t}
	c := &cobra.Command{
		Use:   "import FILE|nbd://… VDISK [--size SIZE] [--resume]",
		Short: "log an existing image as the beginning of a log",
		Long: "Logs a raw image, a block device or what an NBD server serves (nbd://…, nbd+unix://…) as\n" +
			"the first records of a vdisk's log. Holes and blocks of zeroes are not logged. A flush mark\n" +
			"at the end says that it is whole; an import that was interrupted goes on with --resume,\n" +
			"after comparing what is logged with the image. Nobody may write to the image meanwhile.\n" +
			"Without --server the storage must not be open in a tlogserver (--data-dir).",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.from, o.vdisk = args[0], tlog.VdiskID(args[1])
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.way.Register(c.Flags())
	c.Flags().Var(&o.size, "size", "size of the disk, if it is to be larger than the image")
	c.Flags().BoolVar(&o.resume, "resume", false, "go on with an import that was interrupted")
	return c
}

func (o *importing) run(ctx context.Context, out io.Writer) (err error) {
	if err := newName(o.vdisk); err != nil {
		return err
	}
	img, err := image.Open(ctx, o.from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	if err := o.checkSize(img); err != nil {
		return storage.Usage(err)
	}
	need := attach.Makes
	if o.resume {
		need = attach.Reads
	}
	a, err := o.way.Open(ctx, &o.storage, need, o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	done, err := o.through(ctx, a, img)
	if err != nil {
		return err
	}
	return o.report(out, img, done)
}

// newName refuses names that no new disk may have.
func newName(vdisk tlog.VdiskID) error {
	err := vdisk.Check()
	if err == nil && vdisk == bookmark.Vdisk {
		err = fmt.Errorf("%s holds the pool's bookmarks: name another vdisk", vdisk)
	}
	if err != nil {
		err = storage.Usage(err)
	}
	return err
}

// checkSize makes the disk as large as the image, or larger.
func (o *importing) checkSize(img *image.Image) error {
	least := (img.Size + sectorSize - 1) / sectorSize * sectorSize
	if o.size == 0 {
		o.size = storage.Size(least)
	}
	switch {
	case img.Size == 0:
		return fmt.Errorf("import: %s is empty", img.Name)
	case int64(o.size) < least:
		return fmt.Errorf("import: --size %d: the image has %d bytes", o.size, img.Size)
	case o.size%sectorSize != 0:
		return fmt.Errorf("import: --size %d: a disk has a multiple of %d bytes", o.size, sectorSize)
	}
	return nil
}

// imported is what an import came to.
type imported struct {
	last    client.Point
	session client.Session
	bytes   int64 // of data, logged by this run
	before  tlog.Sequence
}

// through logs the image.
func (o *importing) through(ctx context.Context, a *attach.Access, img *image.Image) (*imported, error) {
	if err := o.look(ctx, a); err != nil {
		return nil, err
	}
	c, err := a.Attach(ctx, client.Config{Vdisk: o.vdisk, DiskSize: uint64(o.size), ID: importers.NameUUID(string(o.vdisk))})
	if err != nil {
		return nil, err
	}
	done := &imported{session: c.Session(), before: c.Start().Sequence}
	failed := o.fill(ctx, a, c, img, done)
	err = a.Detach(ctx, c)
	done.last = c.Flushed()
	if failed != nil && done.last.Sequence > done.before {
		failed = fmt.Errorf("%w; vdisk %s is not whole: %d records of it are logged, go on with: tlogctl import --resume", failed, o.vdisk, done.last.Sequence)
	}
	if err = errors.Join(failed, err); err != nil {
		return nil, err
	}
	return done, o.prove(ctx, a, done)
}

// look refuses a vdisk that has records before anything is written.
func (o *importing) look(ctx context.Context, a *attach.Access) error {
	if a.Pool == nil || o.resume {
		return nil
	}
	l, err := player.Open(ctx, a.Pool, a.Keys, o.vdisk, player.Config{})
	if errors.Is(err, player.ErrNoVdisk) {
		return nil
	}
	if err != nil {
		return err
	}
	return o.fresh(l.Info().Last)
}

// fresh refuses a log that has records.
func (o *importing) fresh(last tlog.Sequence) error {
	if last == 0 {
		return nil
	}
	return fmt.Errorf("import: vdisk %s has %d records already, and an import begins a log: name a new vdisk, or say --resume if they are of an import of this image that was interrupted", o.vdisk, last)
}

// fill appends what the log does not have, and the mark that says that this is all.
func (o *importing) fill(ctx context.Context, a *attach.Access, c *client.Client, img *image.Image, done *imported) error {
	next, stop := iter.Pull2(img.Pieces(ctx))
	defer stop()
	if done.before > 0 {
		if err := o.skip(ctx, a, c, next); err != nil {
			return err
		}
	}
	bar := newProgress("import", os.Stderr)
	bar.bytesDone = true
	defer bar.end()
	for {
		p, err, ok := next()
		if err != nil {
			return err
		}
		if !ok {
			return c.Flush(ctx)
		}
		if _, err := c.Append(ctx, tlog.OpWrite, uint64(p.Off), uint32(len(p.Data)), p.Data); err != nil {
			return err
		}
		done.bytes += int64(len(p.Data))
		bar.step(player.Progress{Done: p.Off + int64(len(p.Data)), Total: img.Size, Bytes: done.bytes})
	}
}

// skip compares the log with the beginning of the image, piece by piece.
func (o *importing) skip(ctx context.Context, a *attach.Access, c *client.Client, next func() (image.Piece, error, bool)) error {
	start := c.Start()
	if !o.resume {
		return o.fresh(start.Sequence)
	}
	if err := a.Same(o.vdisk, c.Session()); err != nil {
		return err
	}
	l, err := player.Open(ctx, a.Pool, a.Keys, o.vdisk, player.Config{})
	if err != nil {
		return err
	}
	if i := l.Info(); i.Last != start.Sequence || i.Chain != start.Chain {
		return fmt.Errorf("import: vdisk %s: the storage has its log up to record %d, the server up to %d: name the storage of that server", o.vdisk, i.Last, start.Sequence)
	}
	return l.Replay(ctx, 0, tlog.Hash{}, start.Sequence, func(r *tlog.Record) error {
		p, err, ok := next()
		switch {
		case err != nil:
			return err
		case r.Operation == tlog.OpFlush && !ok:
			return fmt.Errorf("import: vdisk %s holds the whole image: %d records; there is nothing to go on with", o.vdisk, start.Sequence)
		case !ok || r.Operation != tlog.OpWrite || r.Offset != uint64(p.Off) || !bytes.Equal(r.Data, p.Data):
			return tlog.Corruptf("import: vdisk %s: record %d (%v of %d bytes at %d) is not what the image has there: it is another image, or it was changed; import it as a new vdisk", o.vdisk, r.Sequence, r.Operation, r.Size, r.Offset)
		}
		return nil
	})
}

// prove reads where the stored log ends, if the storage is at hand: that is the
// history which the client holds.
func (o *importing) prove(ctx context.Context, a *attach.Access, done *imported) error {
	if a.Pool == nil {
		return nil
	}
	l, err := player.Open(ctx, a.Pool, a.Keys, o.vdisk, player.Config{})
	if err != nil {
		return err
	}
	if i := l.Info(); i.Last != done.last.Sequence || i.Chain != done.last.Chain {
		return tlog.Corruptf("import: vdisk %s: the log ends at record %d with chain value %v, and %d with %v was acknowledged", o.vdisk, i.Last, i.Chain, done.last.Sequence, done.last.Chain)
	}
	return nil
}

func (o *importing) report(out io.Writer, img *image.Image, done *imported) error {
	if o.json {
		return emit(out, struct {
			Vdisk    string `json:"vdisk"`
			UUID     string `json:"uuid"`
			From     string `json:"from"`
			DiskSize int64  `json:"disk_size_bytes"`
			Last     uint64 `json:"last_sequence"`
			Logged   int64  `json:"logged_bytes"`
			Chain    string `json:"chain"`
		}{string(o.vdisk), done.session.VdiskUUID.String(), img.Name, int64(o.size), uint64(done.last.Sequence), done.bytes, done.last.Chain.String()})
	}
	_, err := fmt.Fprintf(out, "imported %s as vdisk %s: disk of %s, %s of data logged, seq:1 to seq:%d; serve it with: tlognbd serve %s --size %d --takeover\n",
		img.Name, o.vdisk, bytesText(uint64(o.size)), bytesText(uint64(done.bytes)), done.last.Sequence, o.vdisk, o.size)
	return err
}
