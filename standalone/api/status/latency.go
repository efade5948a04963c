package status

import "math"

// quantiles are those that Envoy gives of a histogram, all of them.
var quantiles = [...]float64{0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1}

// summary is what Envoy says of the latencies since it last said so.
type summary struct {
	count uint64
	sum   float64 // ms
	at    [len(quantiles)]float32
}

// below is the share of the latencies that are at most x; linear between the
// quantiles.
func (s *summary) below(x float64) float64 {
	last := len(quantiles) - 1
	switch {
	case x < float64(s.at[0]):
		return 0
	case x >= float64(s.at[last]):
		return 1
	}
	i := 0
	for x >= float64(s.at[i+1]) {
		i++
	}
	from, to := float64(s.at[i]), float64(s.at[i+1])
	return quantiles[i] + (quantiles[i+1]-quantiles[i])*(x-from)/(to-from)
}

// latencyOf takes summaries together; nil where they are of nothing.
func latencyOf(all []*summary) *Latency {
	var count uint64
	var sum float64
	low, high := math.Inf(1), 0.0
	for _, s := range all {
		count += s.count
		sum += s.sum
		low = min(low, float64(s.at[0]))
		high = max(high, float64(s.at[len(s.at)-1]))
	}
	if count == 0 {
		return nil
	}
	// quantile searches for where the share of all latencies is q.
	quantile := func(q float64) float64 {
		low, high := low, high
		for high-low > 0.001+high/1000 { // Envoy's own buckets are coarser
			x := (low + high) / 2
			var below float64
			for _, s := range all {
				below += float64(s.count) * s.below(x)
			}
			if below < q*float64(count) {
				low = x
			} else {
				high = x
			}
		}
		return round(high)
	}
	return &Latency{
		Count: count, Mean: round(sum / float64(count)),
		P50: quantile(0.5), P90: quantile(0.9), P99: quantile(0.99),
	}
}

// round keeps microseconds.
func round(ms float64) float64 { return math.Round(ms*1000) / 1000 }
