package impact

import (
	"fmt"
	"slices"
	"strings"
)

// summary is the worst that one shadow did in one variant, over all loads and
// protocols.
type summary struct {
	cells            int
	requests, failed int
	hung             []string // the loads that hung
	ratio            float64  // of the upload; 0 if there is none
	p99              p99s
	memory           int64 // bytes
	resumed          float64
}

// p99s are the p99 of bursts, in milliseconds.
type p99s struct{ mirrored, healthy, plain float64 }

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
		if c.Upload != nil {
			s.ratio = max(s.ratio, c.Upload.Ratio)
		}
		if a := c.Answers; a != nil && a.Healthy != nil && a.Mirrored.P99 > s.p99.mirrored {
			s.p99 = p99s{a.Mirrored.P99, a.Healthy.P99, a.Plain.P99}
		}
		s.memory = max(s.memory, c.Allocated, c.Resident)
		s.resumed = max(s.resumed, c.Resumed)
		if c.Resumed < 0 {
			s.resumed = 2 * MaxResume.Seconds()
		}
	}
	return s
}

func (s summary) uploadHung() bool { return slices.Contains(s.hung, "upload") }

func (s summary) uploadText() string {
	switch {
	case s.uploadHung():
		return "hangs"
	case s.ratio == 0:
		return ""
	}
	return fmt.Sprintf("× %.2f", s.ratio)
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

// Matrix writes the results as the Markdown tables of docs/impact.md.
func Matrix(r *Results) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	if len(r.Cells) > 0 {
		line("| shadow | failed: plain, ours | upload: plain, ours | p99 of the burst: plain, ours | memory: plain, ours | copies again, ours |")
		line("|---|---|---|---|---|---|")
	}
	for _, s := range Shadows() {
		plain, ours := r.summary(s.Name, false), r.summary(s.Name, true)
		if plain.cells+ours.cells == 0 {
			continue
		}
		pair := func(text func(summary) string) string {
			var texts []string
			for _, s := range []summary{plain, ours} {
				t := "–"
				if s.cells > 0 {
					t = text(s)
				}
				texts = append(texts, t)
			}
			return strings.Join(texts, ", **") + "**"
		}
		resumed := "–"
		if ours.cells > 0 {
			resumed = fmt.Sprintf("%.1f s", ours.resumed)
		}
		line("| %s: %s | %s | %s | %s | %s | %s |", s.Name, s.About,
			pair(func(s summary) string { return fmt.Sprint(s.failed) }),
			pair(summary.uploadText),
			pair(summary.p99Text),
			pair(func(s summary) string { return fmt.Sprintf("%d MiB", max(0, s.memory)>>20) }),
			resumed)
	}
	if len(r.Rates) > 0 {
		line("")
		line("| shadow | over | requests/s | protections | p50 | p99 | Envoy CPU | shadow CPU | client and primary CPU |")
		line("|---|---|---|---|---|---|---|---|---|")
	}
	for _, rate := range r.Rates {
		protections := "off"
		if rate.Protections {
			protections = "on"
		}
		line("| %s | %s | %d | %s | %s ms | %s ms | %.2f s | %.2f s | %.2f s |", rate.Shadow, rate.Protocol, rate.PerSecond, protections,
			number(rate.Latency.P50), number(rate.Latency.P99), rate.EnvoyCPU, rate.ShadowCPU, rate.ClientCPU)
	}
	return out.String()
}
