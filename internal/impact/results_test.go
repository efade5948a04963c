package impact_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

func cell(changes ...func(*impact.Cell)) impact.Cell {
	c := impact.Cell{
		Shadow: "never-reads", Load: "burst", Protocol: impact.HTTP1, Protections: true, Requests: 100, Resumed: 1,
		Answers: &impact.Answers{Mirrored: impact.Latency{P99: 5}, Healthy: &impact.Latency{P99: 5}, None: impact.Latency{P99: 4}},
		Upload:  &impact.Upload{None: 1, Mirrored: 1, Ratio: 1},
	}
	for _, change := range changes {
		if change != nil {
			change(&c)
		}
	}
	return c
}

// leaving is a cell after which Envoy holds so many MiB more.
func leaving(mebibytes int64) func(*impact.Cell) {
	return func(c *impact.Cell) { c.LeftAllocated = new(mebibytes << 20) }
}

// pairs of uploads with these ratios.
func pairs(ratios ...float64) []impact.Pair {
	var out []impact.Pair
	for _, ratio := range ratios {
		out = append(out, impact.Pair{None: 2, Mirrored: 2 * ratio})
	}
	return out
}

func results(cells ...impact.Cell) *impact.Results {
	return &impact.Results{
		Machine: impact.Machine{CPU: "a CPU <with> marks", CPUs: 2},
		Limits:  impact.Limits{MaxConcurrentRequests: 10, MaxRequestBodyBytes: 1 << 20, MaxDuration: "15s"},
		Cells:   cells,
	}
}

var _ = Describe("the verdict", func() {
	It("is good where nothing is over its bound", func() {
		Expect(results(cell(nil)).AllProblems(impact.Goals)).To(BeEmpty())
	})

	DescribeTable("names what a client notices, and what is left behind",
		func(change func(*impact.Cell), problem string) {
			Expect(results(cell(change)).AllProblems(impact.Goals)).To(HaveExactElements(And(
				HavePrefix("never-reads over http1, burst: "), ContainSubstring(problem))))
		},
		Entry("failures", func(c *impact.Cell) { c.Failed, c.Reasons = 2, map[string]int{"status 503": 2} }, "2 of 100 requests failed: 2 × status 503"),
		Entry("a slow upload", func(c *impact.Cell) { c.Upload.Ratio = 1.06 }, "1.06 times as long"),
		Entry("uploads that are slow again and again", func(c *impact.Cell) { c.Upload.Pairs = pairs(1.06, 1.07, 1.2, 1.07, 1.09, 1.06) },
			"1.07 (1.06 to 1.20) times as long"),
		Entry("memory that is held on to", leaving(17), "Envoy still holds 17 MiB more than before; the bound is 16 MiB"),
		Entry("slow answers", func(c *impact.Cell) { c.Answers.Mirrored.P99 = 6.1 }, "p99 is 6.1 ms"),
		Entry("bursts that are slow again and again", func(c *impact.Cell) {
			c.Answers.Mirrored.P99 = 6
			c.Answers.Rounds = []impact.Round{{Healthy: 2, Mirrored: 6}, {Healthy: 2, Mirrored: 4}}
		}, "(2.50 (2.00 to 3.00) times)"),
		Entry("answers that wait, where there is no healthy shadow", func(c *impact.Cell) {
			c.Answers = &impact.Answers{None: impact.Latency{P99: 5}, Mirrored: impact.Latency{P99: 61}}
		}, "p99 is 61.0 ms; without a mirror it is 5.0"),
		Entry("memory by Envoy's count", func(c *impact.Cell) { c.Allocated = 75 << 20 }, "grew by 75 MiB; the bound is 74"),
		Entry("memory by the system's", func(c *impact.Cell) { c.Resident = 75 << 20 }, "grew by 75 MiB; the bound is 74"),
		Entry("no copies any more", func(c *impact.Cell) { c.Resumed = -1 }, "did not resume"),
		Entry("copies again too late", func(c *impact.Cell) { c.Resumed = 5.1 }, "did not resume"),
		Entry("open copies", func(c *impact.Cell) { c.LeftRequests = 1 }, "1 copies are still open"),
		Entry("open connections", func(c *impact.Cell) { c.LeftConnections = 11 }, "11 connections are still open"),
	)

	DescribeTable("leaves out what may be noise",
		func(change func(*impact.Cell)) {
			Expect(results(cell(change)).AllProblems(impact.Goals)).To(BeEmpty())
		},
		Entry("of uploads", func(c *impact.Cell) { c.Upload.Pairs = pairs(1.3, 1.3, 1.3, 1.3, 1.3, 1.04) }),
		Entry("of bursts", func(c *impact.Cell) {
			c.Answers.Mirrored.P99 = 6
			c.Answers.Rounds = []impact.Round{{Healthy: 2, Mirrored: 8}, {Healthy: 2, Mirrored: 1.9}}
		}),
		Entry("of requests that are slow in one round only", func(c *impact.Cell) {
			c.Answers = &impact.Answers{None: impact.Latency{P99: 5}, Mirrored: impact.Latency{P99: 61}}
			c.Answers.Rounds = []impact.Round{{None: 5, Mirrored: 99}, {None: 5, Mirrored: 9}}
		}),
		Entry("of requests", func(c *impact.Cell) {
			c.Answers = &impact.Answers{None: impact.Latency{P99: 5}, Mirrored: impact.Latency{P99: 59}}
		}),
	)

	It("does not judge what has no protections", func() {
		Expect(results(cell(func(c *impact.Cell) { c.Failed, c.Protections = 1, false })).AllProblems(impact.Goals)).To(BeEmpty())
	})

	It("names a soak's failures and what it leaves", func() {
		r := results()
		r.Soak = &impact.Soak{Requests: 10, Failed: 1, LeftRequests: 2, Resumed: -1, Memory: []impact.SoakMemory{{Allocated: 1 << 20}, {Allocated: 80 << 20}}}
		Expect(r.AllProblems(impact.Goals)).To(HaveLen(4))
	})

	DescribeTable("tells memory that grows in a soak from memory that goes up and down", func(allocated, resident func(i int) int64, problems ...string) {
		r := results()
		r.Soak = &impact.Soak{Requests: 10, Resumed: 1}
		for i := range 120 {
			r.Soak.Memory = append(r.Soak.Memory, impact.SoakMemory{Allocated: allocated(i) << 20, Resident: resident(i) << 20})
		}
		var expected []any
		for _, p := range problems {
			expected = append(expected, ContainSubstring(p))
		}
		Expect(r.AllProblems(impact.Goals)).To(ConsistOf(expected...))
	},
		Entry("up and down", func(i int) int64 { return int64(20 + i%7*5) }, func(i int) int64 { return int64(100 + i%5*9) }),
		Entry("more at first", func(i int) int64 { return int64(min(20+i, 50)) }, func(i int) int64 { return int64(min(100+2*i, 160)) }),
		Entry("growing by its own count", func(i int) int64 { return int64(20 + i/2) }, func(int) int64 { return 120 }, "30.0 MiB higher"),
		Entry("growing by the system's", func(int) int64 { return 20 }, func(i int) int64 { return int64(120 + i) }, "60.0 MiB"),
	)
})

var _ = Describe("an estimate", func() {
	of := func(n int) impact.Estimate {
		var ratios []float64
		for i := range n {
			ratios = append(ratios, float64(n-i)) // 1 to n, not in order
		}
		return (&impact.Upload{Pairs: pairs(ratios...)}).Estimate()
	}

	// The intervals for the median that tables of order statistics have.
	DescribeTable("has an interval of 95 per cent by order alone",
		func(n int, median, low, high float64) {
			Expect(of(n)).To(Equal(impact.Estimate{Median: median, Low: low, High: high, Of: n}))
		},
		Entry("one value", 1, 1.0, 1.0, 1.0),
		Entry("an even number", 2, 1.5, 1.0, 2.0),
		Entry("too few to leave out any", 6, 3.5, 1.0, 6.0),
		Entry("9: one at either end", 9, 5.0, 2.0, 8.0),
		Entry("15: three", 15, 8.0, 4.0, 12.0),
		Entry("100: forty less one", 100, 50.5, 40.0, 61.0),
		Entry("2000", 2000, 1000.5, 956.0, 1045.0),
	)
})

var _ = Describe("a results file", func() {
	It("keeps what is not run again", func() {
		file := filepath.Join(GinkgoT().TempDir(), "results.json")
		r := results(cell(nil), cell(func(c *impact.Cell) { c.Load = "get" }))
		r.Rates = []impact.Rate{{Shadow: impact.NoMirror, PerSecond: 1}, {Shadow: impact.Healthy, PerSecond: 1}}
		r.Soak = &impact.Soak{Requests: 7}
		r.LeftOut = []impact.LeftOut{{Shadow: "drops-packets", Reason: "not here"}}
		r.Days = []string{"2026-12-01"}
		Expect(r.Write(file)).To(Succeed())
		kept, err := impact.ReadResults(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(kept).To(Equal(r))
		newer := results(cell(func(c *impact.Cell) { c.Failed = 7 }))
		newer.Days = []string{"2026-11-30", "2026-12-01"}
		Expect(kept.Add(newer)).To(Succeed())
		Expect(kept.Days).To(Equal([]string{"2026-11-30", "2026-12-01"}))
		Expect(kept.Cells).To(HaveLen(2))
		again, ok := kept.Cell("never-reads", "burst", impact.HTTP1, true)
		Expect(ok).To(BeTrue())
		Expect(again.Failed).To(Equal(7))
	})

	It("does not mix machines, Envoys or limits", func() {
		other := results()
		other.Envoy = "1.40.0"
		Expect(results().Add(other)).To(MatchError(ContainSubstring("another")))
	})

	It("does not mix cells of separate runs with cells that took turns", func() {
		turns := results(cell(nil))
		turns.Interleaved = true
		Expect(results(cell(nil)).Add(turns)).To(MatchError(ContainSubstring("took turns")))
		Expect(turns.Add(results(cell(nil)))).To(MatchError(ContainSubstring("took turns")))

		rates := results()
		rates.Rates = []impact.Rate{{PerSecond: 1}}
		Expect(turns.Add(rates)).To(Succeed(), "rates alone have no cells")
		Expect(turns.Interleaved).To(BeTrue())
		Expect(rates.Add(turns)).To(Succeed())
		Expect(rates.Interleaved).To(BeTrue())
	})

	It("has to be one", func() {
		file := filepath.Join(GinkgoT().TempDir(), "results.json")
		Expect(os.WriteFile(file, []byte("cells"), 0o600)).To(Succeed())
		Expect(impact.ReadResults(file)).Error().To(MatchError(ContainSubstring("not a results file")))
	})
})

const docs = "../../docs/"

var _ = Describe("what is published", func() {
	It("is drawn and written from the results files", func() {
		r, err := impact.ReadResults(docs + "impact-results.json")
		Expect(err).NotTo(HaveOccurred())
		newest, err := impact.ReadResults(docs + "impact-results-newest.json")
		Expect(err).NotTo(HaveOccurred())
		chart, err := os.ReadFile(docs + "impact.svg")
		Expect(err).NotTo(HaveOccurred())
		Expect(string(chart)).To(Equal(string(impact.Chart(r))), "kuma-mirror-impact chart docs/impact-results.json > docs/impact.svg")
		text, err := os.ReadFile(docs + "impact.md")
		Expect(err).NotTo(HaveOccurred())
		filled, err := impact.Fill(text, impact.Report(r, newest))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(text)).To(Equal(string(filled)),
			"kuma-mirror-impact matrix --write docs/impact.md docs/impact-results.json docs/impact-results-newest.json")
	})

	It("has every shadow, in either variant", func() {
		r, err := impact.ReadResults(docs + "impact-results.json")
		Expect(err).NotTo(HaveOccurred())
		for _, s := range impact.Shadows() {
			for _, protections := range []bool{true, false} {
				_, ok := r.Cell(s.Name, "upload", impact.HTTP2, protections)
				Expect(ok).To(BeTrue(), s.Name)
			}
		}
	})
})

var _ = Describe("the chart", func() {
	It("is XML, and says what hangs", func() {
		chart := impact.Chart(results(
			cell(nil),
			cell(func(c *impact.Cell) { c.Load, c.Protections, c.Hung = "upload", false, true }),
		))
		decoder := xml.NewDecoder(bytes.NewReader(chart))
		for {
			_, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(string(chart)).To(ContainSubstring(">hangs<"))
		Expect(string(chart)).To(ContainSubstring("accepts and never reads"))
	})
})

var _ = Describe("the options", func() {
	options := func() impact.Options {
		return impact.Options{Envoy: "envoy", Worker: []string{"worker"}}
	}

	It("are fine as they are", func() { Expect(options().Validate()).To(Succeed()) })

	DescribeTable("say what is wrong, and what there is",
		func(change func(*impact.Options), message string) {
			o := options()
			change(&o)
			Expect(o.Validate()).To(MatchError(ContainSubstring(message)))
		},
		Entry("a shadow", func(o *impact.Options) { o.Shadows = []string{"nice"} }, `no shadow "nice"; there are healthy, refused`),
		Entry("a load", func(o *impact.Options) { o.Loads = []string{"put"} }, `no load "put"; there are get`),
		Entry("a protocol", func(o *impact.Options) { o.Protocols = []impact.Protocol{"http3"} }, `no protocol "http3"`),
		Entry("nothing left", func(o *impact.Options) {
			o.Protocols, o.Loads = []impact.Protocol{impact.HTTP1}, []string{"grpc-unary"}
		}, "no cell is left"),
	)

	It("have 17 shadows for both protocols, and 3 of HTTP/2 alone, and 7 loads", func() {
		both, http2 := 0, 0
		for _, s := range impact.Shadows() {
			if s.HTTP2 {
				http2++
			} else {
				both++
			}
		}
		Expect([]int{both, http2, len(impact.Loads())}).To(Equal([]int{17, 3, 7}))
	})
})
