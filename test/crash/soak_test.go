package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSlope(t *testing.T) {
	for _, c := range []struct {
		y    []float64
		want float64
	}{
		{[]float64{5, 5, 5, 5}, 0},
		{[]float64{1, 3, 5, 7}, 2},
		{[]float64{1, 3, 99, 7, 9}, 2}, // one outlier changes nothing
	} {
		var x []float64
		for i := range c.y {
			x = append(x, float64(i))
		}
		if got := slope(x, c.y); got != c.want {
			t.Errorf("slope of %v: %v, want %v", c.y, got, c.want)
		}
	}
}

// intervals makes a run whose flushes and probes take so many times a
// millisecond in each interval, with some noise.
func intervals(flush, probe func(i int) float64) *speed {
	s := &speed{}
	at := time.Unix(0, 0)
	for i := range 30 {
		s.quiet(at)
		for j := range 100 {
			noise := 1 + float64((i*7+j*13)%10)/100
			s.took(time.Duration(flush(i) * noise * 1e6))
			s.probed(time.Duration(probe(i) * noise * 1e6))
		}
		at = at.Add(intervalTime)
	}
	s.quiet(at)
	return s
}

func TestDrift(t *testing.T) {
	steady := func(int) float64 { return 1 }
	worse := func(i int) float64 { return 1 + float64(i)/60 }
	for _, c := range []struct {
		name         string
		flush, probe func(int) float64
		wrong        bool
	}{
		{"steady", steady, steady, false},
		{"slower and slower", worse, steady, true},
		{"the machine is slower and slower", worse, worse, false},
		{"the machine is slower, tlog is not", steady, worse, false},
		{"faster", func(i int) float64 { return 2 - float64(i)/60 }, steady, false},
		{"one bad interval", func(i int) float64 { return 1 + 9*float64(i/29) }, steady, false},
	} {
		d := intervals(c.flush, c.probe).drift()
		if err := d.wrong(); (err != nil) != c.wrong {
			t.Errorf("%s: %v; %+v", c.name, err, d)
		}
	}
	worst := rankSum([]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10})
	if worst < mostZ {
		t.Errorf("z of the smallest run is at most %.2f: its drift would never be found", worst)
	}
	if err := (&speed{}).drift().wrong(); err == nil {
		t.Error("a run without intervals is found right")
	}
}

// Each bound of what a server may keep is held.
func TestSoakJudge(t *testing.T) {
	steady := func(int) float64 { return 1 }
	for _, c := range []struct {
		want   string
		length time.Duration
		change func(i int, u *usage)
	}{
		{"", time.Minute, func(int, *usage) {}},
		{"", time.Minute, func(i int, u *usage) { u.heap += 300 << 10 * min(i, 1) }}, // warming up
		{"heap grew", time.Minute, func(i int, u *usage) { u.heap += i << 20 }},
		{"heap grows", 2 * time.Hour, func(i int, u *usage) { u.heap += i << 19 }},
		{"", 2 * time.Hour, func(i int, u *usage) { u.heap += i << 14 }},
		{"goroutines", time.Minute, func(i int, u *usage) { u.goroutines += 6 * i }},
		{"descriptors", time.Minute, func(i int, u *usage) { u.descriptors += 6 * i }},
		{"", time.Minute, func(i int, u *usage) { u.goroutines -= 21 * (i % 2); u.descriptors += 9 * (i % 2) }}, // connections come and go,
	} {
		r := &soakReport{length: c.length}
		const looks = 6
		for i := range looks {
			k := sample{time.Unix(0, 0).Add(time.Duration(i) * c.length / looks), usage{50, 30, 1 << 20}}
			c.change(i, &k.usage)
			r.kept = append(r.kept, k)
		}
		var found []error
		r.judge(intervals(steady, steady), func(err error) { found = append(found, err) })
		if got := fmt.Sprint(errors.Join(found...)); (c.want == "") != (len(found) == 0) || !strings.Contains(got, c.want) {
			t.Errorf("%v: got %v, want %q", c.length, got, c.want)
		}
	}
}

// Looks that were taken: of a server that leaks a goroutine and a descriptor for
// each connection, and of one that leaks nothing.
func TestRise(t *testing.T) {
	for _, c := range []struct {
		looks []int
		want  int
	}{
		{[]int{54, 54, 58, 63, 66, 46}, 5}, // goroutines that leak
		{[]int{48, 30, 51, 51, 51, 51}, 0},
		{[]int{24, 25, 26, 26, 34, 30}, 4}, // descriptors
	} {
		r := &soakReport{}
		for _, n := range c.looks {
			r.kept = append(r.kept, sample{usage: usage{goroutines: n}})
		}
		if got := r.rise(func(k sample) int { return k.goroutines }); got != c.want {
			t.Errorf("%v: %d, want %d", c.looks, got, c.want)
		}
	}
}
