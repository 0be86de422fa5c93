package bench

import (
	"math"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{3, 1}, 2},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 100, 1, 2}, 3},
	} {
		if got := Median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
}

// Every duration lies in its bucket, and a bucket is narrow.
func TestBuckets(t *testing.T) {
	for d := time.Duration(1); d < time.Hour; d += d/7 + 1 {
		b := bucket(d)
		if up := upper(b); up < d || float64(up) > float64(d)*(1+1.0/subBuckets) {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, b, up)
		}
		if b > 0 && upper(b-1) >= d {
			t.Fatalf("%v is in bucket %d, but the one before ends at %v", d, b, upper(b-1))
		}
	}
	if bucket(-1) != 0 || bucket(1<<62) != 48*subBuckets-1 {
		t.Error("what is out of range is not in the outermost buckets")
	}
}

func TestQuantiles(t *testing.T) {
	var a, b Latencies
	for i := 1; i <= 1000; i++ {
		l := &a
		if i%3 == 0 {
			l = &b
		}
		l.Add(time.Duration(i) * time.Microsecond)
	}
	a.Merge(&b)
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond, 1: time.Millisecond} {
		if got := a.Quantile(q); got < want || float64(got) > float64(want)*1.02 {
			t.Errorf("quantile %v is %v, want %v and at most 2 %% more", q, got, want)
		}
	}
	if s := a.Spread(); s.Count != 1000 || s.P50 != a.Quantile(0.5) || s.P99 != a.Quantile(0.99) {
		t.Errorf("spread %+v", s)
	}
	if got := new(Latencies).Quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

func TestMedians(t *testing.T) {
	got := medians([]Values{{"mbps": 1, "ratio": 5}, {"mbps": 9}, {"mbps": 2}})
	if len(got) != 2 || got["mbps"] != 2 || got["ratio"] != 5 {
		t.Errorf("medians are %v", got)
	}
}
