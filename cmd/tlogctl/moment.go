package main

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/spf13/pflag"

	"tlog"
	"tlog/bookmark"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

// moment is what the command line says of a vdisk's moment.
type moment struct {
	vdisk tlog.VdiskID
	at    string
	snap  string
}

// register adds --at and --snap-to to fs.
func (m *moment) register(fs *pflag.FlagSet) {
	fs.StringVar(&m.at, "at", "latest", "the moment")
	m.registerSnap(fs)
}

func (m *moment) registerSnap(fs *pflag.FlagSet) {
	fs.StringVar(&m.snap, "snap-to", "", "flush: the last completed flush at or before the moment; any: the last record (empty: flush for a time, any for latest and seq:N)")
}

// parsed is a moment that makes sense, not yet looked up.
type parsed struct {
	when player.When
	snap player.Snap
}

func (m *moment) parse() (p parsed, err error) {
	if p.when, err = player.ParseWhen(m.at, time.Now()); err == nil {
		p.snap, err = player.ParseSnap(m.snap)
	}
	if err != nil {
		return p, storage.Usage(err)
	}
	return p, nil
}

// source is a moment that was found.
type source struct {
	log   *player.Log
	point player.Point
	past  *player.Past // nil: without an index
}

func (s *source) close() {
	if s.past != nil {
		_ = s.past.Close() // it only reads
	}
}

// restore writes the disk to a target.
func (s *source) restore(ctx context.Context, t player.Target, o player.RestoreOptions) (*player.Report, error) {
	if s.past != nil {
		return s.past.Restore(ctx, t, o)
	}
	return s.log.Restore(ctx, s.point, t, o)
}

// size is that of the disk in bytes; 0: only the whole log tells.
func (s *source) size() int64 {
	if s.past != nil {
		return s.past.Size()
	}
	return int64(s.log.Info().DiskSize)
}

// source finds a moment: by an index if there is one that has at least half of
// the log, or if it is needed.
func (t *tool) source(ctx context.Context, l *player.Log, p parsed, needed bool) (*source, error) {
	use, err := t.worthIndexing(ctx, l)
	if err != nil {
		return nil, err
	}
	if p.when, err = bookmark.Resolve(ctx, l, p.when); err != nil {
		return nil, err
	}
	if use || needed {
		s, err := t.byIndex(ctx, l, p)
		class := tlog.ClassOf(err)
		if err == nil || needed || ctx.Err() != nil || class != tlog.Corrupt && class != tlog.Unavailable {
			return s, err
		}
		t.log.Warn("the log is read without its index, which lacks a position that cannot be read", "err", err)
	}
	point, err := l.ResolveSnap(ctx, p.when, p.snap)
	return &source{log: l, point: point}, err
}

func (t *tool) worthIndexing(ctx context.Context, l *player.Log) (bool, error) {
	if t.indexes.Dir == "" {
		return false, nil
	}
	st, err := l.IndexState(ctx, t.indexes.Dir)
	var unusable *fs.PathError
	if errors.As(err, &unusable) {
		t.log.Warn("the log is read without its index", "err", err)
		return false, nil
	}
	return st.Positions >= (l.Info().Positions+1)/2, err
}

// byIndex brings the index up to date and finds the moment by it.
func (t *tool) byIndex(ctx context.Context, l *player.Log, p parsed) (*source, error) {
	ix, err := t.openIndex(ctx, l)
	if err != nil {
		return nil, err
	}
	// Others wait for the index: what is mapped needs it no more.
	defer t.closeIndex(ix)
	point, err := ix.Resolve(ctx, p.when, p.snap)
	if err != nil {
		return nil, err
	}
	past, err := ix.Past(point)
	if err != nil {
		return nil, err
	}
	return &source{log: l, point: point, past: past}, nil
}
