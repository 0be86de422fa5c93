package repair

// plan is what is to be done about one position.
type plan struct {
	good   int // distinct indices that were read
	silent int // servers that could not be asked
	writes []Write
	short  int // indices that stay missing
}

// needed is how many of the writes add an index.
func (p *plan) needed() int {
	n := 0
	for _, w := range p.writes {
		if !w.Surplus {
			n++
		}
	}
	return n
}

// board is the position while it is planned.
type board struct {
	m       *Machine
	shards  []Shard
	holders []int  // by index: servers that hold it well
	taken   []bool // by server: it gets a shard already
	used    []bool // by index: it is written already
}

// plan gives every index that no server holds well to a server, in this order
// of preference: the server that holds it damaged; one that holds nothing, its
// home first; one whose damaged shard is of an index that others hold; one of
// two that hold the same index. What is damaged and was not needed for that is
// written again where it is: a look at all shards would name it for ever. Before servers get what they did not have, as
// many indices are set aside as there are silent servers.
func (m *Machine) plan(shards []Shard) plan {
	b := &board{
		m: m, shards: shards, holders: make([]int, m.cfg.N),
		taken: make([]bool, m.cfg.P), used: make([]bool, m.cfg.N),
	}
	var p plan
	for s := range shards {
		switch sh := &shards[s]; {
		case sh.State == Silent:
			p.silent++
		case sh.State == Good:
			b.holders[sh.Index]++
		}
	}
	for _, n := range b.holders {
		if n > 0 {
			p.good++
		}
	}
	if p.good < m.cfg.K {
		p.short = m.cfg.N - p.good
		return p
	}
	b.give(&p, b.inPlace)
	p.short = b.wait(p.silent)
	b.give(&p, b.vacant)
	b.give(&p, b.spoilt)
	b.give(&p, b.twice)
	for i := range b.holders {
		if b.holders[i] == 0 && !b.used[i] {
			p.short++
		}
	}
	for s := range shards {
		if i, bad := b.again(s); bad && !b.taken[s] {
			p.writes = append(p.writes, Write{Server: s, Index: i, Replace: true, Surplus: true})
		}
	}
	return p
}

// again says which index a server is given in place of what is damaged: the one it
// claims, or one that others hold, its own first.
func (b *board) again(s int) (index int, bad bool) {
	sh := &b.shards[s]
	switch {
	case sh.State != Damaged:
		return 0, false
	case sh.Index == None:
		own := (s - b.m.cfg.First%b.m.cfg.P + b.m.cfg.P) % b.m.cfg.P
		for i := range b.holders {
			if at := (own + i) % b.m.cfg.N; b.holders[at] > 0 {
				return at, true
			}
		}
		return 0, false
	}
	return sh.Index, sh.Index >= 0 && sh.Index < b.m.cfg.N
}

// give writes what is missing where choose says; −1: nowhere.
func (b *board) give(p *plan, choose func(int) int) {
	for i := range b.holders {
		if b.holders[i] > 0 || b.used[i] {
			continue
		}
		if s := choose(i); s >= 0 {
			b.used[i], b.taken[s] = true, true
			p.writes = append(p.writes, Write{Server: s, Index: i, Replace: b.shards[s].State != Absent})
		}
	}
}

// wait sets aside as many missing indices as there are silent servers, which
// may hold them: first those whose home is silent.
func (b *board) wait(silent int) int {
	waiting := 0
	for _, atHome := range []bool{true, false} {
		for i := range b.holders {
			if waiting == silent || b.holders[i] > 0 || b.used[i] {
				continue
			}
			if !atHome || b.shards[b.home(i)].State == Silent {
				b.used[i] = true
				waiting++
			}
		}
	}
	return waiting
}

func (b *board) home(i int) int { return (b.m.cfg.First + i) % b.m.cfg.P }

// find is the first server from the home of i on that will do.
func (b *board) find(i int, ok func(*Shard) bool) int {
	for d := range b.shards {
		s := (b.home(i) + d) % len(b.shards)
		if !b.taken[s] && ok(&b.shards[s]) {
			return s
		}
	}
	return -1
}

func (b *board) inPlace(i int) int {
	return b.find(i, func(sh *Shard) bool { return sh.State == Damaged && sh.Index == i })
}

func (b *board) vacant(i int) int {
	return b.find(i, func(sh *Shard) bool { return sh.State == Absent })
}

func (b *board) spoilt(i int) int {
	return b.find(i, func(sh *Shard) bool { return sh.State == Damaged })
}

// twice takes one of several good holders of an index; it is counted no more.
func (b *board) twice(i int) int {
	s := b.find(i, func(sh *Shard) bool { return sh.State == Good && b.holders[sh.Index] > 1 })
	if s >= 0 {
		b.holders[b.shards[s].Index]--
	}
	return s
}
