package status

import (
	"fmt"
	"iter"
	"maps"
	"math"
)

// Classes are the answers by class, "2xx" to "5xx", in this order.
func (a Answers) Classes() iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		_ = yield("2xx", a.Success) && yield("3xx", a.Redirect) && yield("4xx", a.ClientError) && yield("5xx", a.ServerError)
	}
}

// difference says by which class of statuses the shadow's answers differ most
// from the primary's; "" where they do not by more than one point and what
// chance does to shares of so many answers: four standard deviations, which one
// of 15,000 comparisons exceeds.
func difference(primary, shadow Answers) string {
	n, m := primary.Sum(), shadow.Sum()
	if n == 0 || m == 0 {
		return ""
	}
	of := maps.Collect(primary.Classes())
	most, text := 0.0, ""
	for class, count := range shadow.Classes() {
		p, s := of[class]/n, count/m
		pooled := (of[class] + count) / (n + m)
		chance := 4 * math.Sqrt(pooled*(1-pooled)*(1/n+1/m))
		if d := s - p; d > 0.01+chance && d > most {
			most = d
			text = fmt.Sprintf("the shadow answers %s to %.3g %% of the copies, the primary to %.3g %% of the requests", class, 100*s, 100*p)
		}
	}
	return text
}
