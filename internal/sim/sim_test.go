package sim_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tlog/internal/sim"
)

// TestSeeds runs the same seeds each time; `make sim` runs fresh ones.
func TestSeeds(t *testing.T) {
	seeds := int64(250)
	if testing.Short() {
		seeds = 25
	}
	var next, records atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1); i <= seeds; i = next.Add(1) {
				r := sim.Run(uint64(i), nil)
				if r.Err != nil {
					t.Errorf("seed %d: %v (make sim SEED=%d prints the trace)", i, r.Err, i)
				}
				records.Add(int64(r.Records))
			}
		})
	}
	wg.Wait()
	if n := records.Load(); n < 50*seeds {
		t.Errorf("%d records became durable in %d seeds: the simulation does too little", n, seeds)
	}
}

// TestFound are seeds that found something, and what it was. Those from before
// repair and replacement were simulated run without them, as they did then.
func TestFound(t *testing.T) {
	for _, c := range []struct {
		name string
		seed uint64
		run  func(uint64, io.Writer) sim.Result
	}{
		// A client whose vdisk another one tried to take twice, and did not get, gave
		// up for ever as if its records had been refused.
		{"takeover that fails twice", 795916196095, sim.Run},
		// A store that was wiped between its promise and the reading of its metas
		// voted as if it had never held anything.
		{"wiped while it votes", 795263455049, sim.RunPlain},
		// The simulation's own: a client that was started again after the faults had
		// stopped wrote on, faster than its credit let it flush.
		{"guest that does not stop", 100728, sim.RunPlain},
		// An operator was interrupted as half of the servers had the new manifest: the
		// old one did not rule any more, the new one not yet, and nobody could open the
		// pool, not even to finish the change.
		{"replacement that nobody can finish", 243, sim.Run},
		// The log of an owner without writes died as a shard server was replaced: nobody
		// noticed, so that nothing was repaired, and the new server never voted.
		{"dead log of an idle owner", 20, sim.Run},
		// The simulation's own: an operator and an owner had made the same change of the
		// manifest, and the owner's was not taken for the one that ruled.
		{"a change made twice", 795900476651, sim.Run},
		{"a change made twice, with six servers", 795900470563, sim.Run},
		// The simulation's own: of a wiped, a rolled back and a third server the reader
		// reached the second one only: one loss more than is covered.
		{"a rolled back server, and one too many away", 795902439557, sim.Run},
		// The simulation's own: of two changes of the manifest at once one left a new
		// server with a cookie that nothing names, and the operator did not wipe it.
		{"a new server that is not empty", 795903112254, sim.Run},
		// The simulation's own: passes over a log of thousands of positions, every few
		// seconds, were more events than a run might have.
		{"a long log, looked at often", 795900473223, sim.Run},
		// The simulation's own: answers to a server's life before reached the one after,
		// where a takeover for a client that was long gone went on.
		{"a takeover of a life before", 795911028490, sim.Run},
		// An owner ended a joining, and lost its power when four of the five servers that
		// this takes had it: the tools say to run stores replace, and the operator did not.
		{"a joining that was ended on too few", 795943616346, sim.Run},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := c.run(c.seed, nil); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
}

// A seed gives the same run, byte by byte: what it found can be looked at.
func TestSeedReplays(t *testing.T) {
	for seed := range uint64(5) {
		var one, two bytes.Buffer
		a, b := sim.Run(seed, &one), sim.Run(seed, &two)
		if a.Hash != b.Hash || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("seed %d: traces %016x and %016x differ", seed, a.Hash, b.Hash)
		}
		if c := sim.Run(seed, nil); c.Hash != a.Hash {
			t.Errorf("seed %d: %016x without a trace, %016x with one", seed, c.Hash, a.Hash)
		}
		if first := fmt.Sprintf("seed %d", seed); !strings.Contains(one.String(), first) {
			t.Errorf("the trace does not name its %s", first)
		}
	}
	// What draws none of what was added later runs as it did before.
	if a, b := sim.Run(4, nil), sim.RunPlain(4, nil); a.Hash != b.Hash {
		t.Errorf("seed 4: %016x, and plain %016x", a.Hash, b.Hash)
	}
	if sim.Run(1, nil).Hash == sim.Run(2, nil).Hash {
		t.Error("two seeds give one trace")
	}
}
