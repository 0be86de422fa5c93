//go:build nbdkit

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"

	"tlog"
	"tlog/bookmark"
	"tlog/cmd/internal/storage"
	"tlog/past"
	"tlog/player"
	"tlog/player/index"
)

// moment is what nbdkit's command line says of a disk of the past.
type moment struct {
	when    string // WHEN; "": a live disk is served
	snap    string
	overlay string
	cache   string
	hydrate bool
	indexes storage.Index
	tempDir string
}

// set takes one key=value, and says whether it is one of a moment.
func (m *moment) set(key, value string) (ours bool, err error) {
	text := map[string]*string{"past": &m.when, "snap-to": &m.snap, "cow": &m.overlay, "cache": &m.cache, "index": &m.indexes.Dir, "temp-dir": &m.tempDir}
	if to := text[key]; to != nil {
		*to = value
		return true, nil
	}
	if key == "hydrate" {
		m.hydrate, err = strconv.ParseBool(value)
		return true, err
	}
	return false, nil
}

// shown is a moment that is served, and what it is read from.
type shown struct {
	*past.Disk
	storage *storage.Opened
	content *player.Past
}

// show opens a moment of the vdisk's log. The log goes on meanwhile.
func (p *parameters) show(ctx context.Context, log *slog.Logger) (*shown, error) {
	when, err := player.ParseWhen(p.moment.when, time.Now())
	if err != nil {
		return nil, storage.Usage(err)
	}
	snap, err := player.ParseSnap(p.moment.snap)
	if err != nil {
		return nil, storage.Usage(err)
	}
	s := &shown{}
	if s.storage, err = p.storage.OpenReader(ctx, log, true); err != nil {
		return nil, err
	}
	found, err := s.find(ctx, p, log, when, snap)
	if err == nil {
		hydrated := lines{out: os.Stderr, what: found.String() + ": hydrated", began: time.Now()}
		s.Disk, err = past.Open(past.Config{
			Moment: found, Source: s.content, Overlay: p.moment.overlay,
			Hydrate: p.moment.hydrate, Cache: p.moment.cache, TempDir: p.moment.tempDir,
			Progress: func(p past.Progress) {
				hydrated.tell(float64(p.Done)/float64(max(p.Total, 1)), " of "+humanize.IBytes(uint64(p.Total)))
			},
			Logger: log,
		})
	}
	if err != nil {
		return nil, errors.Join(err, s.closeLog())
	}
	return s, nil
}

// find brings the index up to date and finds the moment in it.
func (s *shown) find(ctx context.Context, p *parameters, log *slog.Logger, when player.When, snap player.Snap) (past.Moment, error) {
	l, err := player.Open(ctx, s.storage.Pool, s.storage.Keys, p.disk.Vdisk, player.Config{})
	if err != nil {
		return past.Moment{}, err
	}
	if when, err = bookmark.Resolve(ctx, l, when); err != nil {
		return past.Moment{}, err
	}
	now := time.Now()
	indexed := lines{out: os.Stderr, what: fmt.Sprintf("vdisk %s: index brought up to date", p.disk.Vdisk), began: now, told: now}
	ix, err := p.moment.indexes.Open(ctx, l, log, func(p player.Progress) {
		if p.Done < p.Total || indexed.told != now { // of a short one nothing is said
			indexed.tell(float64(p.Done)/float64(p.Total), "")
		}
	})
	if err != nil {
		return past.Moment{}, err
	}
	found, err := s.locate(ctx, l, ix, when, snap)
	// It is locked: the next one to mount must not wait for the end of this one.
	return found, errors.Join(err, ix.Close())
}

func (s *shown) locate(ctx context.Context, l *player.Log, ix *player.Index, when player.When, snap player.Snap) (past.Moment, error) {
	point, err := ix.Resolve(ctx, when, snap)
	if err != nil {
		return past.Moment{}, err
	}
	if s.content, err = ix.Past(point); err != nil {
		return past.Moment{}, err
	}
	info := l.Info()
	digest := info.Digest // of a log without records
	err = ix.Down(point.Sequence, func(_ tlog.Sequence, _ *index.Record, at *index.Position) bool {
		digest = at.Digest
		return false
	})
	return past.Moment{
		Vdisk: info.Vdisk, UUID: info.UUID, Sequence: point.Sequence, Position: point.Position,
		Digest: digest, Size: s.content.Size(), Time: point.Time,
	}, err
}

// close makes durable what was written.
func (s *shown) close() error { return errors.Join(s.Disk.Close(), s.closeLog()) }

func (s *shown) closeLog() error {
	var err error
	if s.content != nil {
		err = s.content.Close()
	}
	return errors.Join(err, s.storage.Close())
}

// announceMoment says, in one line on standard output, that the disk is there.
func (p *parameters) announceMoment(s *shown) {
	how := "read only"
	if s.Writable() {
		how = "writes go to " + p.moment.overlay
	}
	p.say("tlognbd: %v, %s, serving on %s; %s\n", s.Moment(), humanize.IBytes(uint64(s.Size())), listening(), how)
}

// lines tell how far something is, a line every few seconds, and when it is done.
type lines struct {
	out         io.Writer
	what        string
	began, told time.Time
}

// lineEvery is how often progress is told.
const lineEvery = 2 * time.Second

func (l *lines) tell(done float64, more string) {
	now := time.Now()
	if done < 1 && now.Sub(l.told) < lineEvery {
		return
	}
	l.told = now
	took := now.Sub(l.began)
	left := ""
	if done > 0.01 && done < 1 {
		left = fmt.Sprintf(", about %v left", time.Duration(float64(took)*(1-done)/done).Round(time.Second))
	}
	fmt.Fprintf(l.out, "tlognbd: %s: %.0f %%%s after %v%s\n", l.what, 100*done, more, took.Round(100*time.Millisecond), left)
}
