package bookmark

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tlog"
	"tlog/client"
	"tlog/player"
)

// Shelf is a pool's bookmark log as one who writes reaches it.
type Shelf interface {
	// Attach takes the log over, from whoever has it, with an identity that no
	// other writer has, and goes on where it ends.
	Attach(ctx context.Context) (Session, error)
	// Open opens the same log for reading.
	Open(ctx context.Context) (*player.Log, error)
}

// Session is the part of a client.Client that is used.
type Session interface {
	Start() client.Point
	Append(ctx context.Context, op tlog.Operation, offset uint64, size uint32, data []byte) (tlog.Sequence, error)
	FlushTo(ctx context.Context, s tlog.Sequence) error
	Close(ctx context.Context) error
}

// Set makes a bookmark, in the place of one of that name if there is one.
func Set(ctx context.Context, s Shelf, b Bookmark) error {
	if err := b.check(); err != nil {
		return err
	}
	e := newEntry(&b, newID())
	return put(ctx, s, e, func(*Book) error { return nil })
}

// Delete deletes a bookmark. ErrUnknown: there is none of that name.
func Delete(ctx context.Context, s Shelf, vdisk tlog.VdiskID, id tlog.UUID, name string) error {
	e := &entry{Version: version, ID: newID(), Vdisk: vdisk, UUID: id, Name: name, Deleted: true}
	return put(ctx, s, e, func(b *Book) error {
		if _, ok := b.Find(id, name); !ok {
			return fmt.Errorf("vdisk %s: bookmark %s: %w", vdisk, name, ErrUnknown)
		}
		return nil
	})
}

// tries is how often a writer that is taken over from begins again. Each time
// somebody else got on.
const tries = 30

// put appends an entry, if the bookmarks before it allow it. A writer that is
// taken over from does not know what became of its entry, and begins again by
// reading the log.
func put(ctx context.Context, s Shelf, e *entry, allowed func(*Book) error) error {
	var err error
	for try := range tries {
		if err = tryPut(ctx, s, e, allowed); !errors.Is(err, client.ErrFenced) {
			return err
		}
		if err := pause(ctx, time.Duration(try+1)*20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("bookmark: %d others wrote at the same time: %w", tries, err)
}

func tryPut(ctx context.Context, s Shelf, e *entry, allowed func(*Book) error) error {
	c, err := s.Attach(ctx)
	if err != nil {
		return err
	}
	if err := appendEntry(ctx, s, c, e, allowed); err != nil {
		_ = c.Close(ctx) // whatever is not flushed, the error says why
		return err
	}
	return c.Close(ctx)
}

func appendEntry(ctx context.Context, s Shelf, c Session, e *entry, allowed func(*Book) error) error {
	book, err := readTo(ctx, s, c.Start())
	if err != nil {
		return err
	}
	if book.ids[e.ID] {
		return nil // an earlier try did it
	}
	if err := allowed(book); err != nil {
		return err
	}
	data, err := e.encode()
	if err != nil {
		return err
	}
	n, err := c.Append(ctx, tlog.OpWrite, book.end, uint32(len(data)), data)
	if err != nil {
		return err
	}
	return c.FlushTo(ctx, n)
}

// readTo reads the bookmarks up to where a session began.
func readTo(ctx context.Context, s Shelf, start client.Point) (*Book, error) {
	l, err := s.Open(ctx)
	if err != nil {
		return nil, err
	}
	i := l.Info()
	switch {
	case i.Last < start.Sequence, i.Last == start.Sequence && i.Chain != start.Chain:
		return nil, fmt.Errorf("bookmark: the storage has the log up to record %d, the server up to %d: name the storage of that server", i.Last, start.Sequence)
	case i.Last > start.Sequence:
		return nil, fmt.Errorf("bookmark: %w: records came behind %d", client.ErrFenced, start.Sequence)
	}
	return read(ctx, l, start.Sequence)
}

// pause waits for about d.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
