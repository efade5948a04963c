package impact

import (
	"fmt"
	"slices"
)

// summary is the worst that one shadow did in one variant, over all loads and
// protocols.
type summary struct {
	cells            int
	requests, failed int
	hung             []string // the loads that hung
	// Times of uploads and p99 of bursts over those without a mirror, and of the
	// same burst over one with a healthy shadow; Of is 0 if there is none.
	upload, burst, overHealthy Estimate
	memory                     int64 // bytes
	resumed                    float64
}

func (r *Results) summary(shadow string, protections bool) summary {
	var s summary
	for _, c := range r.Cells {
		if c.Shadow != shadow || c.Protections != protections {
			continue
		}
		s.cells++
		s.requests += c.Requests
		s.failed += c.Failed
		if c.Hung && !slices.Contains(s.hung, c.Load) {
			s.hung = append(s.hung, c.Load)
		}
		if u := c.Upload; u != nil && u.Estimate().Median > s.upload.Median {
			s.upload = u.Estimate()
		}
		if a := c.Answers; a != nil && a.Healthy != nil && a.OverNone().Median > s.burst.Median {
			s.burst, s.overHealthy = a.OverNone(), a.OverHealthy()
		}
		s.memory = max(s.memory, c.grown())
		s.resumed = max(s.resumed, c.Resumed)
		if c.Resumed < 0 {
			s.resumed = 2 * MaxResume.Seconds()
		}
	}
	return s
}

// grown is what Envoy grew by, the larger of its own count and the system's.
func (c Cell) grown() int64 { return max(c.Allocated, c.Resident, 0) }

func (s summary) hangs(load string) bool { return slices.Contains(s.hung, load) }

// ratioText is how much longer a load takes than without a mirror.
func (s summary) ratioText(load string, e Estimate) string {
	switch {
	case s.hangs(load):
		return "hangs"
	case e.Of == 0:
		return "–"
	}
	return "× " + e.String()
}

// number has three digits that count.
func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// thousands is a number with a comma after each three digits.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// mebibytes are whole ones.
func mebibytes(bytes int64) string { return fmt.Sprintf("%d MiB", bytes>>20) }
