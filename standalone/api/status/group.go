package status

import "time"

// group is the rows of a data plane whose copies Envoy counts together: those
// with one mirror cluster, or with clusters of one name.
type group struct {
	prefix string
	rows   []*row
	// failing says that of the latest copies none reached the shadow.
	failing bool
	// resolution is as of the latest flush, where the cluster is one by DNS.
	resolution resolution
}

// count shares what was counted among the rows: each gets as much as it should
// have copied of its route's requests.
func (g *group) count(c copies, shadow *summary, of *interval, routes []sample) {
	switch {
	case c.sent > 0:
		g.failing = false
	case c.dropped.NoHealthyEndpoint+c.dropped.ConnectionFailure > 0:
		g.failing = true
	}

	var sum, known float64
	weights := make([]float64, len(g.rows))
	for i, r := range g.rows {
		weights[i] = float64(routes[i].sent) * r.spec.outcome.Percentage
		sum += weights[i]
		known += r.weight
	}
	for i, r := range g.rows {
		share := 1 / float64(len(g.rows))
		switch {
		case sum > 0:
			r.weight = weights[i]
			share = weights[i] / sum
		case known > 0:
			// Copies of requests that were counted before.
			share = r.weight / known
		}
		s := routes[i]
		s.of = of
		s.copies.add(c, share)
		s.shadow = shadow
		r.count(s)
	}
}

// interval is from one flush of an Envoy to the next.
type interval struct{ from, to time.Time }
