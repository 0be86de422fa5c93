package bench

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// Median is the middle of values, or the mean of the two in the middle; NaN of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// subBuckets is how many buckets each power of two has: a quantile is at most
// 1.6 % too high.
const subBuckets = 64

// Latencies counts durations in buckets. The zero value is empty; it is not
// safe for concurrent use.
type Latencies struct {
	counts [48 * subBuckets]uint32
	n      int
}

// Add counts one.
func (l *Latencies) Add(d time.Duration) {
	l.counts[bucket(d)]++
	l.n++
}

// Merge counts what m has counted.
func (l *Latencies) Merge(m *Latencies) {
	for i, c := range m.counts {
		l.counts[i] += c
	}
	l.n += m.n
}

// bucket is exact below subBuckets nanoseconds.
func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	shift := max(bits.Len64(v)-bits.Len(subBuckets), 0)
	return min(shift*subBuckets+int(v>>shift), 48*subBuckets-1)
}

// upper is the end of a bucket.
func upper(b int) time.Duration {
	if b < 2*subBuckets {
		return time.Duration(b)
	}
	shift := b/subBuckets - 1
	return time.Duration((uint64(b-shift*subBuckets)+1)<<shift) - 1
}

// Quantile is the duration that the q-th part of all are not above, 0 of none.
func (l *Latencies) Quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(l.n)))
	seen := 0
	for b, c := range l.counts {
		if seen += int(c); c > 0 && seen >= rank {
			return upper(b)
		}
	}
	return 0
}

// Spread is a few quantiles of latencies.
type Spread struct {
	Count    int
	P50, P99 time.Duration
}

// Spread is what is told of l.
func (l *Latencies) Spread() Spread { return Spread{l.n, l.Quantile(0.50), l.Quantile(0.99)} }
