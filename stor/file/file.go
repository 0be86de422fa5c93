package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"tlog"
	"tlog/internal/failpoint"
	"tlog/stor"
)

// Options say how a directory is opened. The zero value opens for writing.
type Options struct {
	// ReadOnly opens without lock and changes nothing; a directory that does
	// not exist reads as an empty server. What the writer adds is seen by later
	// calls. Fence, Append and Init are refused.
	ReadOnly bool

	// SegmentBytes is the size at which a segment is full, in bytes. Smaller
	// ones cost a pause more often, larger ones keep more space from a later
	// prune. 0: 64 MiB; at least 64 KiB.
	SegmentBytes int64

	// EveryFrame looks at every frame of every segment, and believes no contents
	// file: what is damaged is known from the start, which takes as long as the
	// log is. Contents files that say something else than the frames are damage
	// then, too.
	EveryFrame bool

	// Logger hears about damage, failure and what recovery cut; nil: nobody.
	Logger *slog.Logger
}

// ErrFailed says that a write or a sync failed, and nobody knows what the disk
// holds. The Server answers nothing else until it is opened again.
var ErrFailed = errors.New("failed; outcome unknown until it is opened again")

var errClosed = errors.New("closed")

// Server is a shard server in a directory.
type Server struct {
	name     string
	fs       fsys
	readOnly bool
	logger   *slog.Logger
	unlock   io.Closer
	queue    *queue // nil: read only
	log      *log   // owned by the committer
	wg       sync.WaitGroup
	listing  sync.WaitGroup // of what writes contents files
	reads    chan struct{}  // bounds the goroutines that read
	segments segments

	scanning sync.Mutex // held while scan runs again; read only
	scan     *scan

	mu      sync.RWMutex
	index   *index // changed by the committer, or under scanning, with mu held
	storeID tlog.UUID
	damage  error // class Corrupt
	failed  error
	closed  bool
}

// maxReads is how many reads of the disk run at once; the others wait, or end
// with their contexts.
const maxReads = 64

// Open opens the directory dir as a shard server. ErrLocked: another process
// writes to it. A damaged directory opens, and says so when asked.
func Open(dir string, opt Options) (*Server, error) {
	s, err := open(dir, osFS(dir), opt)
	if err != nil {
		return nil, fmt.Errorf("file: %s: %w", dir, err)
	}
	return s, nil
}

func open(name string, dir fsys, opt Options) (*Server, error) {
	s := &Server{
		name: name, fs: dir, readOnly: opt.ReadOnly, logger: opt.Logger,
		index: newIndex(), reads: make(chan struct{}, maxReads),
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.logger = s.logger.With("server", name)
	s.scan = newScan(dir, func(f *found, data []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.index.apply(&f.header, data, f.at)
	})
	s.scan.every, s.scan.drafts = opt.EveryFrame, !opt.ReadOnly
	if s.readOnly {
		return s, s.refresh()
	}
	var err error
	if s.unlock, err = dir.lock(); err != nil {
		return nil, err
	}
	if err = s.startWriting(opt.SegmentBytes); err != nil {
		s.unlock.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) startWriting(limit int64) error {
	if limit == 0 {
		limit = failpoint.SegmentBytes(defaultSegmentBytes)
	}
	if err := s.refresh(); err != nil {
		return err
	}
	if s.damage == nil {
		var err error
		if s.log, err = recoverLog(s.fs, s.scan, max(limit, minSegmentBytes)); err != nil {
			return err
		}
		s.storeID = s.log.store
		if s.log.cut > 0 {
			s.logger.Info("cut a torn write that nobody was answered about", "segment", s.log.segment, "offset", s.log.end)
		}
	}
	if s.log != nil {
		backlog := s.scan.sealed
		s.listing.Go(func() { s.writeContents(backlog) })
	}
	s.scan = nil
	s.queue = newQueue()
	s.wg.Go(s.commit)
	return nil
}

// refresh runs the scan from where it stopped.
func (s *Server) refresh() error {
	s.scanning.Lock()
	defer s.scanning.Unlock()
	err := s.scan.run()
	s.mu.Lock()
	s.storeID = s.scan.store
	damage := s.scan.damage
	s.scan.damage = nil
	s.mu.Unlock()
	for _, d := range damage {
		s.noteDamage(d)
	}
	return err
}

// noteDamage makes the server one that does not vote. The first damage is the
// one that is told.
func (s *Server) noteDamage(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damage == nil {
		s.logger.Error("shard server is damaged", "err", err)
		s.damage = tlog.WithClass(tlog.Corrupt, fmt.Errorf("file: %s: damaged: %w", s.name, err))
	}
}

// fail ends all writing, and reading, until the directory is opened again.
func (s *Server) fail(err error) error {
	s.mu.Lock()
	s.failed = fmt.Errorf("file: %s: %w: %w", s.name, ErrFailed, err)
	err = s.failed
	s.mu.Unlock()
	s.logger.Error("shard server failed", "err", err)
	return err
}

// Failed is what made the server fail, or nil; see ErrFailed.
func (s *Server) Failed() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.failed
}

// unfit says why the server takes no requests to change anything.
func (s *Server) unfit() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.failed != nil:
		return s.failed
	case s.damage != nil:
		return &stor.Refusal{Code: stor.Unfit, Server: s.name, Err: fmt.Errorf("%w; repair or replace it", s.damage)}
	}
	return nil
}

// Name is the directory.
func (s *Server) Name() string { return s.name }

// Close ends the writing: what waits is answered with an error, the batch that
// is being written is finished. It waits for that, and gives up the lock.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	s.segments.close()
	if s.queue == nil || again {
		s.wg.Wait()
		return nil
	}
	s.queue.close(s.errClosed())
	s.wg.Wait()
	err := s.leave()
	if s.log != nil {
		close(s.log.sealed)
		s.listing.Wait()
	}
	if cerr := s.unlock.Close(); err == nil {
		err = cerr
	}
	return err
}

// leave marks what is durable, so that the next Open knows it.
func (s *Server) leave() error {
	if s.log == nil || s.log.segment == 0 {
		return nil
	}
	defer s.log.close()
	if s.unfit() != nil || s.log.marked {
		return nil
	}
	if err := s.log.mark(); err != nil {
		return fmt.Errorf("file: %s: %w", s.name, err)
	}
	return nil
}

func (s *Server) errClosed() error { return fmt.Errorf("file: %s: %w", s.name, errClosed) }

// do queues one request and waits for its verdict.
func (s *Server) do(ctx context.Context, judge func(*bench) verdict) verdict {
	answer := make(chan verdict, 1)
	s.submit(&request{ctx: ctx, judge: judge, done: func(v verdict) { answer <- v }})
	return <-answer
}

func (s *Server) submit(r *request) {
	if s.readOnly {
		r.done(verdict{err: s.denied(r.ctx)})
		return
	}
	s.queue.push(r)
}

// denied answers what would change a server that is opened for reading.
func (s *Server) denied(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return &stor.Refusal{Code: stor.Denied, Server: s.name, Err: errors.New("opened for reading only")}
}

// Init implements stor.Server.
func (s *Server) Init(ctx context.Context, cookie tlog.UUID, m *stor.Manifest) error {
	return s.do(ctx, func(b *bench) verdict { return b.init(cookie, m) }).err
}

// Fence implements stor.Server.
func (s *Server) Fence(ctx context.Context, r *stor.FenceRequest) (stor.Control, error) {
	req := *r // the caller may go before the request does
	v := s.do(ctx, func(b *bench) verdict { return b.fence(&req) })
	if v.err != nil {
		return stor.Control{}, v.err
	}
	return v.control, nil
}

// Append implements stor.Server. r and its slices are read until done is called.
func (s *Server) Append(ctx context.Context, r *stor.AppendRequest, done func(stor.Meta, error)) {
	if s.readOnly {
		done(stor.Meta{}, s.denied(ctx))
		return
	}
	q := s.queue.requests.Get()
	*q = request{append: r, bytes: int64(len(r.Head) + len(r.Body)), stored: done, ctx: ctx}
	s.queue.push(q)
}
