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

func cell(change func(*impact.Cell)) impact.Cell {
	c := impact.Cell{
		Shadow: "never-reads", Load: "burst", Protocol: impact.HTTP1, Protections: true, Requests: 100, Resumed: 1,
		Answers: &impact.Answers{Mirrored: impact.Latency{P99: 5}, Healthy: &impact.Latency{P99: 5}, Plain: impact.Latency{P99: 4}},
		Upload:  &impact.Upload{Plain: 1, Mirrored: 1, Ratio: 1},
	}
	if change != nil {
		change(&c)
	}
	return c
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
		Entry("slow answers", func(c *impact.Cell) { c.Answers.Mirrored.P99 = 6.1 }, "p99 is 6.1 ms"),
		Entry("memory by Envoy's count", func(c *impact.Cell) { c.Allocated = 75 << 20 }, "grew by 75 MiB; the bound is 74"),
		Entry("memory by the system's", func(c *impact.Cell) { c.Resident = 75 << 20 }, "grew by 75 MiB; the bound is 74"),
		Entry("no copies any more", func(c *impact.Cell) { c.Resumed = -1 }, "did not resume"),
		Entry("copies again too late", func(c *impact.Cell) { c.Resumed = 5.1 }, "did not resume"),
		Entry("open copies", func(c *impact.Cell) { c.LeftRequests = 1 }, "1 copies are still open"),
		Entry("open connections", func(c *impact.Cell) { c.LeftConnections = 11 }, "11 connections are still open"),
	)

	It("does not judge what has no protections", func() {
		Expect(results(cell(func(c *impact.Cell) { c.Failed, c.Protections = 1, false })).AllProblems(impact.Goals)).To(BeEmpty())
	})

	It("names a soak's failures and what it leaves", func() {
		r := results()
		r.Soak = &impact.Soak{Requests: 10, Failed: 1, LeftRequests: 2, Memory: []impact.SoakMemory{{Allocated: 1 << 20}, {Allocated: 80 << 20}}}
		Expect(r.AllProblems(impact.Goals)).To(HaveLen(3))
	})
})

var _ = Describe("a results file", func() {
	It("keeps what is not run again", func() {
		file := filepath.Join(GinkgoT().TempDir(), "results.json")
		r := results(cell(nil), cell(func(c *impact.Cell) { c.Load = "get" }))
		Expect(r.Write(file)).To(Succeed())
		kept, err := impact.ReadResults(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(kept).To(Equal(r))
		Expect(kept.Add(results(cell(func(c *impact.Cell) { c.Failed = 7 })))).To(Succeed())
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

	It("has to be one", func() {
		file := filepath.Join(GinkgoT().TempDir(), "results.json")
		Expect(os.WriteFile(file, []byte("cells"), 0o600)).To(Succeed())
		Expect(impact.ReadResults(file)).Error().To(MatchError(ContainSubstring("not a results file")))
	})
})

const docs = "../../docs/"

var _ = Describe("what is published", func() {
	It("is drawn from the results file", func() {
		r, err := impact.ReadResults(docs + "impact-results.json")
		Expect(err).NotTo(HaveOccurred())
		chart, err := os.ReadFile(docs + "impact.svg")
		Expect(err).NotTo(HaveOccurred())
		Expect(string(chart)).To(Equal(string(impact.Chart(r))), "kuma-mirror impact chart docs/impact-results.json > docs/impact.svg")
		text, err := os.ReadFile(docs + "impact.md")
		Expect(err).NotTo(HaveOccurred())
		for _, table := range bytes.Split([]byte(impact.Matrix(r)), []byte("\n\n")) {
			Expect(string(text)).To(ContainSubstring(string(bytes.TrimSpace(table))), "kuma-mirror impact matrix docs/impact-results.json")
		}
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

	It("have 16 shadows for both protocols, and 3 of HTTP/2 alone, and 7 loads", func() {
		both, http2 := 0, 0
		for _, s := range impact.Shadows() {
			if s.HTTP2 {
				http2++
			} else {
				both++
			}
		}
		Expect([]int{both, http2, len(impact.Loads())}).To(Equal([]int{16, 3, 7}))
	})
})
