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
	upload           Estimate // of the ratio; Of is 0 if there is none
	p99              p99s
	memory           int64 // bytes
	resumed          float64
}

// p99s are the p99 of bursts, in milliseconds, and their ratio.
type p99s struct {
	mirrored, healthy float64
	ratio             Estimate
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
		if a := c.Answers; a != nil && a.Healthy != nil && a.Mirrored.P99 > s.p99.mirrored {
			s.p99 = p99s{a.Mirrored.P99, a.Healthy.P99, a.OverHealthy()}
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

func (s summary) uploadHung() bool { return slices.Contains(s.hung, "upload") }

func (s summary) uploadText() string {
	switch {
	case s.uploadHung():
		return "hangs"
	case s.upload.Of == 0:
		return ""
	}
	return fmt.Sprintf("× %.2f", s.upload.Median)
}

func (s summary) p99Text() string {
	if s.p99.mirrored == 0 {
		return ""
	}
	return number(s.p99.mirrored) + " ms"
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
