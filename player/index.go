package player

import (
	"context"
	"errors"
	"fmt"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/player/index"
)

// Index is a log's index, as far as the log reached when it was opened. It is
// not safe for concurrent use.
type Index struct {
	log   *Log
	file  *index.File
	page  index.Page // the last one read
	held  int        // its number; -1: none
	piece int        // layerRecords, but in tests
}

// IndexState says what a log's index has of it.
type IndexState struct {
	Positions tlog.Position // that are indexed
	Last      tlog.Sequence
	Bytes     int64 // of the file
}

// OpenIndex opens the index of the log in dir, checks that it is of this log,
// and reads what it lacks, or all if there is none. An empty dir is an index
// that is forgotten when it is closed. One who adds to the same index meanwhile is
// waited for; while others read it, what it lacks is read and not kept. A damaged or foreign index is built anew.
//
// progress, if not nil, is called for each position that is read.
func (l *Log) OpenIndex(ctx context.Context, dir string, progress func(Progress)) (*Index, error) {
	for {
		ix, err := l.openIndex(ctx, dir, progress)
		if !errors.Is(err, index.ErrMoved) {
			return ix, err
		}
	}
}

func (l *Log) openIndex(ctx context.Context, dir string, progress func(Progress)) (*Index, error) {
	ix, err := l.peekIndex(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err = ix.extend(ctx, progress); err == nil {
		err = ix.file.Share(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, ix.file.Close())
	}
	return ix, nil
}

// IndexState tells what dir has of the log, without adding to it.
func (l *Log) IndexState(ctx context.Context, dir string) (IndexState, error) {
	if !index.Exists(dir, l.info.UUID) {
		return IndexState{}, nil
	}
	ix, err := l.peekIndex(ctx, dir)
	if err != nil {
		return IndexState{}, err
	}
	s := ix.State()
	return s, ix.Close()
}

// peekIndex opens an index and drops what is not of the log.
func (l *Log) peekIndex(ctx context.Context, dir string) (*Index, error) {
	if err := l.needKeys(); err != nil {
		return nil, err
	}
	file, err := index.Open(ctx, dir, l.key.IndexCipher(l.info.UUID), l.info.UUID)
	if err != nil {
		return nil, fmt.Errorf("player: vdisk %s: %w", l.info.Vdisk, err)
	}
	ix := &Index{log: l, file: file, held: -1, piece: layerRecords}
	if err := ix.match(ctx); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return ix, nil
}

// Close gives the index back to others.
func (ix *Index) Close() error { return ix.file.Close() }

// State tells what is indexed.
func (ix *Index) State() IndexState {
	pos, _, last, _ := ix.file.End()
	return IndexState{Positions: pos, Last: last, Bytes: ix.file.Size()}
}

// match cuts the index back to where it agrees with the log: the digest of the
// last position that both have stands for all before it.
func (ix *Index) match(ctx context.Context) error {
	for ix.file.Pages() > 0 {
		pos, digest, _, _ := ix.file.End()
		want, err := ix.digest(ctx, min(pos, ix.log.info.Positions))
		if err != nil {
			return err
		}
		if pos > ix.log.info.Positions {
			// Another reader saw the log later than this one.
			digest = ix.indexed(ix.log.info.Positions)
		}
		if digest == want {
			return nil
		}
		if err := ix.file.Cut(); err != nil {
			return err
		}
		ix.held = -1
	}
	return nil
}

// digest is the chain digest of a position as the log has it.
func (ix *Index) digest(ctx context.Context, pos tlog.Position) (tlog.Hash, error) {
	if pos == ix.log.info.Positions {
		return ix.log.info.Digest, nil
	}
	s, err := ix.log.header(ctx, pos)
	if err != nil {
		return tlog.Hash{}, err
	}
	return s.Digest, nil
}

// indexed is the chain digest of a position as the index has it; zero if it
// cannot be read.
func (ix *Index) indexed(pos tlog.Position) tlog.Hash {
	n := ix.file.PageAt(pos)
	if ix.load(n) != nil {
		return tlog.Hash{}
	}
	return ix.page.Positions[pos-ix.page.Positions[0].Position].Digest
}

// load makes a page the current one.
func (ix *Index) load(n int) error {
	if ix.held == n {
		return nil
	}
	ix.held = -1
	if err := ix.file.Page(n, &ix.page); err != nil {
		return err
	}
	ix.held = n
	return nil
}

// extend reads the positions that are not indexed.
func (ix *Index) extend(ctx context.Context, progress func(Progress)) error {
	l := ix.log
	from, digest, last, time := ix.file.End()
	if from >= l.info.Positions {
		return nil
	}
	chain := links{vdisk: l.info.Vdisk, seen: from > 0,
		last: link{pos: from, digest: digest, first: last + 1, end: last, firstTime: time, lastTime: time}}
	// What was read is kept, also when the rest cannot be.
	err := ix.readAfter(ctx, from, &chain, progress)
	return errors.Join(err, ix.file.Commit())
}

// readAfter adds the positions behind from.
func (ix *Index) readAfter(ctx context.Context, from tlog.Position, chain *links, progress func(Progress)) error {
	l := ix.log
	var records []index.Record
	always := func(tlog.Position) bool { return true }
	var bytes int64
	for it := range l.fetch(ctx, upwards(from+1, l.info.Positions), always) {
		if it.err != nil {
			return it.err
		}
		if err := chain.add(it.link()); err != nil {
			return err
		}
		a := it.dec.agg
		at := index.Position{Position: it.pos, Digest: a.Digest, First: a.Header.First, Count: a.Header.Count, Stored: a.Header.StoredLength}
		records, at.Layout = appendRecords(records[:0], a)
		if err := ix.file.Add(at, records); err != nil {
			return err
		}
		bytes += int64(a.Header.StoredLength)
		if progress != nil {
			progress(Progress{Done: int64(it.pos - from), Total: int64(l.info.Positions - from), Bytes: bytes})
		}
	}
	return context.Cause(ctx)
}

// appendRecords appends what an index keeps of an aggregation's records; of
// those that cannot all be read by themselves the layout says so.
func appendRecords(dst []index.Record, a *aggregate.Aggregation) ([]index.Record, index.Layout) {
	h := &a.Header
	layout := index.Layout{Salt: h.Salt, Head: uint16(crypto.BodyAt(h)), K: h.K, Hash: a.Prelude.Hash}
	from := len(dst)
	for i := range a.Records {
		r := &a.Records[i]
		to := index.Record{Offset: r.Offset, Time: r.Timestamp, Group: r.Group, Size: r.Size, Operation: r.Operation}
		if r.Operation == tlog.OpWrite {
			at := a.DataAt(r)
			if at < 0 {
				layout = index.Layout{}
			}
			to.At, to.Sum = uint32(at), index.Sum(r.Hash[:])
		}
		dst = append(dst, to)
	}
	if layout.K == 0 {
		for i := range dst[from:] {
			dst[from+i].At, dst[from+i].Sum = 0, index.Sum{}
		}
	}
	return dst, layout
}

// Up calls fn with the records after `after` up to and including `to`, in
// order, until fn returns false.
func (ix *Index) Up(after, to tlog.Sequence, fn func(tlog.Sequence, *index.Record) bool) error {
	to = min(to, ix.log.info.Last)
	for n := ix.file.PageOf(after + 1); n < ix.file.Pages() && after < to; n++ {
		if err := ix.load(n); err != nil {
			return err
		}
		p := &ix.page
		for s := max(after+1, p.First); s <= min(to, p.Last()); s++ {
			if !fn(s, &p.Records[s-p.First]) {
				return nil
			}
		}
	}
	return nil
}

// Down calls fn with the records from `from` back to the first, newest first,
// until fn returns false. at is the record's position.
func (ix *Index) Down(from tlog.Sequence, fn func(s tlog.Sequence, r *index.Record, at *index.Position) bool) error {
	from = min(from, ix.log.info.Last)
	if from == 0 || ix.file.Pages() == 0 {
		return nil
	}
	for n := min(ix.file.PageOf(from), ix.file.Pages()-1); n >= 0; n-- {
		if err := ix.load(n); err != nil {
			return err
		}
		p := &ix.page
		at := len(p.Positions) - 1
		for s := min(from, p.Last()); s >= p.First && s > 0; s-- {
			for p.Positions[at].First > s {
				at--
			}
			if !fn(s, &p.Records[s-p.First], &p.Positions[at]) {
				return nil
			}
		}
	}
	return nil
}
