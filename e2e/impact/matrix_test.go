package impact_test

import (
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

// matrix has every shadow with each protocol that it speaks.
func matrix() []TableEntry {
	var entries []TableEntry
	for _, shadow := range impact.Shadows() {
		for _, protocol := range impact.Protocols {
			if !shadow.HTTP2 || protocol == impact.HTTP2 {
				entries = append(entries, Entry(shadow.Name+" over "+string(protocol), shadow.Name, protocol))
			}
		}
	}
	return entries
}

// possible reports whether the shadow could be made: where the system does not
// allow it, the lab has to say so, and that it was for that reason alone.
func possible(shadow string, err error) bool {
	GinkgoHelper()
	if os.Getuid() != 0 && shadow == "drops-packets" && err != nil {
		Expect(err).To(MatchError(And(ContainSubstring("no shadow is left to try"), ContainSubstring("SO_ATTACH_FILTER"))))
		AddReportEntry("left out", err.Error())
		return false
	}
	Expect(err).NotTo(HaveOccurred())
	return true
}

var _ = Describe("the primary does not notice a shadow that is", func() {
	DescribeTable("", func(ctx SpecContext, shadow string, protocol impact.Protocol) {
		results, err := impact.Run(ctx, lab(impact.Options{Shadows: []string{shadow}, Protocols: []impact.Protocol{protocol}}))
		if possible(shadow, err) {
			Expect(results.Cells).NotTo(BeEmpty())
			Expect(results.AllProblems(impact.Lenient)).To(BeEmpty())
			for _, c := range results.Cells {
				Expect(c.Requests).To(BeNumerically(">", 2), c.Load)
			}
		}
	}, matrix())

	// Those that lean on what Envoys may do in different ways: held bodies,
	// circuit breakers, ejection, windows.
	for _, version := range envoytest.Versions() {
		if version == envoytest.Versions()[0] {
			continue // has the whole matrix above
		}
		DescribeTable("(Envoy "+version+")", func(ctx SpecContext, shadow string, protocol impact.Protocol) {
			o := lab(impact.Options{Shadows: []string{shadow}, Protocols: []impact.Protocol{protocol}, Loads: []string{"post-900k", "upload"}})
			o.Envoy = envoytest.Binary(version)
			results, err := impact.Run(ctx, o)
			Expect(err).NotTo(HaveOccurred())
			Expect(results.Envoy).To(Equal(version))
			Expect(results.Cells).To(HaveLen(2))
			Expect(results.AllProblems(impact.Lenient)).To(BeEmpty())
		},
			Entry("never-reads over http1", "never-reads", impact.HTTP1),
			Entry("endless-body over http1", "endless-body", impact.HTTP1),
			Entry("refused over http2", "refused", impact.HTTP2),
			Entry("no-window over http2", "no-window", impact.HTTP2),
		)
	}

	It("anything, and something else every second", func(ctx SpecContext) {
		results, err := impact.RunSoak(ctx, lab(impact.Options{}), impact.SoakOptions{
			Duration: 15 * time.Second, Every: time.Second, PerSecond: 100, Seed: uint64(GinkgoRandomSeed()),
		}, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(results.AllProblems(impact.Lenient)).To(BeEmpty())
		Expect(results.Soak.Requests).To(BeNumerically(">=", 1500))
	})
})

var _ = Describe("without protections", func() {
	It("a shadow that never reads stops the primary's upload, and with them it does not, in the same run", func(ctx SpecContext) {
		for _, protocol := range impact.Protocols {
			results, err := impact.Run(ctx, lab(impact.Options{
				Shadows: []string{"never-reads"}, Loads: []string{"upload"}, Protocols: []impact.Protocol{protocol},
				Protections: []bool{true, false}, Rounds: 3,
			}))
			Expect(err).NotTo(HaveOccurred())
			plain, ok := results.Cell("never-reads", "upload", protocol, false)
			Expect(ok).To(BeTrue())
			Expect(plain.Hung).To(BeTrue(), "%+v", plain)
			Expect(results.Problems(plain, impact.Lenient)).NotTo(BeEmpty(), "the lab sees it")

			ours, ok := results.Cell("never-reads", "upload", protocol, true)
			Expect(ok).To(BeTrue())
			Expect(results.AllProblems(impact.Lenient)).To(BeEmpty(), "of the cell with protections")
			Expect(results.Interleaved).To(BeTrue())
			Expect(plain.Upload.Pairs).To(HaveLen(1), "what hangs is out")
			Expect(ours.Upload.Pairs).To(HaveLen(3))
			Expect(ours.Upload.Pairs[0].None).To(Equal(plain.Upload.Pairs[0].None), "one upload without a mirror for both")
		}
	})

	It("a black hole holds the primary's upload up until the connect timeout", func(ctx SpecContext) {
		results, err := impact.Run(ctx, withoutProtections(impact.Options{
			Shadows: []string{"black-hole"}, Loads: []string{"upload"}, Protocols: []impact.Protocol{impact.HTTP1},
		}))
		Expect(err).NotTo(HaveOccurred())
		cell, ok := results.Cell("black-hole", "upload", impact.HTTP1, false)
		Expect(ok).To(BeTrue())
		Expect(cell.Upload.Mirrored).To(BeNumerically(">", 4), "%+v", cell)
	})

	It("a healthy shadow harms nobody, so it is not the lab that does", func(ctx SpecContext) {
		results, err := impact.Run(ctx, withoutProtections(impact.Options{
			Shadows: []string{impact.Healthy}, Loads: []string{"upload"}, Protocols: []impact.Protocol{impact.HTTP1},
		}))
		Expect(err).NotTo(HaveOccurred())
		cell, ok := results.Cell(impact.Healthy, "upload", impact.HTTP1, false)
		Expect(ok).To(BeTrue())
		Expect(results.Problems(cell, impact.Lenient)).To(BeEmpty())
	})
})

func withoutProtections(o impact.Options) impact.Options {
	GinkgoHelper()
	o = lab(o)
	o.Protections = []bool{false}
	return o
}

var _ = Describe("the limits", func() {
	It("hold for bodies that are longer than Envoy's buffers, and the shadow never reads", func(ctx SpecContext) {
		for _, protocol := range impact.Protocols {
			results, err := impact.Run(ctx, lab(impact.Options{
				Shadows: []string{"never-reads"}, Loads: []string{"upload"}, Protocols: []impact.Protocol{protocol},
				Limits:      generator.Limits{MaxConcurrentRequests: 4, MaxRequestBodyBytes: 32 << 20, MaxDuration: 15 * time.Second},
				UploadBytes: 30_000_000,
			}))
			Expect(err).NotTo(HaveOccurred())
			Expect(results.AllProblems(impact.Lenient)).To(BeEmpty())
			cell, _ := results.Cell("never-reads", "upload", protocol, true)
			Expect(cell.Allocated).To(BeNumerically(">", 20_000_000), "the copies are held")
		}
	})
})
