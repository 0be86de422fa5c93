package player

import (
	"context"
	"sync"
	"sync/atomic"

	"tlog/crypto"
	"tlog/player/index"
	"tlog/stor"
)

// A record can be read by itself where its position's payload was not
// compressed: its part of a data shard, decrypted by itself, is what the index
// has the hash of. A disk that was overwritten a lot has positions of which a
// few records are alive, and a read of a mounted disk wants one record of 256.

// aloneBytes is what reading a record by itself costs besides its bytes, as
// bytes of a position that is read whole: a request of its own.
const aloneBytes = 16 << 10

// alone reports whether records with so many bytes of data are read by
// themselves rather than with their position.
func (l *living) alone(records int, bytes int64) bool {
	return l.layout.K > 0 && bytes+int64(records)*aloneBytes <= int64(l.stored)
}

// sparse reports whether the live records of a living position are read by
// themselves.
func (p *Past) sparse(at int) bool {
	bytes, records := int64(0), p.recordsOf(at)
	for i := range records {
		bytes += int64(records[i].size)
	}
	return p.living[at].alone(len(records), bytes)
}

// peek fills b with the data of a record. Errors: stor.ErrNoPart, also when what
// was read is not the record's data: then its position is to be read, which
// finds out what is damaged.
func (p *Past) peek(ctx context.Context, r *alive, b []byte) error {
	at := &p.living[r.at]
	part := stor.Part{Position: at.pos, Digest: at.digest, Head: int(at.layout.Head),
		Shard: crypto.ShardLength(at.stored, at.layout.K), Off: int(r.data)}
	if err := p.log.view.ReadPart(ctx, &part, b); err != nil {
		return err
	}
	p.log.key.Peek(&at.layout.Salt, p.log.info.UUID, at.pos, int(r.data), b)
	sum := crypto.HashRecord(at.layout.Hash, b)
	if index.Sum(sum[:]) != r.sum {
		return stor.ErrNoPart
	}
	return nil
}

// peekAll reads records by themselves into one piece of memory, which is grown
// if it has to be, several at once.
func (p *Past) peekAll(ctx context.Context, records []alive, memory []byte) (data [][]byte, _ []byte, err error) {
	total := 0
	for i := range records {
		total += int(records[i].size)
	}
	if cap(memory) < total {
		memory = make([]byte, total)
	}
	rest := memory[:total]
	for i := range records {
		n := int(records[i].size)
		data = append(data, rest[:n:n])
		rest = rest[n:]
	}
	err = abreast(min(len(records), p.log.readers), len(records), func(i int) error {
		return p.peek(ctx, &records[i], data[i])
	})
	return data, memory, err
}

// abreast calls fn for 0 … n−1, from several goroutines, until one fails.
func abreast(goroutines, n int, fn func(int) error) error {
	if goroutines <= 1 {
		for i := range n {
			if err := fn(i); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[g] == nil; i = int(next.Add(1)) - 1 {
				if errs[g] = fn(i); errs[g] != nil {
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bytes is the data of a segment of an item that each has loaded.
func (p *Past) bytes(s *segment, it *item) ([]byte, error) {
	if it.dec != nil {
		return p.data(s, it.dec.agg)
	}
	r := &p.records[s.rec]
	data := it.alone[s.rec-p.living[r.at].record]
	return data[s.from-r.off:][:s.n], nil
}

// load reads a living position, or only its live records.
func (p *Past) load(ctx context.Context, it *item) {
	at := p.below(it.pos + 1)
	if p.sparse(at) {
		var err error
		it.alone, it.room.alone, err = p.peekAll(ctx, p.recordsOf(at), it.room.alone)
		if err == nil {
			return
		}
		it.alone = nil
	}
	if it.dec, it.err = p.log.decode(ctx, it.pos, it.room); it.err == nil {
		it.err = p.same(at, it.dec.agg)
	}
}
