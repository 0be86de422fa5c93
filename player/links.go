package player

import (
	"tlog"
	"tlog/crypto"
)

// links checks that positions follow each other, as they are seen one after
// the other from the head downwards or from the genesis upwards.
type links struct {
	vdisk tlog.VdiskID
	seen  bool
	last  link
}

// link is what a position says of itself and of the one before it.
type link struct {
	pos          tlog.Position
	digest, prev tlog.Hash
	first, end   tlog.Sequence // records first…end; end = first − 1 if there is none
	firstTime    uint64
	lastTime     uint64
	start, chain tlog.Hash // chain values before and after; zero if not decoded
}

func (it *item) link() link {
	if it.dec != nil {
		a := it.dec.agg
		l := headerLink(&a.Header, a.Digest)
		l.start, l.chain = a.Prelude.Chain, a.Chain
		return l
	}
	return headerLink(&it.head.Header, it.head.Digest)
}

func headerLink(h *crypto.Header, digest tlog.Hash) link {
	return link{pos: h.Position, digest: digest, prev: h.Prev, first: h.First, end: h.Last,
		firstTime: h.FirstTimestamp, lastTime: h.LastTimestamp}
}

// add checks a link against the one added before it.
func (s *links) add(l link) error {
	prior := s.last
	s.last = l
	if !s.seen {
		s.seen = true
		return nil
	}
	if prior.pos == l.pos+1 {
		return s.join(l, prior)
	}
	return s.join(prior, l)
}

// join checks that b follows a.
func (s *links) join(a, b link) error {
	switch {
	case b.pos != a.pos+1:
		return tlog.Corruptf("player: vdisk %s: position %d follows %d", s.vdisk, b.pos, a.pos)
	case b.prev != a.digest:
		return tlog.Corruptf("player: vdisk %s: position %d does not continue position %d: chain digest %v, want %v", s.vdisk, b.pos, a.pos, a.digest, b.prev)
	case b.first != a.end+1:
		return tlog.Corruptf("player: vdisk %s: position %d begins at sequence %d after %d", s.vdisk, b.pos, b.first, a.end)
	case b.firstTime < a.lastTime && b.first <= b.end:
		return tlog.Corruptf("player: vdisk %s: position %d goes back in time", s.vdisk, b.pos)
	case !b.start.IsZero() && !a.chain.IsZero() && b.start != a.chain:
		return tlog.Corruptf("player: vdisk %s: position %d does not continue the record chain of %d", s.vdisk, b.pos, a.pos)
	}
	return nil
}
