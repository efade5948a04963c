package impact

import (
	"fmt"
	"strings"
)

// totals are of all cells of a variant; the cells in it are the worst ones.
type totals struct {
	cells, requests, failed int
	uploads, bursts         Estimate // of the ratios of all pairs
	upload                  Cell
	p99                     Cell
	memory                  Cell
	resumed                 Cell
	leftRequests            int64
	leftConnections         int64
	leftAllocated           Cell // of measured ones, of which there are
	leftMeasured            int
}

func (r *Results) totals(protections bool) totals {
	t := totals{p99: Cell{Answers: &Answers{}}, upload: Cell{Upload: &Upload{}}}
	var uploads, bursts []float64
	for _, c := range r.Cells {
		if c.Protections != protections {
			continue
		}
		t.cells++
		t.requests += c.Requests
		t.failed += c.Failed
		if u := c.Upload; u != nil {
			uploads = append(uploads, u.ratios()...)
			if u.Estimate().Median > t.upload.Upload.Estimate().Median {
				t.upload = c
			}
		}
		if a := c.Answers; a != nil && a.Healthy != nil {
			if c.Shadow != Healthy {
				bursts = append(bursts, a.ratios(ofHealthy)...)
			}
			if a.Mirrored.P99 > t.p99.Answers.Mirrored.P99 {
				t.p99 = c
			}
		}
		if c.grown() >= t.memory.grown() {
			t.memory = c
		}
		if c.Resumed < 0 || t.resumed.Resumed >= 0 && c.Resumed > t.resumed.Resumed {
			t.resumed = c
		}
		t.leftRequests += c.LeftRequests
		t.leftConnections = max(t.leftConnections, c.LeftConnections)
		if c.LeftAllocated != nil {
			t.leftMeasured++
			if t.leftAllocated.LeftAllocated == nil || *c.LeftAllocated > *t.leftAllocated.LeftAllocated {
				t.leftAllocated = c
			}
		}
	}
	t.uploads, t.bursts = estimate(uploads), estimate(bursts)
	return t
}

// name is the cell's place in the matrix, without its load.
func (c Cell) name() string { return fmt.Sprintf("%s over %s", c.Shadow, c.Protocol) }

// memoryBound is what Envoy may grow by.
func (r *Results) memoryBound() int64 {
	return int64(r.Limits.MaxConcurrentRequests)*int64(r.Limits.MaxRequestBodyBytes) + MemoryReserve
}

// MaxRateRatio is the goal for the p99 at a steady rate with a healthy shadow
// over that without a mirror.
const MaxRateRatio = 1.5

// verdict on a goal. Unknown is what too few pairs do not tell.
type verdict string

const (
	met     verdict = "yes"
	missed  verdict = "**no**"
	unknown verdict = "not known"
)

func metIf(is bool) verdict {
	if is {
		return met
	}
	return missed
}

// ratioMisses are the cells whose ratio is over a bound.
type ratioMisses struct {
	cells  []string
	unsure int // cells with too few pairs to be in cells or not
}

func (m *ratioMisses) add(e Estimate, over bool, format string, args ...any) {
	if !e.Sure() {
		m.unsure++
	} else if over {
		m.cells = append(m.cells, fmt.Sprintf(format, args...))
	}
}

func (m *ratioMisses) verdict() verdict {
	if len(m.cells) == 0 && m.unsure > 0 {
		return unknown
	}
	return metIf(len(m.cells) == 0)
}

func (m *ratioMisses) String() string {
	text := "none"
	if len(m.cells) > 0 {
		text = strings.Join(m.cells, ", ")
	}
	if m.unsure > 0 {
		text += fmt.Sprintf("; %d cells have too few pairs to tell", m.unsure)
	}
	return text
}

// goalsSection holds what the lab saw against what it was to see.
func (r *Results) goalsSection() string {
	var m markdown
	m.head("goal", "seen", "met")
	goal := func(goal string, v verdict, format string, args ...any) {
		m.row(goal, fmt.Sprintf(format, args...), string(v))
	}
	t := r.totals(true)
	var slow, late ratioMisses
	for _, c := range r.Cells {
		if !c.Protections {
			continue
		}
		if u := c.Upload; u != nil {
			slow.add(u.Estimate(), c.slowUpload(Goals), "%s (× %s)", c.name(), u.Estimate())
		}
		if a := c.Answers; a != nil && a.Healthy != nil && c.Shadow != Healthy {
			late.add(a.OverHealthy(), c.slowAnswers(Goals), "%s (%s ms, healthy %s; × %s)",
				c.name(), number(a.Mirrored.P99), number(a.Healthy.P99), a.OverHealthy())
		}
	}
	goal("no request fails or gets a wrong answer, every body arrives byte for byte", metIf(t.failed == 0),
		"%d of %s requests in %d cells failed", t.failed, thousands(t.requests), t.cells)
	goal(fmt.Sprintf("an upload of 200 MB takes no more than %.2f times as long as without a mirror", MaxUploadRatio), slow.verdict(),
		"all %d pairs: × %s; worst cell: %s, × %s; beyond noise over it: %s",
		t.uploads.Of, t.uploads, t.upload.name(), t.upload.Upload.Estimate(), slow.String())
	goal("p99 of the burst with a bad shadow is no more than with a healthy one", late.verdict(),
		"all %d pairs: × %s; beyond noise over it: %s", t.bursts.Of, t.bursts, late.String())
	goal("Envoy grows by no more than `maxConcurrentRequests × maxRequestBodyBytes` + 64 MiB", metIf(t.memory.grown() <= r.memoryBound()),
		"%s at most (%s, %s); the bound is %s", mebibytes(t.memory.grown()), t.memory.name(), t.memory.Load, mebibytes(r.memoryBound()))
	goal(fmt.Sprintf("a shadow that is healthy again gets copies within %g s", MaxResume.Seconds()),
		metIf(t.resumed.Resumed >= 0 && t.resumed.Resumed <= MaxResume.Seconds()),
		"after %.1f s at most (%s, %s)", t.resumed.Resumed, t.resumed.name(), t.resumed.Load)
	goal("no copies and connections are left behind", metIf(t.leftRequests == 0 && t.leftConnections <= int64(r.Limits.MaxConcurrentRequests)),
		"%d copies; at most %d idle connections, kept for the next copies", t.leftRequests, t.leftConnections)
	if worst := t.leftAllocated; worst.LeftAllocated != nil {
		v := metIf(*worst.LeftAllocated <= MaxLeft)
		if v == met && t.leftMeasured < t.cells {
			v = unknown
		}
		goal("no memory is left behind: at most "+mebibytes(MaxLeft)+", connections among it", v,
			"%.1f MiB at most (%s, %s), of %d cells", float64(*worst.LeftAllocated)/(1<<20), worst.name(), worst.Load, t.leftMeasured)
	}
	r.rateGoals(goal)
	if s := r.Soak; s != nil {
		v := metIf(len(s.Problems()) == 0)
		allocated, resident, known := s.growth()
		if v == met && (s.Seconds < 600 || !known) {
			v = unknown
		}
		goal("ten minutes of shadows that change: no request fails, memory stays", v,
			"%d of %s requests in %.0f s failed; from the second quarter to the last, the median of the memory changed by %+.1f MiB, of the resident one by %+.1f; see \"Soak\"",
			s.Failed, thousands(s.Requests), s.Seconds, allocated/(1<<20), resident/(1<<20))
	}
	return m.String()
}

func (r *Results) rateGoals(goal func(goal string, v verdict, format string, args ...any)) {
	for _, healthy := range r.Rates {
		if healthy.Shadow != Healthy || !healthy.Protections {
			continue
		}
		if refused, ok := r.rate("refused", healthy); ok {
			goal(fmt.Sprintf("a refused shadow costs Envoy less CPU than a healthy one, %d requests a second over %s", healthy.PerSecond, healthy.Protocol),
				metIf(refused.EnvoyCPU < healthy.EnvoyCPU), "%.1f %% of a core, healthy %.1f %%",
				100*refused.EnvoyCPU/refused.Seconds, 100*healthy.EnvoyCPU/healthy.Seconds)
		}
		if over := r.overNone(healthy); over.Of > 0 {
			v := metIf(over.Median <= MaxRateRatio)
			if !over.Sure() {
				v = unknown
			}
			goal(fmt.Sprintf("a healthy shadow makes p99 no more than %g times that without a mirror, %d requests a second over %s", MaxRateRatio, healthy.PerSecond, healthy.Protocol),
				v, "× %s", over)
		}
	}
}
