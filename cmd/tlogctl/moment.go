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
	index *player.Index // that is in use; nil: none
	past  *player.Past  // nil: it is not mapped
	done  func()        // with the index
}

func (s *source) close() {
	if s.past != nil {
		_ = s.past.Close() // it only reads
	}
	if s.index != nil {
		s.done()
	}
}

// indexed reports whether the moment is read by an index.
func (s *source) indexed() bool { return s.past != nil || s.index != nil }

// restore writes the disk to a target.
func (s *source) restore(ctx context.Context, t player.Target, o player.RestoreOptions) (*player.Report, error) {
	switch {
	case s.past != nil:
		return s.past.Restore(ctx, t, o)
	case s.index != nil:
		return s.index.Restore(ctx, s.point, t, o)
	}
	return s.log.Restore(ctx, s.point, t, o)
}

// live is how many bytes of data a restore writes, which without an index
// nobody knows.
func (s *source) live() (int64, error) {
	if s.past != nil {
		live, _, _ := s.past.Need()
		return live, nil
	}
	live, _, _, err := s.index.Need(s.point)
	return live, err
}

// size is that of the disk in bytes; 0: only the whole log tells.
func (s *source) size() int64 {
	if s.past != nil {
		return s.past.Size()
	}
	return int64(s.log.Info().DiskSize)
}

// wants is what a command does with a moment.
type wants struct {
	index  bool // it needs one
	mapped bool // it reads the disk in another order than newest first
}

// source finds a moment: by an index if there is one that has at least half of
// the log, or if it is needed.
func (t *tool) source(ctx context.Context, l *player.Log, p parsed, w wants) (*source, error) {
	use, err := t.worthIndexing(ctx, l)
	if err != nil {
		return nil, err
	}
	if p.when, err = bookmark.Resolve(ctx, l, p.when); err != nil {
		return nil, err
	}
	if use || w.index {
		s, err := t.byIndex(ctx, l, p, w.mapped)
		class := tlog.ClassOf(err)
		if err == nil || w.index || ctx.Err() != nil || class != tlog.Corrupt && class != tlog.Unavailable {
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
func (t *tool) byIndex(ctx context.Context, l *player.Log, p parsed, mapped bool) (*source, error) {
	ix, err := t.openIndex(ctx, l)
	if err != nil {
		return nil, err
	}
	s := &source{log: l, index: ix, done: func() { t.closeIndex(ix) }}
	s.point, err = ix.Resolve(ctx, p.when, p.snap)
	if err == nil && mapped {
		s.past, err = ix.Past(s.point)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	if mapped { // others wait for the index, which is needed no more
		s.done()
		s.index = nil
	}
	return s, nil
}
