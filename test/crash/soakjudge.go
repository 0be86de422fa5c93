package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// sample is what the survivor kept at rest, its garbage collected.
type sample struct {
	at time.Time
	usage
}

// soakReport is what a soak found.
type soakReport struct {
	length            time.Duration
	most              float64 // records/s of the calibration
	faults            map[string]int
	verified          int // comparisons of all logs
	restores          int
	records, flushes  int
	slowest           time.Duration // to flush again after a fault
	kept              []sample
	drift             drift
	heapSlope, growth float64 // MiB/h; MiB from the first half to the second
	over              overloadReport
}

func (r *soakReport) struck(name string) {
	if r.faults == nil {
		r.faults = map[string]int{}
	}
	r.faults[name]++
}

// Bounds of what the survivor may keep more in the second half of the run than in
// the first. A repair that runs while it is looked at has some memory. Connections to shard servers
// come and go with faults, and each has goroutines and a descriptor: those are
// not flat if the second half of the run mostly has more than the first half had
// at most, and a few more.
const (
	mostSlope       = 1.0 // MiB/h, of an hour or more
	mostGrowth      = 2.0 // MiB, of less: the slope of minutes says nothing
	mostGoroutines  = 4
	mostDescriptors = 6
	slopeFrom       = time.Hour
)

// rise is how much the median of the second half is above the most of the first.
func (r *soakReport) rise(of func(sample) int) int {
	half := len(r.kept) / 2
	var first, second []int
	for _, k := range r.kept[:half] {
		first = append(first, of(k))
	}
	for _, k := range r.kept[half:] {
		second = append(second, of(k))
	}
	slices.Sort(second)
	return second[(len(second)-1)/2] - slices.Max(first)
}

// judge holds what was measured against the bounds.
func (r *soakReport) judge(s *speed, violated func(error)) {
	if len(r.kept) < 3 {
		violated(fmt.Errorf("%d looks at what the server keeps are too few", len(r.kept)))
		return
	}
	var hours, heap []float64
	for _, k := range r.kept {
		hours = append(hours, k.at.Sub(r.kept[0].at).Hours())
		heap = append(heap, float64(k.heap)/(1<<20))
	}
	half := len(heap) / 2
	r.heapSlope, r.growth = slope(hours[1:], heap[1:]), median(heap[half:])-median(heap[:half])
	switch {
	case r.length >= slopeFrom && r.heapSlope >= mostSlope:
		violated(fmt.Errorf("the server's heap grows by %.2f MiB/h, its garbage collected", r.heapSlope))
	case r.length < slopeFrom && r.growth >= mostGrowth:
		violated(fmt.Errorf("the server's heap grew by %.2f MiB, its garbage collected", r.growth))
	}
	if n := r.rise(func(k sample) int { return k.goroutines }); n > mostGoroutines {
		violated(fmt.Errorf("the server has %d goroutines more at rest mostly, in the second half, than it ever had in the first", n))
	}
	if n := r.rise(func(k sample) int { return k.descriptors }); n > mostDescriptors {
		violated(fmt.Errorf("the server has %d descriptors more open at rest mostly, in the second half, than it ever had in the first", n))
	}
	r.drift = s.drift()
	if err := r.drift.wrong(); err != nil {
		violated(err)
	}
}

// print is the table, and the line for machines.
func (r *soakReport) print(c *soakConfig, violations int) {
	sum := 0
	var names []string
	for name, n := range r.faults {
		names = append(names, fmt.Sprintf("  %-64s %8d\n", name, n))
		sum += n
	}
	slices.Sort(names)
	row := func(what, format string, a ...any) { fmt.Printf("%-66s %8s\n", what, fmt.Sprintf(format, a...)) }
	fmt.Println()
	if c.length > 0 {
		row("duration", "%v", r.length.Round(time.Second))
		row("records/s made durable at most; asked for", "%.0f; %.0f", r.most, loadShare*r.most)
		row("faults", "%d", sum)
		for _, n := range names {
			fmt.Print(n)
		}
		row("all logs compared with what was sent; restores", "%d; %d", r.verified, r.restores)
		row("records sent; FlushOK seen", "%d; %d", r.records, r.flushes)
		row("slowest to flush after a fault, or at rest", "%v", r.slowest.Round(time.Millisecond))
		for i, k := range r.kept {
			row(fmt.Sprintf("at rest, look %d, %v: heap after GC, goroutines, descriptors", i+1, k.at.Sub(r.kept[0].at).Round(time.Second)),
				"%.2f MiB, %d, %d", float64(k.heap)/(1<<20), k.goroutines, k.descriptors)
		}
		row("heap: median of the second half over that of the first; slope", "%+.2f MiB; %+.2f MiB/h", r.growth, r.heapSlope)
		d := r.drift
		row(fmt.Sprintf("p99 of Flush, median of %v: first third, last third", intervalTime), "%.1f, %.1f ms", 1e3*d.first, 1e3*d.last)
		row("p99 of SET at a bare Redis beside it", "%.1f, %.1f ms", 1e3*d.probeFirst, 1e3*d.probeLast)
		row("drift; against the bare Redis; z of a rank test; intervals", "%+.1f %%; %+.1f %%; %.1f; 2 x %d", 100*d.raw(), 100*d.beside(), d.z, d.n)
	}
	if c.stall > 0 {
		r.over.print(row)
	}
	last := usage{}
	if len(r.kept) > 0 {
		last = r.kept[len(r.kept)-1].usage
	}
	fmt.Printf("soak: duration=%v faults=%d verified=%d violations=%d heap=%.2fMiB slope=%.2fMiB/h goroutines=%d descriptors=%d p99=%.1fms drift=%.1f%% overload=%.1fx peak=%.0fMiB recovery=%v\n",
		r.length.Round(time.Second), sum, r.verified+r.over.verified, violations, float64(last.heap)/(1<<20), r.heapSlope, last.goroutines, last.descriptors,
		1e3*r.drift.last, 100*r.drift.raw(), r.over.ratio(), r.over.peak, max(r.slowest, r.over.recovery).Round(time.Millisecond))
}

// slope is the median of the slopes between any two points (Theil and Sen).
func slope(x, y []float64) float64 {
	var all []float64
	for i := range x {
		for j := range i {
			all = append(all, (y[i]-y[j])/(x[i]-x[j]))
		}
	}
	if len(all) == 0 {
		return 0
	}
	return median(all)
}

// rankSum is the z of the rank sum test of Mann and Whitney: above 0 if b tends
// to be greater than a.
func rankSum(a, b []float64) float64 {
	u := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case y > x:
				u++
			case y == x:
				u += 0.5
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	return (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}
