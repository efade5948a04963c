package impact

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Estimate is a figure that was taken several times. Between Low and High lies
// the true median with a confidence of 95 per cent, by the order of the values
// alone, whatever their distribution is; of fewer than six they are the least
// and the greatest, which is less sure.
type Estimate struct {
	Median, Low, High float64
	// Of is the number of values.
	Of int
}

// String is such as "1.02 (0.98 to 1.05)", or the median alone if there is but one
// value.
func (e Estimate) String() string {
	if e.Of < 2 {
		return fmt.Sprintf("%.2f", e.Median)
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", e.Median, e.Low, e.High)
}

// Sure says that there are values enough for an interval of 95 per cent.
func (e Estimate) Sure() bool { return e.Of >= 6 }

func estimate(values []float64) Estimate {
	n := len(values)
	if n == 0 {
		return Estimate{}
	}
	sorted := slices.Sorted(slices.Values(values))
	outside := outsideMedian(n)
	return Estimate{Median: median(values), Low: sorted[outside], High: sorted[n-1-outside], Of: n}
}

// outsideMedian is how many of n values at either end an interval for the
// median can do without. Each value falls below the true median with a
// probability of one half, so that their number is that of heads in n throws.
func outsideMedian(n int) int {
	logFactorial := func(n int) float64 {
		l, _ := math.Lgamma(float64(n) + 1)
		return l
	}
	below := 0.0
	for k := range n {
		below += math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) - float64(n)*math.Ln2)
		if below > 0.025 {
			return max(0, k-1)
		}
	}
	return 0
}

// median of an even number of values lies between the two in the middle.
func median[T time.Duration | float64](of []T) T {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile is the smallest value that p per cent of the values do not exceed.
func percentile[T cmp.Ordered](of []T, p int) T {
	var zero T
	if len(of) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// latencies are percentiles of some rounds; of each the median counts, so that
// one disturbed round does not.
type latencies struct{ p50, p99 []time.Duration }

func (l *latencies) add(of []time.Duration) {
	l.p50 = append(l.p50, percentile(of, 50))
	l.p99 = append(l.p99, percentile(of, 99))
}

func (l *latencies) figures() Latency {
	return Latency{P50: milliseconds(median(l.p50)), P99: milliseconds(median(l.p99))}
}

// rounds are those of each round.
func (l *latencies) rounds() []Latency {
	var out []Latency
	for i := range l.p50 {
		out = append(out, Latency{P50: milliseconds(l.p50[i]), P99: milliseconds(l.p99[i])})
	}
	return out
}

// round keeps three digits after the point.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// milliseconds and seconds are as exact as figures in a file need to be.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
