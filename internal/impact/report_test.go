package impact_test

import (
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

// section returns the text of one.
func section(name string, r *impact.Results, others ...*impact.Results) string {
	GinkgoHelper()
	for _, s := range impact.Report(r, others...) {
		if s.Name == name {
			return s.Text
		}
	}
	Fail("there is no section " + name)
	return ""
}

// row is the line of a table that begins so.
func row(table, first string) string {
	GinkgoHelper()
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| "+first) {
			return strings.TrimSpace(line)
		}
	}
	Fail("no row begins with " + first + " in\n" + table)
	return ""
}

var _ = Describe("the report", func() {
	plain := func(change func(*impact.Cell)) impact.Cell {
		c := cell(change)
		c.Protections = false
		return c
	}

	It("holds bursts against no mirror round by round", func() {
		r := results(cell(func(c *impact.Cell) {
			c.Answers.Rounds = []impact.Round{{None: 2, Healthy: 4, Mirrored: 6}, {None: 20, Healthy: 10, Mirrored: 20}, {None: 1, Healthy: 1, Mirrored: 2}}
		}))
		Expect(row(section("matrix", r), "never-reads")).To(ContainSubstring("| **× 2.00 (1.00 to 3.00)** | × 2.00 (1.50 to 2.00) |"))
	})

	It("has a row for each shadow, the worst of its cells", func() {
		r := results(
			cell(nil),
			cell(func(c *impact.Cell) {
				c.Protocol, c.Allocated, c.Resumed = impact.HTTP2, 12<<20, 2
				c.Answers.Mirrored.P99, c.Upload.Pairs = 8, pairs(1.1, 1.2, 1.0)
			}),
			plain(func(c *impact.Cell) { c.Load, c.Hung, c.Failed = "upload", true, 3 }),
		)
		Expect(row(section("matrix", r), "never-reads")).To(Equal("| never-reads: accepts and never reads | 3, **0** | hangs | **× 1.10 (1.00 to 1.20)** | " +
			"× 1.25 | **× 2.00** | × 1.60 | 0 MiB, **12 MiB** | 2.0 s |"))
	})

	DescribeTable("says whether the variants took turns",
		func(interleaved bool, said string) {
			r := results(
				cell(func(c *impact.Cell) { c.Answers.Rounds = make([]impact.Round, 2) }),
				plain(func(c *impact.Cell) { c.Answers.Rounds = make([]impact.Round, 1) }),
			)
			r.Days, r.Interleaved = []string{"2026-12-01"}, interleaved
			Expect(section("matrix", r)).To(ContainSubstring(said))
			Expect(section("answer", r)).To(ContainSubstring(said))
			Expect(string(impact.Chart(r))).To(ContainSubstring(strings.ReplaceAll(said, "**", "")))
		},
		Entry("they did", true, "Measured on 2026-12-01. No mirror, plain and ours took turns in one run"),
		Entry("they did not", false, "Measured on 2026-12-01. **Plain and ours are from separate runs**, one after the other, with 1 and 2 rounds of bursts."),
	)

	It("says nothing of turns where there is one variant alone", func() {
		r := results(cell(nil))
		r.Days = []string{"2026-12-01"}
		Expect(section("matrix", r)).To(HaveSuffix("\n\nMeasured on 2026-12-01.\n"))
	})

	It("answers in a few lines, with what a client notices of ours by name", func() {
		r := results(
			cell(func(c *impact.Cell) { c.Load, c.Upload.Pairs = "upload", pairs(1, 1, 1.02) }),
			cell(func(c *impact.Cell) { c.Protocol, c.Upload, c.Answers.Mirrored.P99 = impact.HTTP2, nil, 44 }),
			plain(func(c *impact.Cell) { c.Load, c.Hung, c.Failed, c.Allocated = "upload", true, 3, 5<<20 }),
		)
		answer := section("answer", r)
		Expect(row(answer, "failed")).To(Equal("| failed requests | 3 of 100 | 0 of 200 |"))
		Expect(row(answer, "cells")).To(HaveSuffix("| 1 of 1 | 1 of 2: never-reads over http2, burst (p99 44.0 ms) |"))
		Expect(row(answer, "time")).To(HaveSuffix("; hangs in 1 cells | × 1.00 (1.00 to 1.02) |"))
		Expect(row(answer, "Envoy")).To(HaveSuffix("| 5 MiB | 0 MiB |"))
		Expect(row(section("answer", results(cell(nil))), "failed")).To(Equal("| failed requests | not run | 0 of 100 |"))
	})

	It("says what was left out, and why", func() {
		r := results(cell(nil))
		r.LeftOut = []impact.LeftOut{{Shadow: "drops-packets", Reason: "not allowed"}}
		Expect(section("matrix", r)).To(ContainSubstring("Left out, since this system does not allow it: drops-packets (not allowed)."))
	})

	DescribeTable("shows the damage of the plain policy",
		func(change func(*impact.Cell), shown string) {
			r := results(plain(change), cell(nil))
			Expect(row(section("plain", r), "never-reads")).To(Equal("| never-reads | – | – | – | – | " + shown + " | – | – |"))
			Expect(section("plain", r)).To(ContainSubstring("Damage in 1 of 1 cells of the plain policy, and in 0 of 1 of ours"))
		},
		Entry("a hang", func(c *impact.Cell) { c.Hung, c.Failed = true, 1 }, "hangs"),
		Entry("failures", func(c *impact.Cell) { c.Failed = 2 }, "2 of 100 fail"),
		Entry("a slow upload", func(c *impact.Cell) { c.Upload.Ratio = 24 }, "× 24.00"),
		Entry("slow answers", func(c *impact.Cell) { c.Answers.Mirrored.P99 = 1200 }, "p99 1200 ms"),
		Entry("memory", func(c *impact.Cell) { c.Resident = 80 << 20 }, "+80 MiB"),
		Entry("no copies any more", func(c *impact.Cell) { c.Resumed = -1 }, "no copies after it"),
	)

	It("shows that there is none", func() {
		Expect(row(section("plain", results(plain(nil))), "never-reads")).To(Equal("| never-reads | – | – | – | – | · | – | – |"))
	})

	It("holds what was seen against the goals", func() {
		r := results(
			cell(func(c *impact.Cell) { c.Upload.Pairs, c.LeftConnections = pairs(1.0, 1.0, 1.0, 1.0, 1.0, 1.02), 4 }, leaving(1)),
			cell(func(c *impact.Cell) {
				c.Protocol, c.Failed, c.Upload.Pairs = impact.HTTP2, 1, pairs(1.1, 1.2, 1.15, 1.15, 1.15, 1.15)
				c.Answers.Mirrored.P99 = 10
				c.Answers.Rounds = slices.Repeat([]impact.Round{{Healthy: 5, Mirrored: 10}}, 6)
			}, leaving(3)),
		)
		r.Rates = []impact.Rate{
			{Shadow: impact.NoMirror, Protocol: impact.HTTP1, Protections: true, PerSecond: 2000, Latency: impact.Latency{P99: 2},
				Rounds: slices.Repeat([]impact.Latency{{P99: 1}, {P99: 2}, {P99: 4}}, 2), Seconds: 5},
			{Shadow: impact.Healthy, Protocol: impact.HTTP1, Protections: true, PerSecond: 2000, Latency: impact.Latency{P99: 3},
				Rounds: slices.Repeat([]impact.Latency{{P99: 2}, {P99: 3}, {P99: 5}}, 2), Seconds: 5, EnvoyCPU: 2},
			{Shadow: "refused", Protocol: impact.HTTP1, Protections: true, PerSecond: 2000, Seconds: 5, EnvoyCPU: 1.5},
		}
		r.Soak = &impact.Soak{Seconds: 600, Requests: 60_000, Resumed: 1, Memory: append(
			slices.Repeat([]impact.SoakMemory{{}}, 90), slices.Repeat([]impact.SoakMemory{{Allocated: 1 << 20, Resident: 2 << 20}}, 30)...)}
		goals := section("goals", r)
		for first, rest := range map[string]string{
			"no request fails":  "1 of 200 requests in 2 cells failed | **no** |",
			"an upload":         "all 12 pairs: × 1.06 (1.00 to 1.15); worst cell: never-reads over http2, × 1.15 (1.10 to 1.20); beyond noise over it: never-reads over http2 (× 1.15 (1.10 to 1.20)) | **no** |",
			"p99 of the burst":  "never-reads over http2 (10.0 ms, healthy 5.00; × 2.00 (2.00 to 2.00)); 1 cells have too few pairs to tell | **no** |",
			"Envoy grows":       "the bound is 74 MiB | yes |",
			"a shadow that is":  "after 1.0 s at most (never-reads over http1, burst) | yes |",
			"no copies and":     "0 copies; at most 4 idle connections, kept for the next copies | yes |",
			"no memory is left": "3.0 MiB at most (never-reads over http2, burst), of 2 cells | yes |",
			"a refused shadow":  "30.0 % of a core, healthy 40.0 % | yes |",
			"a healthy shadow":  "× 1.50 (1.25 to 2.00) | yes |",
			"ten minutes of sh": "0 of 60,000 requests in 600 s failed; from the second quarter to the last, the median of the memory changed by +1.0 MiB, of the resident one by +2.0; see \"Soak\" | yes |",
		} {
			Expect(row(goals, first)).To(HaveSuffix(rest))
		}
		Expect(row(section("rates", r), "healthy")).To(Equal("| healthy | http1 | 2000 | on | 0.00 ms | 3.00 ms | × 1.50 (1.25 to 2.00) | 40.0 % | 0.0 % | 0.0 % |"))
		Expect(row(section("soak", r), "requests")).To(Equal("| requests | 60,000, 0 a second; 0 failed |"))
	})

	It("does not say what too few pairs do not tell", func() {
		r := results(cell(func(c *impact.Cell) { c.Upload.Pairs = pairs(2, 2, 2, 2, 2) }))
		r.Soak = &impact.Soak{Seconds: 60, Memory: []impact.SoakMemory{{}}}
		goals := section("goals", r)
		Expect(row(goals, "an upload")).To(HaveSuffix("beyond noise over it: none; 1 cells have too few pairs to tell | not known |"))
		Expect(row(goals, "ten minutes")).To(HaveSuffix("| not known |"))
	})

	It("does not say that all memory is given back where it was not measured", func() {
		r := results(cell(leaving(1)), cell(nil))
		Expect(row(section("goals", r), "no memory")).To(HaveSuffix("of 1 cells | not known |"))
	})

	It("holds Envoys against each other", func() {
		r, newer := results(cell(nil)), results(cell(nil))
		r.Envoy, newer.Envoy = "1.38.2", "1.40.0"
		newer.Days = []string{"2026-12-01"}
		Expect(row(section("envoys", r, newer), "1.40.0")).To(And(HavePrefix("| 1.40.0 | 1 | 100 | 0 |"), HaveSuffix("| 2026-12-01 |")))
	})

	It("is what it is of an empty file, too", func() {
		Expect(impact.Report(results(), results())).NotTo(BeEmpty())
	})
})

var _ = Describe("a document", func() {
	sections := []impact.Section{{Name: "one", Text: "new\n"}, {Name: "two", Text: "newer\n"}}
	const document = "before\n<!-- impact one -->\nold\n<!-- end of impact one -->\nbetween\n" +
		"<!-- impact two -->\n<!-- end of impact two -->\nafter\n"

	It("gets its sections, and keeps the rest", func() {
		filled, err := impact.Fill([]byte(document), sections)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(filled)).To(Equal("before\n<!-- impact one -->\nnew\n<!-- end of impact one -->\nbetween\n" +
			"<!-- impact two -->\nnewer\n<!-- end of impact two -->\nafter\n"))
		Expect(impact.Fill(filled, sections)).To(Equal(filled), "once more changes nothing")
	})

	It("has to have marks for each, and for no other", func() {
		Expect(impact.Fill([]byte("nothing\n"), sections)).Error().To(MatchError(And(ContainSubstring("impact one"), ContainSubstring("impact two"))))
		Expect(impact.Fill([]byte(document), sections[:1])).Error().To(MatchError(ContainSubstring("marks of 2 sections; there are 1")))
	})
})
