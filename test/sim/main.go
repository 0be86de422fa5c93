// Command sim runs the simulator over many seeds, and prints the trace of one
// that fails. Its last line is one for machines.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tlog/internal/sim"
)

func main() {
	seeds := flag.Int("seeds", 3000, "how many seeds to run")
	base := flag.Uint64("base", 0, "the first seed; 0: from the clock")
	one := flag.Uint64("seed", 0, "run this seed only, and print its trace")
	plain := flag.Bool("plain", false, "without cold script caches, repair and replacement: what a seed gave before those were simulated")
	flag.Parse()
	simulate := sim.Run
	if *plain {
		simulate = sim.RunPlain
	}
	if *one != 0 {
		os.Exit(replay(simulate, *one))
	}
	if *base == 0 {
		*base = uint64(time.Now().UnixNano()) / 1e6 % 1e12
	}
	os.Exit(run(simulate, *base, *seeds))
}

// simulator is sim.Run, or sim.RunPlain.
type simulator func(uint64, io.Writer) sim.Result

// replay prints one seed's trace.
func replay(simulate simulator, seed uint64) int {
	out := bufio.NewWriter(os.Stdout)
	r := simulate(seed, out)
	fmt.Fprintf(out, "sim: seed %d: %d events, %v, trace %016x\n", seed, r.Steps, r.Virtual, r.Hash)
	return report(out, 1, r.Virtual, []sim.Result{r})
}

// run runs so many seeds on all processors.
func run(simulate simulator, base uint64, seeds int) int {
	fmt.Printf("sim: seeds %d to %d\n", base, base+uint64(seeds)-1)
	var next, virtual, records, events, repaired, replaced, regained atomic.Int64
	var mu sync.Mutex
	var all []sim.Result
	var wg sync.WaitGroup
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(seeds); i = next.Add(1) - 1 {
				r := simulate(base+uint64(i), nil)
				virtual.Add(int64(r.Virtual))
				records.Add(int64(r.Records))
				events.Add(int64(r.Steps))
				repaired.Add(int64(r.Repaired))
				replaced.Add(int64(r.Replaced))
				regained.Add(int64(r.Regained))
				if r.Err != nil {
					mu.Lock()
					all = append(all, r)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	fmt.Printf("sim: %d events, %d durable records, in %v\n", events.Load(), records.Load(), time.Since(start).Round(time.Second))
	fmt.Printf("sim: %d shards repaired, %d servers replaced, %d losses made good\n", repaired.Load(), replaced.Load(), regained.Load())
	out := bufio.NewWriter(os.Stdout)
	return report(out, seeds, time.Duration(virtual.Load()), all)
}

// report prints what was found, and the line for machines.
func report(out *bufio.Writer, seeds int, virtual time.Duration, results []sim.Result) int {
	violations := 0
	for _, r := range results {
		if r.Err != nil {
			violations++
			fmt.Fprintf(out, "sim: seed %d: %v\n", r.Seed, r.Err)
		}
	}
	fmt.Fprintf(out, "sim: seeds=%d violations=%d hours=%d\n", seeds, violations, int(virtual.Hours()))
	if err := out.Flush(); err != nil || violations > 0 {
		return 1
	}
	return 0
}
