package file

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"tlog"
	"tlog/stor"
)

// A Server reads parts of shards.
var _ stor.Ranger = (*Server)(nil)

// Ranges implements stor.Ranger. The disk is told of all that will be read before
// any of it is waited for: it has so much to do at once as no reader that takes
// one piece after the other would give it.
func (s *Server) Ranges(ctx context.Context, vdisk tlog.UUID, shards []stor.ShardRanges) error {
	_, err := within(ctx, s, func() (struct{}, error) {
		at := make([]part, 0, len(shards))
		for i := range shards {
			h, err := s.mustFind(vdisk, shards[i].Position)
			shards[i].Err = err
			if err == nil {
				at = append(at, part{h, &shards[i]})
			}
		}
		s.readRanges(ctx, vdisk, at)
		return struct{}{}, ctx.Err()
	})
	return err
}

// part is what is read of one shard.
type part struct {
	held
	*stor.ShardRanges
}

// announced is how many shards are read of behind each other: so many segments
// are open for them at most.
const announced = 256

// readRanges reads parts, in the order in which they lie on the disk.
func (s *Server) readRanges(ctx context.Context, vdisk tlog.UUID, parts []part) {
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.place.segment, b.place.segment), cmp.Compare(a.place.off, b.place.off))
	})
	for len(parts) > 0 && ctx.Err() == nil {
		n := 1
		for n < min(len(parts), announced) && parts[n].place.segment == parts[0].place.segment {
			n++
		}
		s.readTogether(vdisk, parts[:n])
		parts = parts[n:]
	}
}

// readTogether reads parts of one segment.
func (s *Server) readTogether(vdisk tlog.UUID, parts []part) {
	g, err := s.use(parts[0].place.segment)
	if err != nil {
		for i := range parts {
			parts[i].Err = fmt.Errorf("file: %s: %w", s.name, err)
		}
		return
	}
	defer s.segments.done(g)
	s.announce(g, parts)
	for i := range parts {
		parts[i].Err = s.readPart(g, vdisk, &parts[i])
	}
}

// readPart reads ranges of one shard. What they are is for their reader to know:
// the frame's header is looked at only if the index does not know its length.
func (s *Server) readPart(g *segment, vdisk tlog.UUID, p *part) error {
	length := p.length
	if length == 0 {
		f, err := s.frameIn(g, vdisk, p.held)
		if err != nil {
			s.noteDamage(err)
			return fmt.Errorf("file: %s: %w", s.name, err)
		}
		length = int(f.length)
	}
	for _, r := range p.Ranges {
		got := 0
		if r.Off+len(r.B) <= length {
			got, _ = g.ReadAt(r.B, p.place.off+frameHeaderSize+int64(r.Off))
		}
		if got < len(r.B) {
			return fmt.Errorf("file: %s: position %d: it ends before byte %d, or cannot be read there: %w", s.name, p.position, r.Off+len(r.B), stor.ErrAbsent)
		}
	}
	return nil
}

// adviser is a file that can be told what will be read.
type adviser interface{ willRead(off, n int64) }

// announce tells the disk what will be read. Ranges that are not two pages apart
// are one: the pages between cost less than another request.
func (s *Server) announce(g *segment, parts []part) {
	a, can := g.file.(adviser)
	if !can {
		return
	}
	var from, to int64
	for i := range parts {
		p := &parts[i]
		begin := p.place.off + frameHeaderSize
		for _, r := range p.byOffset() {
			at := begin + int64(r.Off)
			if to > 0 && at >= from && at <= to+nearby {
				to = max(to, at+int64(len(r.B)))
				continue
			}
			if to > 0 {
				a.willRead(from, to-from)
			}
			from, to = at, at+int64(len(r.B))
		}
	}
	if to > 0 {
		a.willRead(from, to-from)
	}
}

// nearby is how far apart ranges may be that are one request, in bytes.
const nearby = 8 << 10

// byOffset is the ranges in order. A reader that wants the newest records first
// has them the other way round.
func (p *part) byOffset() []stor.Range {
	slices.SortFunc(p.Ranges, func(a, b stor.Range) int { return cmp.Compare(a.Off, b.Off) })
	return p.Ranges
}
