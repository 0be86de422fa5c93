package session

import "tlog"

// mark is what is remembered of a record: enough to tell whether one that
// comes again is the same.
type mark struct {
	chain  tlog.Hash // up to and including the record
	hash   tlog.Hash
	offset uint64
	size   uint32
	op     tlog.Operation
}

func markOf(r *tlog.Record, chain tlog.Hash) mark {
	return mark{chain, r.Hash, r.Offset, r.Size, r.Operation}
}

// same compares all but the timestamp, which the server sets for version 1.
func (k *mark) same(r *tlog.Record) bool {
	return k.hash == r.Hash && k.offset == r.Offset && k.size == r.Size && k.op == r.Operation
}

// past is the run of records start+1 … end that can be compared.
type past struct {
	start tlog.Sequence
	chain tlog.Hash // at start; zero if it was seeded and is not known
	all   []mark    // those before first are forgotten
	first int
}

func (p *past) reset(start tlog.Sequence, chain tlog.Hash) {
	*p = past{start: start, chain: chain}
}

// seed fills an empty past with durable records of a loaded log. Their chain
// values are not needed: only version 1 compares them.
func (p *past) seed(recent []tlog.Record) {
	end, chain := p.start, p.chain
	p.reset(recent[0].Sequence-1, tlog.Hash{})
	for i := range recent {
		p.add(markOf(&recent[i], tlog.Hash{}))
	}
	p.at(end).chain = chain
}

func (p *past) end() tlog.Sequence { return p.start + tlog.Sequence(len(p.all)-p.first) }

// add remembers the next record. The memory is used again when half of it is
// of records that were forgotten.
func (p *past) add(k mark) {
	if len(p.all) == cap(p.all) && p.first > len(p.all)/2 {
		n := copy(p.all, p.all[p.first:])
		p.all, p.first = p.all[:n], 0
	}
	p.all = append(p.all, k)
}

// drop takes the last n records back.
func (p *past) drop(n int) { p.all = p.all[:len(p.all)-n] }

// at is the mark of s, nil if it is not remembered.
func (p *past) at(s tlog.Sequence) *mark {
	if s <= p.start || s > p.end() {
		return nil
	}
	return &p.all[p.first+int(s-p.start)-1]
}

// chainAt is the chain value at start ≤ s ≤ end.
func (p *past) chainAt(s tlog.Sequence) tlog.Hash {
	if s == p.start {
		return p.chain
	}
	return p.all[p.first+int(s-p.start)-1].chain
}

// forget drops the records up to s.
func (p *past) forget(s tlog.Sequence) {
	if s <= p.start {
		return
	}
	p.chain = p.chainAt(s)
	p.first += int(s - p.start)
	p.start = s
	if p.first < len(p.all) {
		return
	}
	p.all, p.first = p.all[:0], 0
}

// rest gives back memory that nothing is in.
func (p *past) rest() {
	if p.first == len(p.all) && cap(p.all) > keep {
		p.all, p.first = nil, 0
	}
}
