package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/bookmark"
	"tlog/client"
	"tlog/cmd/internal/attach"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

type bookmarking struct {
	*tool
	way    attach.Flags
	vdisk  tlog.VdiskID
	name   string
	at     string
	note   string
	list   bool
	delete bool
}

func (t *tool) bookmarkCommand() *cobra.Command {
	o := &bookmarking{tool: t}
	c := &cobra.Command{
		Use:   "bookmark VDISK NAME [--at WHEN] [--note TEXT] | VDISK NAME --delete | [VDISK] --list",
		Short: "name a moment of a vdisk, for --at bookmark:NAME",
		Long: "Gives a moment a name, which every command that takes WHEN knows as bookmark:NAME. A name\n" +
			"that is there already is given to the new moment. Bookmarks are kept in a log of their\n" +
			"own in the pool (" + string(bookmark.Vdisk) + "), the same for all hosts.\n" +
			"WHEN = latest | seq:N | RFC 3339 time with zone | -5m (before now) | bookmark:NAME.\n" +
			"Beside the storage, name a tlogserver with --server if one has it open (--data-dir).",
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.vdisk = tlog.VdiskID(args[0])
			}
			if len(args) > 1 {
				o.name = args[1]
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.way.Servers, "server", nil, "write through these tlogservers, HOST:PORT or unix:PATH, tried in order (empty: write to the storage, which no server has open then)")
	f.StringVar(&o.at, "at", "latest", "the moment")
	f.StringVar(&o.note, "note", "", "a text that is kept with it")
	f.BoolVar(&o.list, "list", false, "list the bookmarks of a vdisk, or of all")
	f.BoolVar(&o.delete, "delete", false, "delete the bookmark; the moment stays in the log")
	return c
}

func (o *bookmarking) run(ctx context.Context, out io.Writer) error {
	switch {
	case o.list && (o.name != "" || o.delete || o.note != ""):
		return storage.Usage(errors.New("bookmark: --list goes with a vdisk, or with nothing"))
	case o.list && o.vdisk == "":
		return o.show(ctx, out)
	case o.vdisk == "" || !o.list && o.name == "":
		return storage.Usage(errors.New("bookmark: want VDISK and NAME, or --list"))
	}
	if err := o.vdisk.Check(); err != nil {
		return storage.Usage(err)
	}
	if o.list {
		return o.show(ctx, out)
	}
	when, err := player.ParseWhen(o.at, time.Now())
	if err != nil {
		return storage.Usage(err)
	}
	return o.write(ctx, when, out)
}

// write makes or deletes a bookmark.
func (o *bookmarking) write(ctx context.Context, when player.When, out io.Writer) (err error) {
	a, err := o.way.Open(ctx, &o.storage, attach.Reads, o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	l, err := player.Open(ctx, a.Pool, a.Keys, o.vdisk, player.Config{})
	if err != nil {
		return err
	}
	if o.delete {
		return bookmark.Delete(ctx, shelf{a}, o.vdisk, l.Info().UUID, o.name)
	}
	b, err := o.mark(ctx, l, when)
	if err != nil {
		return err
	}
	if err := bookmark.Set(ctx, shelf{a}, b); err != nil {
		return err
	}
	return o.print(out, []bookmark.Bookmark{b})
}

// mark is the bookmark of a moment.
func (o *bookmarking) mark(ctx context.Context, l *player.Log, when player.When) (bookmark.Bookmark, error) {
	b := bookmark.Bookmark{Vdisk: o.vdisk, UUID: l.Info().UUID, Name: o.name, Note: o.note, Made: time.Now()}
	when, err := bookmark.Resolve(ctx, l, when)
	if err != nil {
		return b, err
	}
	p, err := l.ResolveSnap(ctx, when, player.SnapDefault)
	if err != nil {
		return b, err
	}
	if p.Sequence == 0 {
		return b, fmt.Errorf("bookmark: vdisk %s has no record yet", o.vdisk)
	}
	b.Sequence, b.Position, b.Time = p.Sequence, p.Position, p.Time
	b.Digest, err = l.DigestAt(ctx, p.Position)
	return b, err
}

func (o *bookmarking) show(ctx context.Context, out io.Writer) error {
	opened, err := o.storage.OpenReader(ctx, o.log, true)
	if err != nil {
		return err
	}
	book, err := bookmark.Read(ctx, opened.Pool, opened.Keys)
	var id tlog.UUID
	if o.vdisk != "" {
		id = o.vdisk.UUID(opened.Pool.Manifest().Pool, 0)
	}
	if err = errors.Join(err, opened.Close()); err != nil {
		return err
	}
	return o.print(out, book.List(id))
}

func (o *bookmarking) print(out io.Writer, list []bookmark.Bookmark) error {
	w := table(out)
	if !o.json {
		fmt.Fprintln(w, "VDISK\tBOOKMARK\tSEQUENCE\tTIME\tNOTE")
	}
	for _, b := range list {
		if o.json {
			if err := emit(out, bookmarkJSON(b)); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%s\tseq:%d\t%s\t%s\n", b.Vdisk, b.Name, b.Sequence, timeText(b.Time), printable(b.Note))
	}
	return w.Flush()
}

func bookmarkJSON(b bookmark.Bookmark) any {
	return struct {
		Vdisk    string    `json:"vdisk"`
		UUID     string    `json:"uuid"`
		Name     string    `json:"name"`
		Sequence uint64    `json:"sequence"`
		Position uint64    `json:"position"`
		Digest   string    `json:"digest"`
		Time     time.Time `json:"time"`
		Made     time.Time `json:"made"`
		Note     string    `json:"note,omitempty"`
	}{string(b.Vdisk), b.UUID.String(), b.Name, uint64(b.Sequence), uint64(b.Position), b.Digest.String(), b.Time.UTC(), b.Made.UTC(), b.Note}
}

// printable is a note on one line, without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// shelf is a pool's bookmark log, as package bookmark writes to it.
type shelf struct{ a *attach.Access }

// Attach takes the log over: it is nobody's for longer than an entry takes.
func (s shelf) Attach(ctx context.Context) (bookmark.Session, error) {
	c, err := s.a.Attach(ctx, client.Config{Vdisk: bookmark.Vdisk, Takeover: true})
	if err != nil {
		return nil, err
	}
	if err := s.a.Same(bookmark.Vdisk, c.Session()); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return c, nil
}

// Open opens the log for reading.
func (s shelf) Open(ctx context.Context) (*player.Log, error) {
	return player.Open(ctx, s.a.Pool, s.a.Keys, bookmark.Vdisk, player.Config{})
}
