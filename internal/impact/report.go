package impact

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Section is a part of docs/impact.md that is written from results files.
type Section struct {
	// Name as in the marks around it.
	Name string
	// Text is Markdown that ends with a line break.
	Text string
}

// Report returns all sections: those of the first results, and one in which
// others, of other Envoys, are held against it.
func Report(r *Results, others ...*Results) []Section {
	return []Section{
		{"answer", r.answerSection()},
		{"goals", r.goalsSection()},
		{"matrix", r.matrixSection()},
		{"plain", r.plainSection()},
		{"rates", r.ratesSection()},
		{"soak", r.soakSection()},
		{"machine", r.machineSection()},
		{"envoys", envoysSection(append([]*Results{r}, others...))},
	}
}

// marks stand before and after a section in a document.
func marks(name string) (before, after string) {
	return fmt.Sprintf("<!-- impact %s -->\n", name), fmt.Sprintf("<!-- end of impact %s -->\n", name)
}

// Fill returns the document with new text between the marks of every section. It
// is an error if one has no marks, or if there are marks of none.
func Fill(document []byte, sections []Section) ([]byte, error) {
	var problems []error
	out := document
	for _, s := range sections {
		before, after := marks(s.Name)
		head, rest, ok := bytes.Cut(out, []byte(before))
		_, tail, ended := bytes.Cut(rest, []byte(after))
		if !ok || !ended {
			problems = append(problems, fmt.Errorf("the document has no %q with %q after it", strings.TrimSpace(before), strings.TrimSpace(after)))
			continue
		}
		out = slices.Concat(head, []byte(before), []byte(s.Text), []byte(after), tail)
	}
	if n := bytes.Count(document, []byte("<!-- impact ")); n != len(sections) && len(problems) == 0 {
		problems = append(problems, fmt.Errorf("the document has marks of %d sections; there are %d", n, len(sections)))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return out, nil
}

// markdown gathers lines.
type markdown struct{ strings.Builder }

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// row writes one of a table; the first is its head.
func (m *markdown) row(cells ...string) { m.line("| %s |", strings.Join(cells, " | ")) }

func (m *markdown) head(cells ...string) {
	m.row(cells...)
	m.line("%s|", strings.Repeat("|---", len(cells)))
}

// answerSection is the whole run in a few lines.
func (r *Results) answerSection() string {
	plain, ours := r.totals(false), r.totals(true)
	var m markdown
	m.head("all shadows and loads", "plain policy", "kuma-mirror")
	both := func(what string, text func(protections bool, t totals) string) {
		cells := []string{what}
		for _, protections := range []bool{false, true} {
			t, cell := plain, "not run"
			if protections {
				t = ours
			}
			if t.cells > 0 {
				cell = text(protections, t)
			}
			cells = append(cells, cell)
		}
		m.row(cells...)
	}
	both("failed requests", func(_ bool, t totals) string {
		return fmt.Sprintf("%d of %s", t.failed, thousands(t.requests))
	})
	both("cells (a shadow, a load, a protocol) in which a client suffers", func(protections bool, t totals) string {
		damaged := r.damaged(protections)
		text := fmt.Sprintf("%d of %d", len(damaged), t.cells)
		if protections && len(damaged) > 0 {
			text += ": " + strings.Join(damaged, ", ")
		}
		return text
	})
	both("time of a 200 MB upload over none, all rounds", func(protections bool, t totals) string {
		text := "× " + t.uploads.String()
		if hung := r.hungUploads(protections); hung > 0 {
			text += fmt.Sprintf("; hangs in %d cells", hung)
		}
		return text
	})
	both("Envoy grows by at most", func(_ bool, t totals) string { return mebibytes(t.memory.grown()) })
	m.line("\n%s", r.origin())
	return m.String()
}

// damaged names the cells of a variant with damage.
func (r *Results) damaged(protections bool) []string {
	var names []string
	for _, c := range r.Cells {
		if d := r.damage(c); c.Protections == protections && d.weight > 0 {
			names = append(names, fmt.Sprintf("%s, %s (%s)", c.name(), c.Load, d.text))
		}
	}
	return names
}

func (r *Results) hungUploads(protections bool) int {
	n := 0
	for _, c := range r.Cells {
		if c.Protections == protections && c.Upload != nil && c.Hung {
			n++
		}
	}
	return n
}

func (r *Results) matrixSection() string {
	var m markdown
	m.head("shadow", "failed: plain, ours", "upload over none: plain", "ours", "p99 of the burst over none: plain", "ours",
		"p99 over a healthy shadow, ours", "memory: plain, ours", "copies again, ours")
	for _, s := range Shadows() {
		plain, ours := r.summary(s.Name, false), r.summary(s.Name, true)
		if plain.cells+ours.cells == 0 {
			continue
		}
		known := func(s summary, text string) string {
			if s.cells == 0 {
				return "–"
			}
			return text
		}
		pair := func(text func(summary) string) string {
			return fmt.Sprintf("%s, **%s**", known(plain, text(plain)), known(ours, text(ours)))
		}
		upload := func(s summary) string { return s.ratioText("upload", s.upload) }
		burst := func(s summary) string { return s.ratioText("burst", s.burst) }
		m.row(s.Name+": "+s.About,
			pair(func(s summary) string { return fmt.Sprint(s.failed) }),
			upload(plain), "**"+upload(ours)+"**",
			burst(plain), "**"+burst(ours)+"**",
			ours.ratioText("burst", ours.overHealthy),
			pair(func(s summary) string { return mebibytes(s.memory) }),
			known(ours, fmt.Sprintf("%.1f s", ours.resumed)))
	}
	m.line("\n%s", r.origin())
	for _, s := range r.LeftOut {
		m.line("\nLeft out, since this system does not allow it: %s (%s).", s.Shadow, s.Reason)
	}
	return m.String()
}

// origin says when the cells were measured, and whether the variants were side by
// side.
func (r *Results) origin() string {
	rounds := map[bool]int{} // of the bursts, at most
	cells := map[bool]int{}
	for _, c := range r.Cells {
		cells[c.Protections]++
		if a := c.Answers; a != nil && a.Healthy != nil {
			rounds[c.Protections] = max(rounds[c.Protections], len(a.Rounds))
		}
	}
	switch measured := "Measured" + r.on(); {
	case cells[true] == 0 || cells[false] == 0:
		return measured + "."
	case r.Interleaved:
		return measured + ". No mirror, plain and ours took turns in one run, round by round."
	default:
		return fmt.Sprintf("%s. **Plain and ours are from separate runs**, one after the other, with %d and %d rounds of bursts. "+
			"Each ratio is to requests without a mirror in its own run.", measured, rounds[false], rounds[true])
	}
}

// on names the days.
func (r *Results) on() string {
	if len(r.Days) == 0 {
		return ""
	}
	return " on " + strings.Join(r.Days, ", ")
}

// plainSection shows what the plain policy does with every load.
func (r *Results) plainSection() string {
	loads := Loads()
	var m markdown
	head := []string{"shadow"}
	for _, l := range loads {
		head = append(head, l.Name)
	}
	m.head(head...)
	for _, s := range Shadows() {
		row, known := []string{s.Name}, false
		for _, l := range loads {
			var worst damage
			found := false
			for _, protocol := range Protocols {
				c, ok := r.Cell(s.Name, l.Name, protocol, false)
				if !ok {
					continue
				}
				found = true
				if d := r.damage(c); d.weight > worst.weight {
					worst = d
				}
			}
			switch {
			case !found:
				row = append(row, "–")
			case worst.weight == 0:
				row = append(row, "·")
			default:
				row = append(row, worst.text)
			}
			known = known || found
		}
		if known {
			m.row(row...)
		}
	}
	m.line("")
	m.line("Damage in %d of %d cells of the plain policy, and in %d of %d of ours, held against the same bounds.",
		len(r.damaged(false)), r.totals(false).cells, len(r.damaged(true)), r.totals(true).cells)
	return m.String()
}

// damage is what a client suffers in a cell, in few words; a greater weight is
// worse.
type damage struct {
	weight int
	text   string
}

func (r *Results) damage(c Cell) damage {
	switch {
	case c.Hung:
		return damage{6, "hangs"}
	case c.Failed > 0:
		return damage{5, fmt.Sprintf("%d of %d fail", c.Failed, c.Requests)}
	case c.slowUpload(Damage):
		return damage{4, c.uploadText()}
	case c.slowAnswers(Damage):
		return damage{3, "p99 " + number(c.Answers.Mirrored.P99) + " ms"}
	case c.grown() > r.memoryBound():
		return damage{2, "+" + mebibytes(c.grown())}
	case c.Resumed < 0 || c.Resumed > MaxResume.Seconds():
		return damage{1, "no copies after it"}
	}
	return damage{}
}

func (c Cell) uploadText() string { return fmt.Sprintf("× %.2f", c.Upload.Estimate().Median) }

func (r *Results) ratesSection() string {
	if len(r.Rates) == 0 {
		return "Not measured.\n"
	}
	var m markdown
	m.head("shadow", "over", "requests/s", "protections", "p50", "p99", "p99 over none", "Envoy CPU", "shadow CPU", "client and primary CPU")
	core := func(cpu float64, rate Rate) string { return fmt.Sprintf("%.1f %%", 100*cpu/rate.Seconds) }
	for _, rate := range r.Rates {
		protections, over := "off", ""
		if rate.Protections {
			protections = "on"
		}
		if e := r.overNone(rate); e.Of > 0 && rate.Shadow != NoMirror {
			over = "× " + e.String()
		}
		m.row(rate.Shadow, string(rate.Protocol), fmt.Sprint(rate.PerSecond), protections,
			number(rate.Latency.P50)+" ms", number(rate.Latency.P99)+" ms", over,
			core(rate.EnvoyCPU, rate), core(rate.ShadowCPU, rate), core(rate.ClientCPU, rate))
	}
	rounds := len(r.Rates[0].Rounds)
	if rounds == 0 {
		return m.String()
	}
	m.line("")
	m.line("Medians of %d rounds of %g seconds, in turn. CPU is in parts of one core.", rounds, r.Rates[0].Seconds)
	return m.String()
}

// rate returns the one of a shadow that is otherwise as like.
func (r *Results) rate(shadow string, like Rate) (Rate, bool) {
	want := like.key()
	want.shadow = shadow
	i := slices.IndexFunc(r.Rates, func(rate Rate) bool { return rate.key() == want })
	if i < 0 {
		return Rate{}, false
	}
	return r.Rates[i], true
}

// overNone is the ratio of the p99 to that without a mirror, round by round.
func (r *Results) overNone(rate Rate) Estimate {
	none, ok := r.rate(NoMirror, rate)
	if !ok || none.Latency.P99 == 0 {
		return Estimate{}
	}
	var ratios []float64
	for i := range min(len(rate.Rounds), len(none.Rounds)) {
		ratios = append(ratios, rate.Rounds[i].P99/none.Rounds[i].P99)
	}
	if len(ratios) == 0 {
		ratios = []float64{rate.Latency.P99 / none.Latency.P99}
	}
	return estimate(ratios)
}

func (r *Results) soakSection() string {
	s := r.Soak
	if s == nil || len(s.Memory) == 0 {
		return "Not run.\n"
	}
	first, last := s.Memory[0], s.Memory[len(s.Memory)-1]
	var peak SoakMemory
	for _, m := range s.Memory {
		peak.Allocated, peak.Resident = max(peak.Allocated, m.Allocated), max(peak.Resident, m.Resident)
	}
	var m markdown
	m.head("soak", "seen")
	m.row("length", fmt.Sprintf("%.0f s, %d changes of a shadow", s.Seconds, s.Changes))
	m.row("requests", fmt.Sprintf("%s, %d a second; %d failed", thousands(s.Requests), s.PerSecond, s.Failed))
	m.row("time of answers", fmt.Sprintf("p50 %s ms, p99 %s ms", number(s.Latency.P50), number(s.Latency.P99)))
	m.row("memory by Envoy's count: at the start, at most, at the end", fmt.Sprintf("%s, %s, %s", mebibytes(first.Allocated), mebibytes(peak.Allocated), mebibytes(last.Allocated)))
	m.row("memory by the system's", fmt.Sprintf("%s, %s, %s", mebibytes(first.Resident), mebibytes(peak.Resident), mebibytes(last.Resident)))
	if allocated, resident, known := s.growth(); known {
		m.row("the median of the last quarter over that of the second: by Envoy's count, by the system's", fmt.Sprintf("%+.1f MiB, %+.1f MiB", allocated/(1<<20), resident/(1<<20)))
	}
	m.row("copies left open at the end", fmt.Sprint(s.LeftRequests))
	return m.String()
}

func (r *Results) machineSection() string {
	return fmt.Sprintf("%d CPUs (%s), %s, Envoy %s; `maxConcurrentRequests: %d`, `maxRequestBodyBytes: %d`, `maxDuration: %s`. Measured%s.\n",
		r.Machine.CPUs, r.Machine.CPU, r.Machine.OS, r.Envoy, r.Limits.MaxConcurrentRequests, r.Limits.MaxRequestBodyBytes, r.Limits.MaxDuration, r.on())
}

// envoysSection holds runs with protections on different Envoys against each
// other.
func envoysSection(runs []*Results) string {
	var m markdown
	m.head("Envoy", "cells", "requests", "failed", "upload, all pairs", "worst p99 of the burst", "memory at most", "copies again after at most", "measured on")
	for _, r := range runs {
		t := r.totals(true)
		m.row(r.Envoy, fmt.Sprint(t.cells), thousands(t.requests), fmt.Sprint(t.failed), "× "+t.uploads.String(),
			fmt.Sprintf("%s ms (%s)", number(t.p99.Answers.Mirrored.P99), t.p99.name()),
			mebibytes(t.memory.grown()), fmt.Sprintf("%.1f s", t.resumed.Resumed), strings.Join(r.Days, ", "))
	}
	return m.String()
}
