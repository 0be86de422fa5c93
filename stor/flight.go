package stor

import (
	"time"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/failpoint"
)

// flight is a position from Publish to Release. The log owns it, under its mu;
// a hedge that could not be stopped keeps it from being recycled.
type flight struct {
	log      *Log
	position tlog.Position
	digest   tlog.Hash
	shards   Shards
	done     func(error)
	hedge    *time.Timer // kept from one position to the next
	hedging  bool        // it runs
	spent    bool        // it may have begun, and may look at the flight at any time
}

func newFlight() *flight { return new(flight) }

func (f *flight) startHedge() {
	f.stopHedge()
	if f.hedge == nil {
		f.hedge = time.AfterFunc(hedgeTime, f.late)
	} else {
		f.hedge.Reset(hedgeTime)
	}
	f.hedging = true
}

func (f *flight) late() {
	failpoint.Here("append.hedge")
	f.log.step(appending.Late{Position: f.position})
}

// stopHedge notes when it came too late: then late may be looking at f.
func (f *flight) stopHedge() {
	if f.hedging && !f.hedge.Stop() {
		f.spent = true
	}
	f.hedging = false
}

// free gives the flight back.
func (f *flight) free() {
	f.stopHedge()
	if f.spent {
		return
	}
	p := f.log.pool
	*f = flight{hedge: f.hedge}
	p.flights.Put(f)
}
