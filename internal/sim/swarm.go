package sim

import (
	"math/rand/v2"
	"time"
)

// geometry is that of a pool.
type geometry struct{ k, m, p, w int }

func (g geometry) n() int { return g.k + g.m }

// r is the number of answers a reader needs: PROTOCOL's f_w + f_r ≤ m.
func (g geometry) r() int { return g.p + g.k - g.w }

// losses are covered by an acknowledgement.
func (g geometry) losses() int { return g.w - g.k }

var geometries = []geometry{
	{1, 1, 2, 2}, {1, 1, 3, 2}, {1, 2, 3, 3}, {1, 2, 4, 3}, {1, 2, 3, 2},
	{2, 1, 3, 3}, {2, 1, 4, 3}, {2, 2, 4, 4}, {2, 2, 5, 4}, {2, 2, 4, 3}, {3, 2, 7, 5},
	{4, 2, 6, 6}, {4, 2, 7, 6}, {4, 2, 8, 6}, {4, 2, 6, 5},
}

// swarm is which faults a run has, and how many: every run has others, since
// faults that hide each other are found by runs that lack one of them.
type swarm struct {
	pool          geometry
	servers       int
	page, window  int
	inFlight      int
	maxRecords    int
	credit        uint32
	windowRecords int
	unflushed     int
	appendEvery   time.Duration
	flushEvery    time.Duration
	phases        int
	phaseLength   time.Duration

	// Each message between a server and a shard server: chances.
	lose, answerLost, late, twice, noData, reset float64

	// Mean times between faults; 0: none of the kind.
	killServer, pauseServer, clockStep, cutServer time.Duration
	crashStore, pauseStore, refuseStore, slow     time.Duration
	killClient, pauseClient, rival, cutClient     time.Duration
	flip, swap, wipe, powerLoss, shutdown         time.Duration
	rebatch, repeat, gap                          float64 // each batch on its way to a server
	rollBack, amnesiac                            bool    // at the end
}

func drawSwarm(r *rand.Rand) swarm {
	pick := func(vs ...int) int { return vs[r.IntN(len(vs))] }
	chance := func(most float64) float64 {
		if r.IntN(3) > 0 {
			return 0
		}
		return most * r.Float64()
	}
	every := func(least time.Duration) time.Duration {
		if r.IntN(2) > 0 {
			return 0
		}
		return least + time.Duration(r.Int64N(int64(4*least)))
	}
	s := swarm{
		pool: geometries[r.IntN(len(geometries))], servers: pick(1, 2, 2, 2, 3),
		page: pick(1, 2, 3, 1024), window: pick(1, 2, 8), inFlight: pick(1, 2, 4, 8), maxRecords: pick(1, 4, 16, 256),
		credit: uint32(pick(1, 4, 32, 16384)), windowRecords: pick(1, 8, 64, 1024), unflushed: pick(2, 16, 32768),
		appendEvery: time.Duration(pick(5, 40, 200)) * time.Millisecond,
		flushEvery:  time.Duration(pick(50, 500, 3000)) * time.Millisecond,
		phases:      pick(1, 2, 3), phaseLength: time.Duration(pick(3, 10, 30)) * time.Second,

		lose: chance(0.1), answerLost: chance(0.1), late: chance(0.1), twice: chance(0.2), noData: chance(0.05), reset: chance(0.05),
		rebatch: chance(0.5), repeat: chance(0.3), gap: chance(0.02),
	}
	const sec = time.Second
	s.killServer, s.pauseServer, s.clockStep, s.cutServer = every(2*sec), every(2*sec), every(2*sec), every(2*sec)
	s.crashStore, s.pauseStore, s.refuseStore, s.slow = every(sec), every(2*sec), every(2*sec), every(2*sec)
	s.killClient, s.pauseClient, s.rival, s.cutClient = every(2*sec), every(2*sec), every(4*sec), every(sec)
	s.flip, s.swap, s.wipe, s.powerLoss, s.shutdown = every(2*sec), every(4*sec), every(4*sec), every(4*sec), every(4*sec)
	s.rollBack, s.amnesiac = r.IntN(4) == 0, r.IntN(4) == 0
	return s
}
