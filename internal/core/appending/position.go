package appending

import "tlog"

// phase is where one server stands with one position.
type phase uint8

const (
	idle phase = iota // nothing in flight, nothing acknowledged
	sent              // one request in flight
	held              // acknowledged in this epoch
)

// share is what is known of one server for one position.
type share struct {
	phase   phase
	index   int  // in flight or held; while idle what the server may hold, or −1
	valid   bool // idle: it holds good bytes of index (a takeover read them)
	damaged bool // it claims index, but its bytes are bad or were not found
	late    bool // sent: the hedge time is over
	data    bool // sent: with the bytes
	// pinned: a replacement was sent. If its outcome was unknown a copy of it
	// may still arrive at any time and change the index under us, so the
	// server counts for nothing until that same replacement succeeds, and is
	// never given another index of this position.
	pinned bool
}

// position is one position from Publish to Release.
type position struct {
	number tlog.Position
	shares []share // by server
	// by index: servers that acknowledged it, requests in flight that are not
	// late, and those that are.
	holders, live, late []int

	distinct  int // indices with a holder
	inflight  int
	hedging   bool // a hedge timer runs
	committed bool // or failed: nothing more is sent
	answered  bool // Committed or Failed was given
}

func newPosition(cfg *Config, e Publish) *position {
	p := &position{number: e.Position, shares: make([]share, cfg.P)}
	counts := make([]int, 3*cfg.N)
	p.holders, p.live, p.late = counts[:cfg.N], counts[cfg.N:2*cfg.N], counts[2*cfg.N:]
	for s := range p.shares {
		sh := &p.shares[s]
		sh.index = -1
		if s < len(e.Held) && e.Held[s].Index >= 0 && e.Held[s].Index < cfg.N {
			sh.index, sh.valid = e.Held[s].Index, e.Held[s].Valid
			sh.damaged = !sh.valid
		}
	}
	return p
}

// covered reports whether index i is held, or on its way and not late.
func (p *position) covered(i int) bool { return p.holders[i] > 0 || p.live[i] > 0 }

// lost reports whether nothing at all speaks for index i.
func (p *position) lost(i int) bool { return !p.covered(i) && p.late[i] == 0 }

// reached is how many indices are held or on their way.
func (p *position) reached() int {
	n := 0
	for i := range p.holders {
		if !p.lost(i) {
			n++
		}
	}
	return n
}

// start books a request to server s.
func (p *position) start(s, index int) {
	sh := &p.shares[s]
	sh.phase, sh.index, sh.late = sent, index, false
	p.live[index]++
	p.inflight++
}

// finish books the answer of server s; the share is idle afterwards.
func (p *position) finish(sh *share) {
	if sh.late {
		p.late[sh.index]--
	} else {
		p.live[sh.index]--
	}
	p.inflight--
	sh.phase, sh.late = idle, false
}

// hold counts server s as a holder of index.
func (p *position) hold(sh *share, index int) {
	*sh = share{phase: held, index: index, pinned: sh.pinned}
	if p.holders[index]++; p.holders[index] == 1 {
		p.distinct++
	}
}

// drop stops counting a holder.
func (p *position) drop(sh *share) {
	if p.holders[sh.index]--; p.holders[sh.index] == 0 {
		p.distinct--
	}
	sh.phase = idle
}
