package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"tlog"
	"tlog/stor"
)

// within runs f, which may be held up by the disk, and returns when it has or
// when ctx ends.
func within[T any](ctx context.Context, s *Server, f func() (T, error)) (T, error) {
	var zero T
	if err := s.readable(ctx); err != nil {
		return zero, err
	}
	type answer struct {
		t   T
		err error
	}
	select {
	case s.reads <- struct{}{}:
	case <-ctx.Done():
		return zero, ctx.Err()
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-s.reads }()
		t, err := f()
		answers <- answer{t, err}
	}()
	select {
	case a := <-answers:
		return a.t, a.err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// readable says why nothing can be read.
func (s *Server) readable(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.closed:
		return s.errClosed()
	}
	return s.failed
}

// look is within, on what a reader finds when it looks again.
func look[T any](ctx context.Context, s *Server, f func() (T, error)) (T, error) {
	if !s.readOnly {
		var zero T
		if err := s.readable(ctx); err != nil {
			return zero, err
		}
		return f()
	}
	return within(ctx, s, func() (T, error) {
		if err := s.refresh(); err != nil {
			var zero T
			return zero, fmt.Errorf("file: %s: %w", s.name, err)
		}
		return f()
	})
}

// Control implements stor.Server. Of a damaged server it gives what is known,
// and an error of class tlog.Corrupt: the owner may be a later one.
func (s *Server) Control(ctx context.Context, vdisk tlog.UUID) (stor.Control, error) {
	return look(ctx, s, func() (stor.Control, error) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if v := s.index.get(vdisk); v != nil {
			return v.control, s.damage
		}
		return stor.Control{}, s.damage
	})
}

// Vdisks implements stor.Server. Of a damaged server it gives those it knows,
// and an error of class tlog.Corrupt: there may be more.
func (s *Server) Vdisks(ctx context.Context) ([]tlog.UUID, error) {
	return look(ctx, s, func() ([]tlog.UUID, error) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		var all []tlog.UUID
		for id, v := range s.index.vdisks {
			if v.control.Epoch != 0 {
				all = append(all, id)
			}
		}
		return all, s.damage
	})
}

// Identify implements stor.Server. A damaged server identifies itself if it
// can, so that it can be read; it refuses to be fenced.
func (s *Server) Identify(ctx context.Context) (tlog.UUID, *stor.Manifest, error) {
	type identity struct {
		cookie   tlog.UUID
		manifest *stor.Manifest
	}
	id, err := look(ctx, s, func() (identity, error) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		switch {
		case s.index.manifest != nil:
			m := *s.index.manifest
			m.Cookies = append([]tlog.UUID(nil), m.Cookies...)
			return identity{s.index.cookie, &m}, nil
		case s.damage != nil:
			return identity{}, s.damage
		}
		return identity{}, fmt.Errorf("file: %s: %w", s.name, stor.ErrEmpty)
	})
	return id.cookie, id.manifest, err
}

// Metas implements stor.Server. Of a damaged server it gives those that can be
// read, and an error of class tlog.Corrupt: a position that is not among them
// is not absent.
func (s *Server) Metas(ctx context.Context, vdisk tlog.UUID, from, to tlog.Position) ([]stor.Meta, error) {
	return within(ctx, s, func() ([]stor.Meta, error) {
		if s.readOnly {
			if err := s.refresh(); err != nil {
				return nil, fmt.Errorf("file: %s: %w", s.name, err)
			}
		}
		s.mu.RLock()
		all := s.index.span(vdisk, from, to)
		s.mu.RUnlock()
		metas, err := s.metasOf(ctx, vdisk, all)
		if err != nil {
			return nil, err
		}
		s.mu.RLock()
		defer s.mu.RUnlock()
		return metas, s.damage
	})
}

// Where each header is in a block of its own the disk is asked for several at
// a time, by each of so many readers for at least so many positions.
const (
	metasReaders = 4
	metasEach    = 32
)

// metasOf reads the digests of what is held, and leaves out what it cannot.
func (s *Server) metasOf(ctx context.Context, vdisk tlog.UUID, all []held) ([]stor.Meta, error) {
	metas := make([]stor.Meta, len(all)) // the zero Meta: it could not be read
	each := max((len(all)+metasReaders-1)/metasReaders, metasEach)
	var readers sync.WaitGroup
	for from := each; from < len(all); from += each {
		to := min(from+each, len(all))
		readers.Go(func() { s.readMetas(ctx, vdisk, all[from:to], metas[from:to]) })
	}
	s.readMetas(ctx, vdisk, all[:min(each, len(all))], metas)
	readers.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return slices.DeleteFunc(metas, func(m stor.Meta) bool { return m == stor.Meta{} }), nil
}

func (s *Server) readMetas(ctx context.Context, vdisk tlog.UUID, all []held, metas []stor.Meta) {
	d := digests{s: s}
	defer d.close()
	for i, h := range all {
		if ctx.Err() != nil {
			return
		}
		digest, err := d.read(vdisk, h)
		if err != nil {
			s.noteDamage(err)
			continue
		}
		metas[i] = stor.Meta{Position: h.position, Epoch: h.epoch, Digest: digest, Index: h.index}
	}
}

// readDigest reads one digest.
func (s *Server) readDigest(vdisk tlog.UUID, h held) (tlog.Hash, error) {
	d := digests{s: s}
	defer d.close()
	digest, err := d.read(vdisk, h)
	if err != nil {
		s.noteDamage(err)
	}
	return digest, err
}

// digests reads digests from the headers on disk, keeping the last segment
// open from one to the next.
type digests struct {
	s *Server
	r *frameReader
}

func (d *digests) read(vdisk tlog.UUID, h held) (tlog.Hash, error) {
	if d.r == nil || d.r.number != h.place.segment {
		d.close()
		r, err := d.s.openSegment(h.place.segment)
		if err != nil {
			return tlog.Hash{}, err
		}
		d.r = r
	}
	f, err := frameOf(d.r, vdisk, h)
	return f.digest, err
}

func (d *digests) close() {
	if d.r != nil {
		d.r.f.Close()
		d.r = nil
	}
}

func (s *Server) openSegment(number uint64) (*frameReader, error) {
	f, err := s.fs.open(segmentName(number), false)
	if err != nil {
		return nil, err
	}
	return s.reader(f, number), nil
}

func (s *Server) reader(f file, number uint64) *frameReader {
	s.mu.RLock()
	store := s.storeID
	s.mu.RUnlock()
	return &frameReader{window: window{f: f}, number: number, seed: seedOf(store, number)}
}

// frameOf reads the frame that the index has for a position.
func frameOf(r *frameReader, vdisk tlog.UUID, h held) (found, error) {
	f, ok := r.header(h.place.off)
	if !ok || f.kind != kindShard || f.vdisk != vdisk || f.position != h.position || int(f.index) != h.index {
		return f, tlog.Corruptf("position %d of %v: its frame in segment %d at offset %d is unreadable", h.position, vdisk, h.place.segment, h.place.off)
	}
	return f, nil
}

// Shard implements stor.Server. The bytes are given as they are; whoever reads
// them checks the shard's own digest. Of a damaged server a position that is
// not found is an error of class tlog.Corrupt, not ErrAbsent.
func (s *Server) Shard(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, limit int) ([]byte, error) {
	return within(ctx, s, func() ([]byte, error) { return s.shard(vdisk, pos, limit, nil) })
}

// A Server reads shards into memory of its caller's.
var _ stor.Filler = (*Server)(nil)

// Fill implements stor.Filler.
func (s *Server) Fill(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, buf []byte) (shard, memory []byte, err error) {
	b, err := within(ctx, s, func() ([]byte, error) { return s.shard(vdisk, pos, 0, buf) })
	return b, b, err
}

// shard reads a stored shard; limit > 0: so many bytes at most.
func (s *Server) shard(vdisk tlog.UUID, pos tlog.Position, limit int, buf []byte) ([]byte, error) {
	h, err := s.mustFind(vdisk, pos)
	if err != nil {
		return nil, err
	}
	return s.readShard(vdisk, h, limit, buf)
}

// mustFind gives what is held of a position, or an error.
func (s *Server) mustFind(vdisk tlog.UUID, pos tlog.Position) (held, error) {
	h, ok := s.find(vdisk, pos)
	if !ok && s.readOnly {
		if err := s.refresh(); err != nil {
			return h, fmt.Errorf("file: %s: %w", s.name, err)
		}
		h, ok = s.find(vdisk, pos)
	}
	if ok {
		return h, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.damage != nil {
		return h, s.damage
	}
	return h, fmt.Errorf("file: %s: position %d: %w", s.name, pos, stor.ErrAbsent)
}

func (s *Server) find(vdisk tlog.UUID, pos tlog.Position) (held, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.find(vdisk, pos)
}

func (s *Server) readShard(vdisk tlog.UUID, h held, limit int, buf []byte) ([]byte, error) {
	g, err := s.use(h.place.segment)
	if err != nil {
		return nil, fmt.Errorf("file: %s: %w", s.name, err)
	}
	defer s.segments.done(g)
	f, err := s.frameIn(g, vdisk, h)
	if err != nil {
		s.noteDamage(err)
		return nil, fmt.Errorf("file: %s: %w", s.name, err)
	}
	n := int(f.length)
	if limit > 0 {
		n = min(n, limit)
	}
	if cap(buf) < n {
		buf = make([]byte, n, n+n/16)
	}
	b := buf[:n]
	got, err := g.ReadAt(b, h.place.off+frameHeaderSize)
	if got < n && !errors.Is(err, io.EOF) {
		return nil, tlog.Corruptf("file: %s: position %d: %w", s.name, h.position, err)
	}
	// A segment that was cut off gives a shard that is too short, as its
	// reader will see.
	return b[:got], nil
}

// frameIn reads the frame that the index has for a position: its header alone,
// where the medium gives it, and else with what is left of the blocks around.
func (s *Server) frameIn(g *segment, vdisk tlog.UUID, h held) (found, error) {
	r := s.reader(g, g.number)
	b := make([]byte, frameHeaderSize)
	if n, err := g.ReadAt(b, h.place.off); n == len(b) && err == nil {
		r.buf, r.off = b, h.place.off
	}
	return frameOf(r, vdisk, h)
}

// Space implements stor.Server: of the file system that the directory is on.
func (s *Server) Space(ctx context.Context) (stor.Space, error) {
	return within(ctx, s, s.fs.space)
}
