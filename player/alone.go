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

// picked is records of one position, newest first, that are read by themselves.
type picked struct {
	at      *living
	records []alive
	data    [][]byte // of each of records, when they were read
	err     error    // why they were not: stor.ErrNoPart
	runs    []stretch
	parts   []stor.Range // of runs
}

// peek reads records of positions by themselves, in memory, which is grown if it
// has to be; it returns what of it can be used again with the data. Where what
// was read is not the records' data, there is an error too: the position is to be
// read then, which finds out what is damaged.
func (l *Log) peek(ctx context.Context, list []picked, memory []byte) []byte {
	total := 0
	for i := range list {
		p := &list[i]
		p.runs = stretchesOf(p.records)
		for _, r := range p.runs {
			total += int(r.to - r.from)
		}
	}
	if cap(memory) < total {
		memory = make([]byte, total)
	}
	rest, wanted := memory[:total], make([]stor.Parts, len(list))
	for i := range list {
		p := &list[i]
		p.parts = make([]stor.Range, len(p.runs))
		for j, r := range p.runs {
			n := int(r.to - r.from)
			p.parts[j] = stor.Range{Off: int(r.from), B: rest[:n:n]}
			rest = rest[n:]
		}
		at := p.at
		wanted[i] = stor.Parts{Parts: p.parts, Layout: stor.Layout{Position: at.pos, Digest: at.digest, Head: int(at.layout.Head), Shard: crypto.ShardLength(at.stored, at.layout.K)}}
	}
	l.view.ReadParts(ctx, wanted)
	for i := range list {
		p := &list[i]
		if p.err = wanted[i].Err; p.err == nil {
			p.err = p.open(l)
		} else {
			memory = nil // a slow server may still write to it
		}
	}
	return memory
}

// open decrypts what was read, and compares it with what the index says.
func (p *picked) open(l *Log) error {
	peek := l.key.Peeker(&p.at.layout.Salt, l.info.UUID, p.at.pos)
	p.data = make([][]byte, 0, len(p.records))
	for i, r := range p.runs {
		peek(int(r.from), p.parts[i].B)
		for j := range r.records {
			rec := &r.records[j]
			b := p.parts[i].B[rec.data-r.from:][:rec.size:rec.size]
			if sum := crypto.HashRecord(p.at.layout.Hash, b); index.Sum(sum[:]) != rec.sum {
				return stor.ErrNoPart
			}
			p.data = append(p.data, b)
		}
	}
	return nil
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
