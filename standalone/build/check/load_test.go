package check_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
)

var _ = Describe("what mirrors cost an Envoy", func() {
	warned := func(ctx SpecContext, documents string) []string {
		GinkgoHelper()
		resources, err := api.Parse("input.yaml", []byte(documents))
		Expect(err).NotTo(HaveOccurred())
		errors, warnings := check.Resources(ctx, resources, check.ReadFile)
		Expect(errors).To(BeEmpty())
		var texts []string
		for _, w := range warnings {
			texts = append(texts, w.Object+": "+w.Path+": "+w.Message)
		}
		return texts
	}
	limited := func(concurrent, body int) string {
		return dataplanes + strings.Replace(route, "version: v2}}", fmt.Sprintf(
			"version: v2}, limits: {maxConcurrentRequests: %d, maxRequestBodyBytes: %d}}", concurrent, body), 1)
	}

	It("is warned of where limits bound nothing, with the figure", func(ctx SpecContext) {
		Expect(warned(ctx, limited(1_000_000, 64<<20))).To(ContainElement(
			ContainSubstring("conf.mirror.limits: maxConcurrentRequests (1000000) times maxRequestBodyBytes (67108864) lets its copies hold 62500 GiB")))
		Expect(warned(ctx, limited(64, 64<<20))).NotTo(ContainElement(ContainSubstring("GiB")))
		Expect(warned(ctx, limited(1_000_000, 0))).NotTo(ContainElement(ContainSubstring("GiB")), "bodies are streamed")
	})

	It("is warned of where a data plane has many mirror clusters, with their number", func(ctx SpecContext) {
		many := func(mirrors int) string {
			var b strings.Builder
			b.WriteString(dataplanes + "---\ntype: TrafficRoute\nname: many\nsources: [{match: {kuma.io/service: client}}]\n" +
				"destinations: [{match: {kuma.io/service: backend}}]\nconf:\n  destination: {kuma.io/service: backend, version: v1}\n  http:\n")
			for i := range mirrors {
				fmt.Fprintf(&b, "  - {match: {path: {prefix: /%d}}, destination: {kuma.io/service: backend, version: v1}, "+
					"mirror: {name: m%d, destination: {kuma.io/service: backend, version: v2}}}\n", i, i)
			}
			return b.String()
		}
		Expect(warned(ctx, many(1001))).To(ContainElement(ContainSubstring(`"client" in mesh "default": : its Envoy gets 1001 mirror clusters, more than 1000`)))
		Expect(warned(ctx, many(1000))).NotTo(ContainElement(ContainSubstring("mirror clusters")))
	})
})
