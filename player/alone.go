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

// aloneBytes is what a stretch of records costs besides its bytes, as bytes of a
// position that is read whole.
const aloneBytes = 4 << 10

// nearBytes is how far apart the data of records may lie in the payload that are
// read as one: their hashes lie between.
const nearBytes = 64

// alone reports whether records, in order of their places, are read by themselves
// rather than with their position.
func (l *living) alone(records []alive, more int) bool {
	if l.layout.K == 0 || len(records) == 0 {
		return false
	}
	cost := int64(more) * aloneBytes
	for _, r := range stretchesOf(records) {
		cost += int64(r.to-r.from) + aloneBytes
	}
	return cost <= int64(l.stored)
}

// stretch is records whose data lies close together in the payload, from…to.
type stretch struct {
	records  []alive
	from, to uint32
}

// stretchesOf cuts records of one position, newest first, into stretches.
func stretchesOf(records []alive) (list []stretch) {
	for i := 0; i < len(records); {
		n, from := i+1, records[i].data
		for n < len(records) && records[n].data+records[n].size+nearBytes >= from {
			from = records[n].data
			n++
		}
		list = append(list, stretch{records[i:n], from, records[i].data + records[i].size})
		i = n
	}
	return list
}

// sparse reports whether the live records of a living position are read by
// themselves.
func (p *Past) sparse(at int) bool { return p.living[at].alone(p.recordsOf(at), 0) }

// peek reads records of one position, newest first, by themselves, in memory,
// which is grown if it has to be, and returns the data of each. Errors:
// stor.ErrNoPart, also when what was read is not the records' data: then the
// position is to be read, which finds out what is damaged.
func (p *Past) peek(ctx context.Context, records []alive, memory []byte) (data [][]byte, _ []byte, err error) {
	at := &p.living[records[0].at]
	runs, total := stretchesOf(records), 0
	for _, r := range runs {
		total += int(r.to - r.from)
	}
	if cap(memory) < total {
		memory = make([]byte, total)
	}
	rest := memory[:total]
	parts := make([]stor.Range, len(runs))
	for i, r := range runs {
		n := int(r.to - r.from)
		parts[i] = stor.Range{Off: int(r.from), B: rest[:n:n]}
		rest = rest[n:]
	}
	layout := stor.Layout{Position: at.pos, Digest: at.digest, Head: int(at.layout.Head), Shard: crypto.ShardLength(at.stored, at.layout.K)}
	if err := p.log.view.ReadParts(ctx, &layout, parts); err != nil {
		return nil, memory, err
	}
	peek := p.log.key.Peeker(&at.layout.Salt, p.log.info.UUID, at.pos)
	for i, r := range runs {
		peek(int(r.from), parts[i].B)
		for j := range r.records {
			rec := &r.records[j]
			b := parts[i].B[rec.data-r.from:][:rec.size:rec.size]
			if sum := crypto.HashRecord(at.layout.Hash, b); index.Sum(sum[:]) != rec.sum {
				return nil, memory, stor.ErrNoPart
			}
			data = append(data, b)
		}
	}
	return data, memory, nil
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
		it.alone, it.room.alone, err = p.peek(ctx, p.recordsOf(at), it.room.alone)
		if err == nil {
			return
		}
		it.alone = nil
	}
	if it.dec, it.err = p.log.decode(ctx, it.pos, it.room); it.err == nil {
		it.err = p.same(at, it.dec.agg)
	}
}
