package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/cmd/internal/attach"
	"tlog/cmd/internal/image"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

// sectorSize is what the size of a disk is a multiple of, in bytes.
const sectorSize = 512

type importing struct {
	newLog
	from string
	size storage.Size
}

func (t *tool) importCommand() *cobra.Command {
	o := &importing{newLog: newLog{tool: t, verb: "import"}}
	c := &cobra.Command{
		Use:   "import FILE|nbd://… VDISK [--size SIZE] [--resume]",
		Short: "log an existing image as the beginning of a log",
		Long: "Logs a raw image, a block device or what an NBD server serves (nbd://…, nbd+unix://…) as\n" +
			"the first records of a vdisk's log. Holes and blocks of zeroes are not logged. A flush mark\n" +
			"at the end says that it is whole; an import that was interrupted goes on with --resume,\n" +
			"after comparing what is logged with the image. Nobody may write to the image meanwhile.\n" +
			"Images of other formats are imported through an NBD server that more than one client may\n" +
			"connect to, as qemu-nbd --persistent --read-only -f qcow2 --socket SOCKET IMAGE.\n" +
			"Without --server the storage must not be open in a tlogserver (--data-dir).",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.from, o.vdisk = args[0], tlog.VdiskID(args[1])
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.register(c.Flags())
	c.Flags().Var(&o.size, "size", "size of the disk, if it is to be larger than the image")
	return c
}

func (o *importing) run(ctx context.Context, out io.Writer) (err error) {
	if err := o.check(); err != nil {
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
	if err := o.begin(ctx, a, uint64(o.size)); err != nil {
		return err
	}
	failed := o.fill(ctx, img)
	if err := o.end(ctx, failed, fmt.Sprintf("tlogctl import %s %s --size %d --resume", img.Name, o.vdisk, o.size)); err != nil {
		return err
	}
	return o.report(out, img)
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

// fill logs what of the image is not zero.
func (o *importing) fill(ctx context.Context, img *image.Image) error {
	bar := newProgress("import", os.Stderr)
	bar.bytesDone = true
	defer bar.end()
	for p, err := range img.Pieces(ctx) {
		if err == nil {
			err = o.write(ctx, p.Off, p.Data)
		}
		if err != nil {
			return err
		}
		bar.step(player.Progress{Done: p.Off + int64(len(p.Data)), Total: img.Size, Bytes: o.written})
	}
	return nil
}

func (o *importing) report(out io.Writer, img *image.Image) error {
	last := o.client.Flushed()
	if o.json {
		return emit(out, struct {
			Vdisk    string `json:"vdisk"`
			UUID     string `json:"uuid"`
			From     string `json:"from"`
			DiskSize int64  `json:"disk_size_bytes"`
			Last     uint64 `json:"last_sequence"`
			Logged   int64  `json:"logged_bytes"`
			Chain    string `json:"chain"`
		}{string(o.vdisk), o.client.Session().VdiskUUID.String(), img.Name, int64(o.size), uint64(last.Sequence), o.written, last.Chain.String()})
	}
	_, err := fmt.Fprintf(out, "imported %s as vdisk %s: disk of %s, %s of data logged, seq:1 to seq:%d; serve it with: tlognbd serve %s --size %d --takeover\n",
		img.Name, o.vdisk, bytesText(uint64(o.size)), bytesText(uint64(o.written)), last.Sequence, o.vdisk, o.size)
	return err
}
