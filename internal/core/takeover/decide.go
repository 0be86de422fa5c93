package takeover

import (
	"bytes"
	"cmp"
	"slices"

	"tlog"
)

// Claim is a digest that could be the log's at one position.
type Claim struct {
	Digest tlog.Hash
	Epoch  tlog.Epoch // highest in which it was accepted
	Index  []int      // by server: the index it claims, or −1
}

// Distinct counts the indices claimed: by every server, or only by those in which.
func (c *Claim) Distinct(which []bool) int {
	n := 0
	for s, i := range c.Index {
		if i < 0 || which != nil && !which[s] {
			continue
		}
		fresh := true
		for t := range s {
			fresh = fresh && !(c.Index[t] == i && (which == nil || which[t]))
		}
		if fresh {
			n++
		}
	}
	return n
}

// Claims groups by digest what a page of metas, by server, says of a position,
// and keeps what k distinct indices claim: fewer cannot have been committed.
// The highest epoch comes first.
func Claims(page [][]Meta, at tlog.Position, k int) []Claim {
	var found []Claim
	for s, metas := range page {
		i, ok := slices.BinarySearchFunc(metas, at, func(x Meta, p tlog.Position) int {
			return cmp.Compare(x.Position, p)
		})
		if ok {
			found = claim(found, len(page), s, &metas[i])
		}
	}
	found = slices.DeleteFunc(found, func(c Claim) bool { return c.Distinct(nil) < k })
	slices.SortFunc(found, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(b.Epoch, a.Epoch), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	return found
}

func claim(found []Claim, servers, s int, x *Meta) []Claim {
	i := slices.IndexFunc(found, func(c Claim) bool { return c.Digest == x.Digest })
	if i < 0 {
		i = len(found)
		found = append(found, Claim{Digest: x.Digest, Index: slices.Repeat([]int{-1}, servers)})
	}
	found[i].Epoch = max(found[i].Epoch, x.Epoch)
	found[i].Index[s] = x.Index
	return found
}

// candidate is a claim whose shards are being read.
type candidate struct {
	Claim
	good    []bool // by server: what it claims verified
	prev    tlog.Hash
	prevSet bool // some shard of it verified
}

// examine reads the shards of everything that is claimed at a position.
func (m *Machine) examine() {
	m.from = m.from[:0]
	for _, c := range Claims(m.page, m.at, m.cfg.K) {
		m.from = append(m.from, &candidate{Claim: c, good: make([]bool, m.cfg.P)})
	}
	if len(m.from) == 0 {
		m.absent()
		return
	}
	m.readShards()
}

func (m *Machine) readShards() {
	m.phase = shards
	ask := make([]bool, m.cfg.P)
	for _, c := range m.from {
		for s, i := range c.Index {
			ask[s] = ask[s] || i >= 0
		}
	}
	m.round.begin(ask)
	for s, asked := range ask {
		if asked {
			m.emit(ReadShard{s, m.round.id, m.at})
		}
	}
}

// shardRead: a good shard of another digest or index than the server claims is
// as bad as a damaged one.
func (m *Machine) shardRead(e ShardRead) {
	for _, c := range m.from {
		if e.Good && c.Digest == e.Digest && c.Index[e.Server] == e.Index {
			c.good[e.Server] = true
			c.prev, c.prevSet = e.Prev, true
		}
	}
}

// decide chooses among the candidates: the highest epoch whose chain fits. A
// candidate that is claimed but cannot be rebuilt stops everything: what is
// damaged is not absent, and it may have been committed.
func (m *Machine) decide() {
	for _, c := range m.from {
		if c.prevSet && c.prev != m.prev && m.chained() {
			continue
		}
		have := c.Distinct(c.good)
		switch {
		case have >= m.cfg.K:
			if m.settled(0) {
				m.choose(c)
			}
		case m.round.open == 0:
			m.end(Halt{ReasonDamaged, m.at, have, m.cfg.K, m.everyone()})
		}
		return
	}
	if m.round.open == 0 {
		m.absent()
	}
}

// chained reports whether the digest before at is known: it is not at Base,
// which is committed whatever came before it.
func (m *Machine) chained() bool { return m.commit == 0 || m.at > m.commit }

func (m *Machine) everyone() bool {
	return !slices.Contains(m.voters, false) && m.round.good == m.round.asked
}

func (m *Machine) choose(c *candidate) {
	m.chosen = c
	m.emit(Found{m.at, c.Digest})
	if !m.cfg.Fence || m.at <= m.commit {
		m.advance()
		m.fill()
		return
	}
	m.phase = verifying
	m.emit(Verify{m.at, c.Digest})
}

// absent: nothing at this position can have been committed, so the log ends
// before it, unless we know that it was.
func (m *Machine) absent() {
	if m.at > m.commit {
		m.finish()
		return
	}
	m.end(Halt{Reason: ReasonLost, Position: m.at, Need: m.cfg.K, Everyone: !slices.Contains(m.voters, false)})
}

// holdings is what every server holds of the chosen digest.
func (m *Machine) holdings() []Holding {
	h := make([]Holding, m.cfg.P)
	for s, i := range m.chosen.Index {
		h[s] = Holding{Index: i, Good: m.chosen.good[s]}
	}
	return h
}
