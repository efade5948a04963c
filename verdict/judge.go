package verdict

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Result is the statement on a route.
type Result string

const (
	Same      Result = "SAME"
	Different Result = "DIFFERENT"
	Unknown   Result = "UNKNOWN"
)

// Criteria of a verdict; what is 0 has its default.
type Criteria struct {
	// Alpha bounds the probability of a false alarm in one call of Judge, over
	// all its routes and fields: 0.01. The bound is for one look at the counts;
	// who judges growing counts again and again has it for each look.
	Alpha float64
	// Pairs is how many a route needs to be called SAME: 1000.
	Pairs uint64
}

// Difference is a field that differed, and what is known of it.
type Difference struct {
	Field
	// Class is the primary's class of status.
	Class string
	// Count of Trials comparisons with the shadow differed.
	Count, Trials uint64
	// Share is Count of Trials. Noise is how often two primaries differ, where
	// NoiseKnown.
	Share, Noise float64
	NoiseKnown   bool
	// P is the probability of at least this many differences if shadow and
	// primary behave alike; 1 where noise is unknown.
	P float64
	// Proven differences are those that noise does not explain.
	Proven      bool
	First, Last time.Time
	RequestIDs  []string
}

// Group is the verdict on a route.
type Group struct {
	Route
	Result      Result
	Pairs       uint64
	Differences []Difference
	OtherFields uint64
	Unpaired    map[string]uint64
	// OneInAnswers is the power reached: a difference in one of so many answers,
	// in a field without noise, is found with a probability of 95 %. OneInBodies
	// is that of bodies. 0: none would have been found.
	OneInAnswers, OneInBodies uint64
	Latency                   []Slower
}

// Slower is how much later the shadow's answers end, at a quantile. The truth is
// between Low and High with a probability of at least 95 %, whatever the
// distribution; not Known are quantiles for which there are too few pairs.
type Slower struct {
	Quantile              float64
	Difference, Low, High time.Duration
	Known                 bool
}

// test is the comparison of a with b, where each of a+b events is one of a with
// probability share if there is nothing to find.
type test struct {
	a, b  uint64
	share float64
	p     float64
	into  *Difference
}

// Judge turns counts into statements, by route.
func Judge(c *Counts, by Criteria) []Group {
	by.Alpha, by.Pairs = cmp.Or(by.Alpha, 0.01), cmp.Or(by.Pairs, 1000)
	var groups []*Group
	var tests []test
	for key, r := range c.Routes {
		g := &Group{Route: key, Result: Unknown, Pairs: r.Pairs(), Unpaired: r.Unpaired, Latency: slower(r)}
		n := 0
		for _, class := range r.Classes {
			n += len(class.Fields)
		}
		g.Differences = make([]Difference, 0, n) // tests point into it
		for name, class := range r.Classes {
			g.OtherFields += class.OtherFields.Shadow
			for f, count := range class.Fields {
				trials := class.trials(f.part())
				d := Difference{Field: f, Class: name, Count: count.Shadow, Trials: trials.Shadow, P: 1,
					First: count.First, Last: count.Last, RequestIDs: count.RequestIDs}
				if d.Count == 0 || d.Trials == 0 {
					continue
				}
				d.Share = float64(d.Count) / float64(d.Trials)
				t := test{a: count.Shadow}
				if trials.Control > 0 {
					d.NoiseKnown, d.Noise = true, float64(count.Control)/float64(trials.Control)
					t.b, t.share = count.Control, ratio(trials)
				} else if reverse, ok := f.Reverse(); ok {
					d.NoiseKnown, t.share = true, 0.5
					for other, counts := range r.Classes {
						// Classes are those of the primary's status: the reverse of a status
						// may be in another class.
						if back := counts.Fields[reverse]; back != nil && (other == name || f.part() == partAnswer) {
							t.b += back.Shadow
						}
					}
					d.Noise = float64(t.b) / float64(d.Trials)
				}
				g.Differences = append(g.Differences, d)
				if d.NoiseKnown {
					t.into = &g.Differences[len(g.Differences)-1]
					tests = append(tests, t)
				}
			}
		}
		groups = append(groups, g)
	}
	for i := range tests {
		t := &tests[i]
		t.p = tail(t.a+t.b, t.share, t.a)
		t.into.P = t.p
	}
	limit := by.Alpha / float64(tarone(tests, by.Alpha))
	for _, t := range tests {
		t.into.Proven = t.p <= limit
	}
	out := make([]Group, 0, len(groups))
	for _, g := range groups {
		g.OneInAnswers, g.OneInBodies = power(c.Routes[g.Route], limit)
		slices.SortFunc(g.Differences, func(a, b Difference) int {
			return cmp.Or(cmp.Compare(a.P, b.P), cmp.Compare(b.Share, a.Share), cmp.Compare(a.Field.String(), b.Field.String()), cmp.Compare(a.Class, b.Class))
		})
		unexplained := g.OtherFields > 0
		for _, d := range g.Differences {
			unexplained = unexplained || !d.NoiseKnown
		}
		switch {
		case slices.ContainsFunc(g.Differences, func(d Difference) bool { return d.Proven }):
			g.Result = Different
		case g.Pairs >= by.Pairs && !unexplained && g.OneInAnswers > 0:
			g.Result = Same
		}
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Mirror, b.Mirror), cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.Template, b.Template), cmp.Compare(a.Method, b.Method))
	})
	return out
}

func ratio(trials Both) float64 {
	return float64(trials.Shadow) / (float64(trials.Shadow) + float64(trials.Control))
}

// tarone returns by how many tests alpha is divided: those with so few events
// that they could not alarm at that level do not count.
func tarone(tests []test, alpha float64) int {
	least := make([]float64, len(tests))
	for i, t := range tests {
		least[i] = math.Pow(t.share, float64(t.a+t.b))
	}
	slices.Sort(least)
	for k := 1; ; k++ {
		able, _ := slices.BinarySearchFunc(least, alpha/float64(k), func(p, limit float64) int {
			if p <= limit {
				return -1
			}
			return 1
		})
		if able <= k {
			return k
		}
	}
}

// tail is P(Bin(n, p) ≥ a).
func tail(n uint64, p float64, a uint64) float64 {
	switch {
	case a == 0 || p >= 1:
		return 1
	case a > n || p <= 0:
		return 0
	}
	if float64(a) <= float64(n)*p {
		// The larger part: one minus the smaller, that of the misses.
		return 1 - tail(n, 1-p, n-a+1)
	}
	lg := func(x uint64) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	term := math.Exp(lg(n) - lg(a) - lg(n-a) + float64(a)*math.Log(p) + float64(n-a)*math.Log1p(-p))
	sum := 0.0
	for k := a; k <= n && term > sum*1e-16; k++ {
		sum += term
		term *= float64(n-k) / float64(k+1) * p / (1 - p)
	}
	return min(sum, 1)
}

// power returns in how many answers and bodies one difference would be found.
func power(r *RouteCounts, limit float64) (answers, bodies uint64) {
	var a, b Both
	for _, c := range r.Classes {
		a, b = a.plus(c.Answers), b.plus(c.Bodies)
	}
	return oneIn(a, limit), oneIn(b, limit)
}

func oneIn(trials Both, limit float64) uint64 {
	if trials.Shadow == 0 {
		return 0
	}
	share := 0.5
	if trials.Control > 0 {
		share = ratio(trials)
	}
	need := math.Ceil(math.Log(limit) / math.Log(share))
	// The mean of a Poisson variable that is at least need in 95 %.
	low, high := need, 10*need+20
	for range 60 {
		mean := (low + high) / 2
		less, term := 0.0, math.Exp(-mean)
		for k := 0.0; k < need; k++ {
			less += term
			term *= mean / (k + 1)
		}
		if less > 0.05 {
			low = mean
		} else {
			high = mean
		}
	}
	return uint64(float64(trials.Shadow) / high)
}

// slower compares quantiles by intervals from ranks, each of at least 97.5 %.
func slower(r *RouteCounts) (out []Slower) {
	const z = 2.2415
	for _, q := range []float64{0.5, 0.9, 0.99} {
		quantile := func(d Durations) (at, low, high time.Duration, ok bool) {
			var n uint64
			for _, c := range d {
				n += c
			}
			mean, off := float64(n)*q, z*math.Sqrt(float64(n)*q*(1-q))
			lo, hi := math.Floor(mean-off), math.Ceil(mean+off)+1
			if lo < 1 || hi > float64(n) {
				return 0, 0, 0, false
			}
			// Half a step is what rounding may have done.
			down := func(t time.Duration) time.Duration { return time.Duration(float64(t) / 1.01) }
			up := func(t time.Duration) time.Duration { return time.Duration(float64(t) * 1.01) }
			return d.rank(uint64(math.Ceil(mean))), down(d.rank(uint64(lo))), up(d.rank(uint64(hi))), true
		}
		p, pl, ph, ok := quantile(r.PrimaryLatency)
		s, sl, sh, both := quantile(r.ShadowLatency)
		d := Slower{Quantile: q}
		if d.Known = ok && both; d.Known {
			d.Difference, d.Low, d.High = s-p, sl-ph, sh-pl
		}
		out = append(out, d)
	}
	return out
}
