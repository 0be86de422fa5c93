// Package bookmark keeps names for moments of a pool's vdisks.
//
// They are records of a log of their own, the vdisk ".bookmarks" of the pool:
// durable, encrypted, chained, repaired and verified like any other, and the
// same on every host. A bookmark is made, replaced or deleted by appending an
// entry; what an entry looks like is in docs/format.md.
//
// These invariants hold:
//
//  1. When Set or Delete returns nil its entry is durable, and it was decided
//     with every entry before it in sight: of two at the same time each is there.
//  2. A bookmark means the history it was made on. Resolve refuses one whose
//     position now has another digest, or is gone.
//
// The functions are safe for concurrent use, from any number of processes.
package bookmark

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/player"
	"tlog/stor"
)

// Vdisk is the name of the log that holds a pool's bookmarks.
const Vdisk tlog.VdiskID = ".bookmarks"

// ErrUnknown says that a vdisk has no bookmark of that name.
var ErrUnknown = errors.New("no such bookmark")

// Limits of what its users give a bookmark, in bytes.
const (
	maxName = 128
	maxNote = 4096
)

// Bookmark is a name for a moment of a vdisk.
type Bookmark struct {
	Vdisk    tlog.VdiskID
	UUID     tlog.UUID // of the vdisk: a new one under an old name has no bookmarks
	Name     string    // 1 to 128 of [A-Za-z0-9._-]
	Sequence tlog.Sequence
	Position tlog.Position // that held the sequence
	Digest   tlog.Hash     // its chain digest
	Time     time.Time     // of the record
	Made     time.Time     // by the clock of the one who made it
	Note     string        // at most 4096 bytes of UTF-8
}

func (b *Bookmark) check() error {
	if len(b.Name) > maxName || tlog.VdiskID(b.Name).Check() != nil {
		return fmt.Errorf("bookmark %q: a name has 1 to %d of [A-Za-z0-9._-]", b.Name, maxName)
	}
	switch {
	case len(b.Note) > maxNote:
		return fmt.Errorf("bookmark %s: a note of %d bytes; at most %d are kept", b.Name, len(b.Note), maxNote)
	case b.UUID.IsZero() || b.Sequence == 0 || b.Position == 0:
		return fmt.Errorf("bookmark %s: of no moment", b.Name)
	}
	return nil
}

// key is what a bookmark is replaced by.
type key struct {
	vdisk tlog.UUID
	name  string
}

// Book is a pool's bookmarks as they were when it was read.
type Book struct {
	marks map[key]Bookmark
	end   uint64 // of the log's last extent
	ids   map[string]bool
}

// Find finds a bookmark of a vdisk.
func (b *Book) Find(vdisk tlog.UUID, name string) (Bookmark, bool) {
	m, ok := b.marks[key{vdisk, name}]
	return m, ok
}

// List lists the bookmarks of a vdisk in order of their moments; the zero UUID
// is every vdisk.
func (b *Book) List(vdisk tlog.UUID) []Bookmark {
	var list []Bookmark
	for k, m := range b.marks {
		if vdisk.IsZero() || k.vdisk == vdisk {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Bookmark) int {
		return cmp.Or(cmp.Compare(a.Vdisk, b.Vdisk), cmp.Compare(a.Sequence, b.Sequence), strings.Compare(a.Name, b.Name), strings.Compare(a.UUID.String(), b.UUID.String()))
	})
	return list
}

// Read reads a pool's bookmarks. A pool whose bookmark log was not begun has none.
func Read(ctx context.Context, pool *stor.Pool, keys *crypto.Keyring) (*Book, error) {
	l, err := player.Open(ctx, pool, keys, Vdisk, player.Config{})
	return readAll(ctx, l, err)
}

// Beside reads the bookmarks of the pool that l is of.
func Beside(ctx context.Context, l *player.Log) (*Book, error) {
	marks, err := l.Sibling(ctx, Vdisk)
	return readAll(ctx, marks, err)
}

func readAll(ctx context.Context, l *player.Log, err error) (*Book, error) {
	if errors.Is(err, player.ErrNoVdisk) {
		return newBook(), nil
	}
	if err != nil {
		return nil, err
	}
	return read(ctx, l, l.Info().Last)
}

func newBook() *Book { return &Book{marks: map[key]Bookmark{}, ids: map[string]bool{}} }

// read reads the entries up to a sequence.
func read(ctx context.Context, l *player.Log, to tlog.Sequence) (*Book, error) {
	b := newBook()
	err := l.Replay(ctx, 0, tlog.Hash{}, to, func(r *tlog.Record) error {
		b.end = max(b.end, r.End())
		if r.Operation != tlog.OpWrite {
			return nil
		}
		e, err := decode(r.Data)
		if err != nil {
			return fmt.Errorf("bookmark: record %d of vdisk %s: %w", r.Sequence, Vdisk, err)
		}
		b.apply(e)
		return nil
	})
	return b, err
}

func (b *Book) apply(e *entry) {
	b.ids[e.ID] = true
	k := key{e.UUID, e.Name}
	if e.Deleted {
		delete(b.marks, k)
		return
	}
	b.marks[k] = e.bookmark()
}

// Resolve makes of a When that names a bookmark of l the sequence it stands
// for, after checking that l still has that history; any other When is returned
// as it is. ErrUnknown: there is no such bookmark.
func Resolve(ctx context.Context, l *player.Log, w player.When) (player.When, error) {
	name := w.Bookmark()
	if name == "" {
		return w, nil
	}
	book, err := Beside(ctx, l)
	if err != nil {
		return w, err
	}
	m, ok := book.Find(l.Info().UUID, name)
	if !ok {
		return w, fmt.Errorf("vdisk %s: bookmark %s: %w; see tlogctl bookmark %s --list", l.Info().Vdisk, name, ErrUnknown, l.Info().Vdisk)
	}
	if err := m.holds(ctx, l); err != nil {
		return w, err
	}
	return player.AtSequence(m.Sequence), nil
}

// holds reports, as an error, that l has not the history which m was made on.
func (b *Bookmark) holds(ctx context.Context, l *player.Log) error {
	i := l.Info()
	if b.Position > i.Positions || b.Sequence > i.Last {
		return tlog.Corruptf("vdisk %s: bookmark %s: it was made on position %d with record %d, and the log ends at %d with %d: the log was rolled back", i.Vdisk, b.Name, b.Position, b.Sequence, i.Positions, i.Last)
	}
	digest, err := l.DigestAt(ctx, b.Position)
	if err != nil {
		return err
	}
	if digest != b.Digest {
		return tlog.Corruptf("vdisk %s: bookmark %s: position %d has chain digest %v, and it was made on %v: this is another history", i.Vdisk, b.Name, b.Position, digest, b.Digest)
	}
	return nil
}
