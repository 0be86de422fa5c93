package takeover

// round is one question put to several servers. An answer counts once, and
// only while its round is the current one.
type round struct {
	id      int
	waiting []bool // by server: asked, not answered
	voted   []bool // by server: answered well
	asked   int
	open    int  // asked, not answered
	good    int  // answered well
	started bool // the grace time was asked for
	grace   bool // and is over
}

func (r *round) begin(ask []bool) {
	*r = round{id: r.id + 1, waiting: append([]bool(nil), ask...), voted: make([]bool, len(ask))}
	for _, asked := range ask {
		if asked {
			r.asked++
			r.open++
		}
	}
}

// answer books the answer of a server and reports whether it counts.
func (r *round) answer(id, server int, good bool) bool {
	if id != r.id || !r.waiting[server] {
		return false
	}
	r.waiting[server] = false
	r.open--
	if good {
		r.good++
		r.voted[server] = true
	}
	return true
}

func (r *round) graceOver(id int) {
	if id == r.id && r.started {
		r.grace = true
	}
}
