package sim

import (
	"math/rand/v2"
	"time"
)

// extra is what was added to the simulation after swarm: drawn from a stream
// of its own, so that a seed that draws none of it runs as it always did.
type extra struct {
	on       bool
	geometry geometry      // zero: as swarm drew it
	noScript time.Duration // mean time between losses of a script cache; 0: caches are never cold

	repair                  bool // owners repair
	repairEvery, scrubEvery time.Duration
	repairPage              int
	phases                  int           // more of them
	rot, wipe               time.Duration // more damage, since it is made good
	replace                 time.Duration // mean time until an operator looks for wiped servers; 0: nobody does
	killOperator            float64
	cutOperator             float64
	lazy                    bool // the first pass over a log is late, as over a long one
}

// wide are pools of which what was not committed may be claimed by k servers.
var wide = []geometry{{2, 1, 5, 3}, {1, 1, 4, 2}, {2, 2, 6, 4}, {1, 2, 5, 3}}

func drawExtra(seed uint64) extra {
	r := rand.New(rand.NewPCG(seed, 0x65787472))
	if r.IntN(4) == 0 {
		return extra{}
	}
	x := extra{on: true}
	pick := func(vs ...int) int { return vs[r.IntN(len(vs))] }
	every := func(least time.Duration) time.Duration { return least + time.Duration(r.Int64N(int64(4*least))) }
	const sec = time.Second
	if r.IntN(2) == 0 {
		x.noScript = every(sec / 4)
	}
	if r.IntN(6) == 0 {
		x.geometry = wide[r.IntN(len(wide))]
	}
	if r.IntN(4) > 0 {
		x.repair = true
		x.repairEvery, x.scrubEvery = time.Duration(pick(1, 3, 10))*sec, time.Duration(pick(2, 5, 15))*sec
		x.repairPage, x.phases = pick(4, 64, 1024), pick(0, 1, 2)
		if r.IntN(2) == 0 {
			x.rot = every(sec / 2)
		}
		if r.IntN(4) > 0 {
			x.replace, x.wipe = every(sec), every(2*sec)
			x.killOperator, x.cutOperator = float64(pick(0, 1, 4))/10, float64(pick(0, 2))/10
		}
		x.lazy = r.IntN(3) == 0
	}
	return x
}

// change is what it changes in what swarm drew.
func (x *extra) change(s *swarm) {
	s.phases += x.phases
	if x.geometry != (geometry{}) {
		s.pool = x.geometry
	}
}
